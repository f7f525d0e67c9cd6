//! The same folder behind nginx with `root`, `alias`, `try_files` and `gzip_static` and behind Weir with `files`: the same answers to the
//! same requests; where they differ on purpose, the reason stands here.
//!
//! ```text
//! folder ──► nginx: location … { try_files $uri $uri/ /index.html; } ──► status, fields, body ──┐
//!    └─────► Weir:  files: { root, fallback: /index.html }           ──► status, fields, body ──┴──► equal, or in DIFFERENCES
//! ```

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use support::{Connection, Nginx, Response, Weir};
use tempfile::TempDir;

/// Thu, 01 Jan 2026 00:00:00 GMT
const CHANGED: u64 = 1_767_225_600;
const CHANGED_DATE: &str = "Thu, 01 Jan 2026 00:00:00 GMT";
const BEFORE: &str = "Wed, 31 Dec 2025 23:59:59 GMT";
const AFTER: &str = "Thu, 01 Jan 2026 00:00:01 GMT";

fn write(root: &Path, name: &str, content: &[u8]) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
    std::fs::write(&path, content).expect("a file");
    let changed = UNIX_EPOCH + Duration::from_secs(CHANGED);
    let file = std::fs::File::options().write(true).open(&path).expect("a file");
    file.set_modified(changed).expect("a time");
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("www");
    let data: Vec<u8> = (0..10_000).map(|i| (i % 251) as u8).collect();
    for (name, content) in [
        ("index.html", &b"the application"[..]),
        ("data.bin", &data),
        ("empty.txt", b""),
        ("app.js", b"code"),
        ("no-extension", b"?"),
        ("a b.txt", b"a blank"),
        ("\u{fc}.txt", b"not ASCII"),
        ("a%20b.txt", b"a percent sign"),
        ("a+b&c.txt", b"signs"),
        (".hidden", b"secret"),
        (".git/config", b"secret"),
        (".well-known/security.txt", b"contact"),
        ("folder/index.html", b"the folder's index"),
        ("folder/x.html", b"x"),
        ("my folder/index.html", b"a blank in a folder"),
        ("bare/x.html", b"no index here"),
        ("plain/index.html", b"plain index"),
        ("plain/data.bin", &data),
        ("plain/sub/index.html", b"sub index"),
        ("plain/bare/x.txt", b"x"),
        ("gz/app.js", b"plain code"),
        ("gz/app.js.gz", b"zipped code, so to say"),
        ("gz/only.js", b"only plain"),
        ("gz/index.html", b"plain page"),
        ("gz/index.html.gz", b"zipped page, so to say"),
    ] {
        write(&root, name, content);
    }
    write(folder.path(), "outside.txt", b"outside");
    symlink("data.bin", root.join("inside.bin")).expect("a link");
    symlink("folder", root.join("inside")).expect("a link");
    symlink("../outside.txt", root.join("outside.txt")).expect("a link");
    symlink("circle", root.join("circle")).expect("a link");
    folder
}

/// Both in front of the same folder.
fn servers(root: &Path) -> (Nginx, Weir) {
    let root = root.display();
    let nginx = Nginx::start_with(
        &mime_types(),
        &format!(
            "root {root}; index index.html; absolute_redirect off; default_type '';
             location / {{ try_files $uri $uri/ /index.html; }}
             location /plain/ {{ }}
             location /alias/ {{ alias {root}/plain/; }}
             location /gz/ {{ gzip_static on; gzip_vary on; }}
             location /types/ {{ }}"
        ),
    );
    let weir = Weir::start(&format!(
        "hosts:\n  - names: [\"*\"]\n    routes:\n\
         \x20     - {{ path: /, files: {{ root: {root}, fallback: /index.html }} }}\n\
         \x20     - {{ path: /plain, files: {{ root: {root} }} }}\n\
         \x20     - {{ path: /alias, files: {{ root: {root}/plain, strip-prefix: true }} }}\n\
         \x20     - {{ path: /gz, files: {{ root: {root}, precompressed: [gzip] }} }}\n\
         \x20     - {{ path: /types, files: {{ root: {root} }} }}\n"
    ));
    (nginx, weir)
}

/// nginx's own table, which stands beside its configuration.
fn mime_types() -> String {
    let output = Command::new("nginx").arg("-V").output().expect("nginx is installed");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let conf = text.split_whitespace().find_map(|word| word.strip_prefix("--conf-path=")).expect("a place");
    std::fs::read_to_string(Path::new(conf).with_file_name("mime.types")).expect("nginx's types")
}

#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    target: String,
    /// Lines of the head.
    fields: String,
}

fn requests() -> Vec<Asked> {
    let mut requests = Vec::new();
    let mut ask = |method, target: &str, fields: &str| {
        requests.push(Asked { method, target: target.into(), fields: fields.into() });
    };
    for target in TARGETS {
        ask("GET", target, "");
        ask("HEAD", target, "");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        for target in ["/data.bin", "/none", "/plain/data.bin", "/plain/none", "/folder/"] {
            ask(method, target, "Content-Length: 0\r\n");
        }
    }
    for range in RANGES {
        ask("GET", "/plain/data.bin", &format!("Range: {range}\r\n"));
    }
    for range in ["bytes=0-", "bytes=-5", "bytes=1-", "bytes=0-0"] {
        ask("GET", "/empty.txt", &format!("Range: {range}\r\n"));
    }
    ask("HEAD", "/plain/data.bin", "Range: bytes=0-99\r\n");
    ask("GET", "/none", "Range: bytes=0-3\r\n");
    for condition in CONDITIONS {
        for method in ["GET", "HEAD"] {
            ask(method, "/data.bin", condition);
        }
    }
    for accepted in ["gzip", "br, gzip;q=0.5", "gzip;q=0", "br", "identity", "*"] {
        for target in ["/gz/app.js", "/gz/only.js", "/gz/", "/gz/app.js.gz", "/gz/none.js"] {
            ask("GET", target, &format!("Accept-Encoding: {accepted}\r\n"));
        }
    }
    ask("GET", "/gz/app.js", "Accept-Encoding: gzip\r\nRange: bytes=2-5\r\n");
    requests
}

const TARGETS: &[&str] = &[
    "/",
    "/index.html",
    "/data.bin",
    "/data.bin?v=1",
    "/empty.txt",
    "/app.js",
    "/no-extension",
    "/a%20b.txt",
    "/%C3%BC.txt",
    "/a%2520b.txt",
    "/a+b&c.txt",
    "/%61pp.js",
    "//app.js",
    "/folder/../app.js",
    "/./app.js",
    "/APP.JS",
    "/none",
    "/none/",
    "/none/deep/er?x=1",
    "/app.js/",
    "/app.js/x",
    "/folder",
    "/folder?x=1&y=%20",
    "/folder/",
    "/folder/x.html",
    "/my%20folder",
    "/my%20folder/",
    "/bare",
    "/bare/",
    "/bare/x.html",
    "/.hidden",
    "/.git/config",
    "/.well-known/security.txt",
    "/inside.bin",
    "/inside/x.html",
    "/inside",
    "/outside.txt",
    "/circle",
    "/plain/",
    "/plain/data.bin",
    "/plain/none",
    "/plain/none/",
    "/plain/sub",
    "/plain/sub/",
    "/plain/bare",
    "/plain/bare/",
    "/plain/data.bin/",
    "/alias/",
    "/alias/data.bin",
    "/alias/sub",
    "/alias/sub/",
    "/alias/none",
    "/alias/%2e%2e/app.js",
    "/folder%2Fx.html",
];

const RANGES: &[&str] = &[
    "bytes=0-99",
    "bytes=0-0",
    "bytes=9999-",
    "bytes=9999-9999",
    "bytes=10000-",
    "bytes=5000-20000",
    "bytes=-1",
    "bytes=-10000",
    "bytes=-20000",
    "bytes=-0",
    "bytes=0-",
    "BYTES=0-9",
    "bytes= 0 - 9 ",
    "bytes=5-2",
    "bytes=",
    "bytes=-",
    "bytes=x-y",
    "bytes=1",
    "bytes=1-2-3",
    "bytes=0-1,",
    "bytes=0-1, 20000-",
    "bytes=20000-, 30000-",
    "bytes=0-99999999999999999999",
    "lines=0-9",
    "0-9",
    "bytes=0-1,5-6",
    "bytes=0-1\r\nIf-Range: \"6955b900-2710\"",
    "bytes=0-1\r\nIf-Range: \"other\"",
    "bytes=0-1\r\nIf-Range: W/\"6955b900-2710\"",
    "bytes=0-1\r\nIf-Range: Thu, 01 Jan 2026 00:00:00 GMT",
    "bytes=0-1\r\nIf-Range: Thu, 01 Jan 2026 00:00:01 GMT",
    "bytes=0-1\r\nIf-Range: nonsense",
    "bytes=0-1\r\nIf-None-Match: \"other\"",
    "bytes=0-1\r\nIf-None-Match: \"6955b900-2710\"",
];

const CONDITIONS: &[&str] = &[
    "If-None-Match: \"6955b900-2710\"\r\n",
    "If-None-Match: W/\"6955b900-2710\"\r\n",
    "If-None-Match: \"a\", \"6955b900-2710\"\r\n",
    "If-None-Match: \"a\",W/\"6955b900-2710\" , \"b\"\r\n",
    "If-None-Match: \"other\"\r\n",
    "If-None-Match: *\r\n",
    "If-None-Match: 6955b900-2710\r\n",
    "If-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT\r\n",
    "If-Modified-Since: Thu, 01 Jan 2026 00:00:01 GMT\r\n",
    "If-Modified-Since: Wed, 31 Dec 2025 23:59:59 GMT\r\n",
    "If-Modified-Since: nonsense\r\n",
    "If-None-Match: \"6955b900-2710\"\r\nIf-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT\r\n",
    "If-None-Match: \"other\"\r\nIf-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT\r\n",
    "If-None-Match: \"6955b900-2710\"\r\nIf-Modified-Since: Wed, 31 Dec 2025 23:59:59 GMT\r\n",
    "If-Match: \"6955b900-2710\"\r\n",
    "If-Match: W/\"6955b900-2710\"\r\n",
    "If-Match: \"other\"\r\n",
    "If-Match: *\r\n",
    "If-Unmodified-Since: Thu, 01 Jan 2026 00:00:00 GMT\r\n",
    "If-Unmodified-Since: Thu, 01 Jan 2026 00:00:01 GMT\r\n",
    "If-Unmodified-Since: Wed, 31 Dec 2025 23:59:59 GMT\r\n",
    "If-Match: \"6955b900-2710\"\r\nIf-Unmodified-Since: Wed, 31 Dec 2025 23:59:59 GMT\r\n",
    "If-Match: \"other\"\r\nIf-None-Match: \"6955b900-2710\"\r\n",
];

/// What Weir does in its own way, and why.
type Difference = (fn(&Asked) -> bool, &'static str);

const DIFFERENCES: &[Difference] = &[
    (
        |asked| asked.target.starts_with("/bare") && !asked.target.ends_with(".html"),
        "a folder without an index is nothing to show: it has the fallback; nginx sends there and refuses then, and says so that it is there",
    ),
    (
        |asked| asked.target.starts_with("/plain/bare"),
        "a folder without an index is not there: 404; nginx sends there and answers 403",
    ),
    (
        |asked| asked.target == "/.hidden" || asked.target == "/.git/config",
        "what begins with a dot is not served unless it is asked to be; nginx serves it",
    ),
    (|asked| asked.target == "/outside.txt", "a link that leads out of the root is not followed; nginx follows it"),
    (
        |asked| {
            matches!(asked.method, "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH") && asked.target.contains("none")
        },
        "a folder is only read, whatever the path: 405; nginx looks first whether there is something",
    ),
    (
        |asked| asked.method == "HEAD" && asked.fields.contains("Range"),
        "ranges are of GET alone (RFC 9110 §14.2); nginx answers HEAD with a 206",
    ),
    (
        |asked| asked.fields.contains("0-1,5-6"),
        "several parts are answered with the whole (RFC 9110 §14.2); nginx sends multipart/byteranges",
    ),
    (
        |asked| asked.fields.starts_with("If-Modified-Since") && asked.fields.contains(AFTER),
        "not modified since a later date is not modified (RFC 9110 §13.1.3); nginx wants the very date",
    ),
    (
        |asked| asked.fields.starts_with("If-None-Match: \"6955") && asked.fields.contains(BEFORE),
        "with If-None-Match the date is not regarded (RFC 9110 §13.1.3); nginx wants both to agree",
    ),
    (
        |asked| asked.fields.starts_with("If-Match: \"6955") && asked.fields.contains(BEFORE),
        "with If-Match the date is not regarded (RFC 9110 §13.1.4); nginx wants both to hold",
    ),
    (|asked| asked.target.ends_with(".js.gz"), "application/gzip is a type; nginx's table does not have it"),
    (
        |asked| asked.target.starts_with("/gz/") && asked.fields.contains("Encoding: *"),
        "`*` is any coding (RFC 9110 §12.5.3); nginx looks for the word gzip",
    ),
    (
        |asked| asked.target.starts_with("/gz/") && asked.fields.contains("gzip"),
        "a compressed file has a length and a validator of its own, so it has parts; nginx gives none of it",
    ),
];

fn ask(to: SocketAddr, asked: &Asked) -> Response {
    let mut connection = Connection::open(to);
    let Asked { method, target, fields } = asked;
    connection.write(format!("{method} {target} HTTP/1.1\r\nHost: a.test\r\n{fields}Connection: close\r\n\r\n"));
    connection.read_response_to(method)
}

/// What is compared: of errors the status alone, since their pages are each server's own.
fn seen(response: &Response) -> Vec<(&'static str, String)> {
    let mut seen = vec![("status", response.status.to_string())];
    let names: &[_] = match response.status {
        200 | 206 => {
            &["content-length", "etag", "last-modified", "accept-ranges", "content-range", "content-encoding", "vary"]
        }
        304 => &["etag", "last-modified", "content-length", "vary"],
        301 => &["location"],
        416 => &["content-range"],
        _ => &[],
    };
    seen.extend(names.iter().map(|name| (*name, response.headers(name).join(" | "))));
    if matches!(response.status, 200 | 206) {
        seen.push(("type", essence(response)));
        seen.push(("body", response.text()));
    }
    seen
}

/// Without parameters. JavaScript has one type since RFC 9239; nginx's table has the older name.
fn essence(response: &Response) -> String {
    let content_type = response.header("content-type").unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.replace("application/javascript", "text/javascript")
}

#[test]
fn nginx_answers_the_same_from_the_same_folder() {
    assert_eq!(httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(CHANGED)), CHANGED_DATE);
    let folder = folder();
    let (nginx, weir) = servers(&folder.path().join("www"));
    let (mut same, mut used, mut unexplained) = (0, [0; DIFFERENCES.len()], Vec::new());
    for asked in requests() {
        let [theirs, ours] = [nginx.address, weir.http].map(|to| seen(&ask(to, &asked)));
        if theirs == ours {
            same += 1;
            continue;
        }
        match DIFFERENCES.iter().position(|(is_meant, _)| is_meant(&asked)) {
            Some(at) => used[at] += 1,
            None => {
                let differ: Vec<_> = theirs.iter().zip(&ours).filter(|(theirs, ours)| theirs != ours).collect();
                unexplained.push(format!("{asked:?}: {differ:?}"));
            }
        }
    }
    assert!(unexplained.is_empty(), "{} differ:\n{}", unexplained.len(), unexplained.join("\n"));
    for ((_, why), used) in DIFFERENCES.iter().zip(used) {
        assert!(used > 0, "they do not differ: {why}");
    }
    assert!(same > 60, "only {same} answers were the same");
}

/// By extension: nginx's type, and Weir's, which is the registered one, or at least nobody's misfortune: nobody has served the last five
/// to a browser for a long time.
const TYPES: &[(&str, &str, &str)] = &[
    ("bmp", "image/x-ms-bmp", "image/bmp"),
    ("dll", "application/octet-stream", "application/x-msdownload"),
    ("m4a", "audio/x-m4a", "audio/m4a"),
    ("pdb", "application/x-pilot", "application/vnd.palm"),
    ("prc", "application/x-pilot", "application/x-mobipocket-ebook"),
    ("ra", "audio/x-realaudio", "audio/x-pn-realaudio"),
    ("sea", "application/x-sea", "application/octet-stream"),
];

#[test]
fn a_type_is_nginxs_where_it_is_the_registered_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("www");
    let table = mime_types();
    let lines = table.split(['{', '}']).nth(1).expect("a table").split(';').map(str::split_whitespace);
    let lines = lines.filter_map(|mut line| Some((line.next()?, line)));
    let extensions: BTreeMap<&str, &str> = lines.flat_map(|(kind, line)| line.map(move |e| (e, kind))).collect();
    assert!(extensions.len() > 80, "{extensions:?}");
    for extension in extensions.keys() {
        write(&root, &format!("types/x.{extension}"), b"x");
    }
    write(&root, "plain/index.html", b"index");
    let (nginx, weir) = servers(&root);
    let mut differ = Vec::new();
    for (extension, kind) in &extensions {
        let asked = Asked { method: "GET", target: format!("/types/x.{extension}"), fields: String::new() };
        let [theirs, ours] = [nginx.address, weir.http].map(|to| essence(&ask(to, &asked)));
        assert_eq!(theirs, kind.replace("application/javascript", "text/javascript"));
        if theirs != ours {
            differ.push((*extension, theirs, ours));
        }
    }
    let differ: Vec<_> = differ.iter().map(|(extension, theirs, ours)| (*extension, &**theirs, &**ours)).collect();
    assert_eq!(differ, TYPES);
}
