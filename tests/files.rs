//! `files` on the wire: every key, what is never served, large files in constant memory, and what filters make of it.

mod support;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use support::{Connection, H2Client, Response, Weir, decoded, eventually, request, weir_command};
use tempfile::TempDir;

struct Site {
    folder: TempDir,
}

impl Site {
    fn new(files: &[(&str, &[u8])]) -> Site {
        let site = Site { folder: tempfile::tempdir().expect("a folder") };
        files.iter().for_each(|(name, content)| site.write(name, content));
        site
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("www")
    }

    /// Last changed at the beginning of 2026.
    fn write(&self, name: &str, content: &[u8]) {
        let path = self.root().join(name);
        std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
        std::fs::write(&path, content).expect("a file");
        let file = std::fs::File::options().write(true).open(&path).expect("a file");
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_767_225_600)).expect("a time");
    }

    /// Serves it with these keys beside the root, and these filters.
    fn file(&self, keys: &str, filters: &str) -> String {
        file(&self.root(), keys, filters)
    }

    fn served(&self, keys: &str) -> Weir {
        Weir::start(&self.file(keys, ""))
    }
}

fn file(root: &Path, keys: &str, filters: &str) -> String {
    let root = root.display();
    format!(
        "hosts:\n  - names: [\"*\"]\n    routes:\n      - {{ path: /, files: {{ root: {root}{keys} }}, filters: [{filters}] }}\n"
    )
}

/// Status and body, that of an error left out.
fn told(response: &Response) -> (u16, String) {
    let body = if response.status < 300 { response.text() } else { String::new() };
    (response.status, body)
}

#[track_caller]
fn assert_answers(weir: &Weir, expected: &[(&str, u16, &str)]) {
    for (target, status, body) in expected {
        assert_eq!(told(&weir.get(target)), (*status, (*body).to_owned()), "{target}");
    }
}

const PAGES: &[(&str, &[u8])] = &[
    ("index.html", b"home"),
    ("app/index.html", b"application"),
    ("app/main.js", b"code"),
    ("app/default.htm", b"default"),
    ("bare/a.txt", b"a"),
    (".env", b"secret"),
    ("app/.git/config", b"secret"),
    (".well-known/security.txt", b"contact"),
    ("shader.wgsl", b"shader"),
];

#[test]
fn files_and_the_indexes_of_folders_are_served() {
    let site = Site::new(PAGES);
    let weir = site.served("");
    assert_answers(
        &weir,
        &[
            ("/", 200, "home"),
            ("/app/main.js", 200, "code"),
            ("/app/", 200, "application"),
            ("/none", 404, ""),
            ("/bare/", 404, ""),
            ("/bare", 404, ""),
            ("/.env", 404, ""),
            ("/app/.git/config", 404, ""),
            ("/%2eenv", 404, ""),
            ("/.well-known/security.txt", 200, "contact"),
            ("/app/../.env", 404, ""),
            ("/app/..%2f.env", 400, ""),
            ("/a%00b", 400, ""),
            ("/app%5cmain.js", 400, ""),
            ("/../etc/passwd", 400, ""),
        ],
    );
    let page = weir.get("/app/main.js");
    assert_eq!(page.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!((page.header("content-length"), page.header("accept-ranges")), (Some("4"), Some("bytes")));
    assert_eq!(page.header("etag"), Some("\"6955b900-4\""));
    assert_eq!(page.header("last-modified"), Some("Thu, 01 Jan 2026 00:00:00 GMT"));
    assert_eq!((page.header("vary"), page.header("content-encoding")), (None, None));
    assert_eq!(weir.get("/shader.wgsl").header("content-type"), None);
    let moved = weir.get("/app?x=1&y=%20");
    assert_eq!((moved.status, moved.header("location")), (301, Some("/app/?x=1&y=%20")));
    let refused = weir.request("POST", "/none").body("x").send();
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
    let missing = weir.request("GET", "/none").header("Accept", "application/json").send();
    assert!(missing.text().contains("\"message\":\"there is no such file\""), "{}", missing.text());
}

#[test]
fn every_key_is_seen() {
    let site = Site::new(PAGES);
    let weir = site.served(
        ", index: [none.html, default.htm], fallback: /app/index.html, hidden-files: serve, types: { WGSL: text/wgsl }",
    );
    assert_answers(
        &weir,
        &[
            ("/app/", 200, "default"),
            ("/", 200, "application"),
            ("/none/at/all", 200, "application"),
            ("/bare/", 200, "application"),
            ("/bare", 200, "application"),
            ("/.env", 200, "secret"),
            ("/app/.git/config", 200, "secret"),
        ],
    );
    assert_eq!(weir.get("/shader.wgsl").header("content-type"), Some("text/wgsl"));
    assert_eq!(weir.get("/none").header("content-type"), Some("text/html; charset=utf-8"));
    weir.reload(&site.file(", fallback: /none.html, index: default.htm", ""));
    assert_answers(&weir, &[("/none", 404, ""), ("/app/", 200, "default"), ("/.env", 404, "")]);
    // With a fallback what is hidden stays hidden.
    weir.reload(&site.file(", fallback: /index.html", ""));
    assert_answers(&weir, &[("/.env", 404, ""), ("/x", 200, "home")]);
}

#[test]
fn the_prefix_of_the_route_names_a_folder_or_stands_for_the_root() {
    let site = Site::new(PAGES);
    let root = site.root();
    let route = |keys: &str| {
        let root = root.display();
        format!("hosts: [{{ names: ['*'], routes: [{{ path: /app, files: {{ root: {root}{keys} }} }}] }}]\n")
    };
    let weir = Weir::start(&route(""));
    assert_answers(
        &weir,
        &[("/app/main.js", 200, "code"), ("/app/", 200, "application"), ("/app/app/main.js", 404, "")],
    );
    weir.reload(&route(", strip-prefix: true"));
    assert_answers(&weir, &[("/app/app/main.js", 200, "code"), ("/app/", 200, "home"), ("/app/main.js", 404, "")]);
    assert_eq!(weir.get("/app").header("location"), Some("/app/"));
    assert_answers(&weir, &[("/app/.env", 404, ""), ("/app/.well-known/security.txt", 200, "contact")]);
}

#[test]
fn a_compressed_sibling_is_sent_to_who_can_read_it() {
    let site = Site::new(&[
        ("a.js", b"plain"),
        ("a.js.gz", b"gzip!!"),
        ("a.js.br", b"brotli!"),
        ("a.js.zst", b"zstd!!!!"),
        ("b.js", b"plain"),
        ("b.js.gz", b"gzip!!"),
        ("c.js", b"plain"),
        ("index.html", b"plain"),
        ("index.html.br", b"brotli!"),
    ]);
    let weir = site.served(", precompressed: true");
    let ask = |target: &str, accepted: &str| weir.request("GET", target).header("Accept-Encoding", accepted).send();
    for (target, accepted, body, coding, vary) in [
        ("/a.js", "gzip, br, zstd", "zstd!!!!", Some("zstd"), Some("Accept-Encoding")),
        ("/a.js", "gzip, br", "brotli!", Some("br"), Some("Accept-Encoding")),
        ("/a.js", "gzip, br;q=0.9", "gzip!!", Some("gzip"), Some("Accept-Encoding")),
        ("/a.js", "gzip;q=0", "plain", None, Some("Accept-Encoding")),
        ("/b.js", "br, zstd, gzip;q=0.1", "gzip!!", Some("gzip"), Some("Accept-Encoding")),
        ("/b.js", "br", "plain", None, Some("Accept-Encoding")),
        ("/c.js", "gzip, br, zstd", "plain", None, None),
        ("/", "br", "brotli!", Some("br"), Some("Accept-Encoding")),
    ] {
        let answer = ask(target, accepted);
        assert_eq!((answer.text().as_str(), answer.header("content-encoding")), (body, coding), "{target} {accepted}");
        assert_eq!(answer.header("vary"), vary, "{target} {accepted}");
        assert!(answer.header("content-type").expect("a type").starts_with("text/"), "{target} {accepted}");
        assert_eq!(answer.header("etag"), Some(&*format!("\"6955b900-{:x}\"", body.len())), "{target} {accepted}");
    }
    // Each has a validator of its own.
    let known = weir.request("GET", "/a.js").header("Accept-Encoding", "br").header("If-None-Match", "\"6955b900-7\"");
    let known = known.send();
    assert_eq!(
        (known.status, known.header("vary"), known.header("content-encoding")),
        (304, Some("Accept-Encoding"), None)
    );
    let other =
        weir.request("GET", "/a.js").header("Accept-Encoding", "gzip").header("If-None-Match", "\"6955b900-7\"");
    assert_eq!(other.send().status, 200);
    let part = weir.request("GET", "/a.js").header("Accept-Encoding", "br").header("Range", "bytes=1-3").send();
    assert_eq!((part.status, part.text().as_str(), part.header("content-range")), (206, "rot", Some("bytes 1-3/7")));

    weir.reload(&site.file(", precompressed: [gzip]", ""));
    assert_eq!(ask("/a.js", "gzip, br, zstd").text(), "gzip!!");
    weir.reload(&site.file("", ""));
    let plain = ask("/a.js", "gzip");
    assert_eq!((plain.text().as_str(), plain.header("vary")), ("plain", None));
}

#[test]
fn links_lead_nowhere_outside_of_the_root() {
    let site = Site::new(&[("a.txt", b"a"), ("sub/index.html", b"sub")]);
    std::fs::write(site.folder.path().join("outside"), "outside").unwrap();
    std::fs::write(site.folder.path().join("outside.gz"), "outside").unwrap();
    let root = site.root();
    symlink("../a.txt", root.join("sub/up.txt")).unwrap();
    symlink("sub", root.join("here")).unwrap();
    symlink("../outside", root.join("out.txt")).unwrap();
    symlink("../outside.gz", root.join("a.txt.gz")).unwrap();
    symlink("/etc", root.join("etc")).unwrap();
    symlink(site.folder.path(), root.join("above")).unwrap();
    let weir = site.served(", precompressed: true");
    assert_answers(
        &weir,
        &[
            ("/sub/up.txt", 200, "a"),
            ("/here/", 200, "sub"),
            ("/out.txt", 404, ""),
            ("/etc/passwd", 404, ""),
            ("/above/outside", 404, ""),
            ("/above/www/a.txt", 404, ""),
        ],
    );
    let answer = weir.request("GET", "/a.txt").header("Accept-Encoding", "gzip").send();
    assert_eq!((answer.text().as_str(), answer.header("vary")), ("a", None));
}

#[test]
fn the_root_may_be_a_link_that_moves_to_the_next_release() {
    let site = Site::new(&[]);
    let (folder, current) = (site.folder.path(), site.folder.path().join("current"));
    for release in ["one", "two"] {
        std::fs::create_dir_all(folder.join(release)).unwrap();
        std::fs::write(folder.join(release).join("index.html"), release).unwrap();
    }
    symlink("one", &current).unwrap();
    let weir = Weir::start(&file(&current, "", ""));
    assert_answers(&weir, &[("/", 200, "one")]);
    symlink("two", folder.join("next")).unwrap();
    std::fs::rename(folder.join("next"), &current).unwrap();
    assert_answers(&weir, &[("/", 200, "two")]);
    std::fs::remove_file(&current).unwrap();
    assert_answers(&weir, &[("/", 404, "")]);
}

#[test]
fn what_is_no_file_is_not_there_and_never_waited_for() {
    let site = Site::new(&[("a.txt", b"a")]);
    let pipe = std::ffi::CString::new(site.root().join("pipe").display().to_string()).unwrap();
    // SAFETY: the name is a C string that outlives the call.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    let _socket = std::os::unix::net::UnixListener::bind(site.root().join("socket")).unwrap();
    let weir = site.served("");
    assert_answers(&weir, &[("/pipe", 404, ""), ("/socket", 404, ""), ("/a.txt", 200, "a"), ("/a.txt/", 404, "")]);
}

#[test]
fn a_root_that_is_not_there_is_an_error_and_changes_nothing() {
    let site = Site::new(PAGES);
    let weir = site.served("");
    weir.write(&file(&site.root().join("none"), "", ""));
    let status = weir.wait_for_refusal("hosts[0].routes[0].files.root");
    assert!(status.contains("cannot be served: No such file or directory"), "{status}");
    assert!(status.contains("name a folder that is there and that Weir may read"), "{status}");
    weir.write(&file(&site.root().join("index.html"), "", ""));
    weir.wait_for_refusal("it is no folder");
    assert_answers(&weir, &[("/", 200, "home")]);
}

#[test]
fn filters_apply_as_to_any_answer() {
    let site = Site::new(&[("a.html", b"page"), ("b.css", "body { color: red }\n".repeat(500).as_bytes())]);
    let filters = "{ headers: { response: { set: { X-Own: \"${path}\" } } } }, security-headers, \
                   { cache-headers: [{ type: text/html, cache-control: no-cache }, { path: /, expires: 1h }] }, \
                   { cors: { origins: [\"http://a.test\"] } }, compress";
    let weir = Weir::start(&site.file("", filters));
    let page = weir.request("GET", "/a.html").header("Origin", "http://a.test").send();
    assert_eq!(page.header("x-own"), Some("/a.html"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    assert_eq!(page.header("access-control-allow-origin"), Some("http://a.test"));
    assert_eq!(weir.get("/b.css").header("cache-control"), Some("max-age=3600"));
    // A 304 says what the 200 would have said.
    let zipped = || weir.request("GET", "/b.css").header("Accept-Encoding", "gzip");
    let whole = zipped().send();
    let etag = whole.header("etag").expect("a validator").to_owned();
    assert!(etag.starts_with("W/\""), "{etag}");
    assert_eq!(decoded("gzip", &whole.body), "body { color: red }\n".repeat(500).as_bytes());
    assert_eq!((whole.header("content-length"), whole.header("accept-ranges")), (None, None));
    let known = zipped().header("If-None-Match", &etag).send();
    assert_eq!((known.status, known.header("etag")), (304, Some(&*etag)));
    for name in ["cache-control", "expires", "vary", "x-own", "last-modified"] {
        assert_eq!(known.header(name).is_some(), whole.header(name).is_some(), "{name}");
    }
    assert_eq!((known.header("content-type"), known.header("content-encoding")), (None, None));
    // What is compressed has no parts.
    let part = zipped().header("Range", "bytes=0-3").send();
    assert_eq!((part.status, part.header("content-encoding")), (200, Some("gzip")));
    let part = weir.request("GET", "/b.css").header("Range", "bytes=0-3").send();
    assert_eq!(
        (part.status, part.text().as_str(), part.header("etag").map(|e| e.len())),
        (206, "body", Some(etag.len() - 2))
    );
    assert_eq!(weir.metric("weir_compressed_responses_total", &["gzip"]), Some(2.0));
}

#[test]
fn limits_and_passwords_come_before_the_disk() {
    let site = Site::new(PAGES);
    let weir = Weir::start_with(
        &site.file("", "{ basic-auth: { file: users } }"),
        &[("users", "ann:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=\n")],
    );
    assert_eq!(weir.get("/app/main.js").status, 401);
    assert_eq!(weir.get("/none").status, 401);
    let known = weir.request("GET", "/app/main.js").header("Authorization", "Basic YW5uOnRlc3Q=").send();
    assert_eq!(told(&known), (200, "code".into()));
    weir.reload(&site.file("", "{ deny: [127.0.0.0/8] }"));
    assert_eq!(weir.get("/none").status, 403);
}

#[test]
fn own_pages_stand_in_the_place_of_what_is_missing() {
    let site = Site::new(PAGES);
    let page = format!("<h1>{}</h1>", "not here ".repeat(300));
    let filters = "{ error-pages: { pages: [{ status: 404, html: missing.html }] } }, compress";
    let weir = Weir::start_with(&site.file("", filters), &[("missing.html", &page)]);
    let ask = |accepted: &str| {
        weir.request("GET", "/none").header("Accept", "text/html").header("Accept-Encoding", accepted).send()
    };
    assert_eq!((ask("").status, ask("").text()), (404, page.clone()));
    let zipped = ask("br");
    assert_eq!((zipped.status, zipped.header("content-encoding")), (404, Some("br")));
    assert_eq!(decoded("br", &zipped.body), page.as_bytes());
    assert_eq!(told(&weir.get("/app/main.js")), (200, "code".into()));
}

#[test]
fn a_large_file_is_sent_in_constant_memory() {
    const SIZE: u64 = 1 << 30;
    let site = Site::new(&[("a.txt", b"a")]);
    let file = std::fs::File::create(site.root().join("large.bin")).unwrap();
    file.set_len(SIZE).unwrap();
    let weir = site.served("");
    assert_answers(&weir, &[("/a.txt", 200, "a")]);
    let before = weir.resident_kib();
    let mut client = weir.connect();
    client.write("GET /large.bin HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let head = client.read_head().expect("a head");
    assert_eq!(head.header("content-length"), Some(&*SIZE.to_string()));
    let (mut left, mut peak) = (SIZE as usize, 0);
    while left > 0 {
        left -= client.read_some(left);
        peak = peak.max(if left % 64 == 0 { weir.resident_kib() } else { 0 });
    }
    peak = peak.max(weir.resident_kib());
    assert!(peak < before + (24 << 10), "it grew from {before} KiB to {peak} KiB");
    // The connection can be used again.
    client.write("GET /a.txt HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.read_response().text(), "a");
    let counted = || weir.metric("weir_response_body_bytes_total", &["route="]);
    eventually("all of it is counted", || (counted() == Some(SIZE as f64 + 2.0)).then_some(()));
}

#[test]
fn a_file_that_changes_under_way_does_not_pass_for_whole() {
    let site = Site::new(&[]);
    let path = site.root().join("shrinks.bin");
    std::fs::create_dir_all(site.root()).unwrap();
    std::fs::File::create(&path).unwrap().set_len(256 << 20).unwrap();
    let weir = site.served("");
    let mut client = weir.connect();
    client.write("GET /shrinks.bin HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.read_head().expect("a head");
    // Far more than fits into the buffers on the way is still to come.
    std::fs::File::options().write(true).open(&path).unwrap().set_len(1 << 20).unwrap();
    let rest = client.read_to_end();
    assert!(rest.len() < 256 << 20, "{} bytes came", rest.len());
    eventually("it is logged as broken off", || weir.log().contains("\"ended\":\"file-failed\"").then_some(()));
    assert_answers(&weir, &[("/none", 404, "")]);
}

#[test]
fn who_leaves_in_the_middle_of_a_file_is_known_to_have_left() {
    let site = Site::new(&[("a.txt", b"a")]);
    std::fs::File::create(site.root().join("large.bin")).unwrap().set_len(256 << 20).unwrap();
    let weir = site.served("");
    let mut client = weir.connect();
    client.write("GET /large.bin HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.read_some(1000);
    drop(client);
    eventually("it is logged so", || weir.log().contains("\"ended\":\"client-closed\"").then_some(()));
    assert_answers(&weir, &[("/a.txt", 200, "a")]);
}

#[test]
fn times_that_no_date_can_tell_are_no_misfortune() {
    let site = Site::new(&[("old", b"old"), ("late", b"late")]);
    let touch = |name: &str, time: SystemTime| {
        let file = std::fs::File::options().write(true).open(site.root().join(name)).unwrap();
        file.set_modified(time).unwrap();
    };
    touch("old", UNIX_EPOCH - Duration::from_secs(1000));
    touch("late", UNIX_EPOCH + Duration::from_secs(300_000_000_000));
    let weir = site.served("");
    assert_answers(&weir, &[("/old", 200, "old"), ("/late", 200, "late")]);
    assert_eq!(weir.get("/old").header("last-modified"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    let known = weir.request("GET", "/old").header("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT").send();
    assert_eq!(known.status, 304);
}

#[test]
fn whole_files_and_parts_come_over_http2() {
    let data: Vec<u8> = (0..700_000u32).map(|i| (i % 251) as u8).collect();
    let site = Site::new(&[("data.bin", &data), ("page.html", "words ".repeat(100_000).as_bytes())]);
    let weir = Weir::start(&site.file("", "compress"));
    let mut client = H2Client::plain(weir.http);
    assert_eq!(client.get("a.test", "/data.bin").body, data);
    let part = client.send("GET", "a.test", "/data.bin", &[("range", "bytes=131000-400000")], None);
    assert!(part.status == 206 && part.body == data[131_000..=400_000]);
    let page = client.send("GET", "a.test", "/page.html", &[("accept-encoding", "br")], None);
    assert_eq!(decoded("br", &page.body), "words ".repeat(100_000).as_bytes());
    let head = client.send("HEAD", "a.test", "/data.bin", &[], None);
    assert_eq!((head.header("content-length"), head.body.len()), (Some("700000"), 0));
}

#[test]
fn a_connection_goes_on_after_every_kind_of_answer() {
    let site = Site::new(&[("a.txt", b"0123456789"), ("empty", b""), ("sub/index.html", b"i")]);
    let weir = site.served("");
    let mut client = Connection::open(weir.http);
    for (method, target, field, status, body) in [
        ("GET", "/a.txt", "", 200, "0123456789"),
        ("GET", "/a.txt", "Range: bytes=2-3\r\n", 206, "23"),
        ("GET", "/a.txt", "Range: bytes=20-\r\n", 416, "*"),
        ("GET", "/a.txt", "If-None-Match: *\r\n", 304, ""),
        ("GET", "/a.txt", "If-Match: \"x\"\r\n", 412, "*"),
        ("HEAD", "/a.txt", "", 200, ""),
        ("GET", "/empty", "", 200, ""),
        ("GET", "/sub", "", 301, ""),
        ("POST", "/a.txt", "Content-Length: 2\r\n\r\nhi", 405, "*"),
        ("GET", "/a.txt", "Content-Length: 2\r\n\r\nhi", 200, "0123456789"),
    ] {
        let end = if field.ends_with("hi") { "" } else { "\r\n" };
        client.write(format!("{method} {target} HTTP/1.1\r\nHost: a.test\r\n{field}{end}"));
        let answer = client.read_response_to(method);
        assert_eq!(answer.status, status, "{method} {target} {field}");
        assert!(body == "*" || answer.text() == body, "{method} {target} {field}: {}", answer.text());
    }
}

#[test]
fn explain_names_the_file() {
    let site = Site::new(PAGES);
    let folder = tempfile::tempdir().unwrap();
    let yaml = folder.path().join("weir.yaml");
    let listener = "listeners: { http: { address: \"127.0.0.1:80\" } }\n";
    std::fs::write(&yaml, format!("{listener}{}", site.file(", fallback: /app/index.html", ""))).unwrap();
    let root = site.root().display().to_string();
    for (method, path, words) in [
        ("GET", "/app/main.js", format!("outcome   answered with the file {root}/app/main.js")),
        ("GET", "/none", format!("outcome   answered with the file {root}/app/index.html")),
        ("GET", "/app", "outcome   redirected with 301 to /app/".into()),
        ("GET", "/.env", format!("outcome   answered 404: there is no such file below {root}")),
        ("POST", "/", "outcome   answered 405: files are only read".into()),
    ] {
        let url = format!("http://a.test{path}");
        let output = weir_command().arg("explain").arg(&yaml).args([method, &url]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(&words), "{text}");
    }
    let weir = site.served("");
    assert_eq!(request(weir.http, "GET", "/app/main.js").send().status, 200);
    eventually("it is counted and logged", || {
        let counted = weir.metric("weir_requests_total", &["route=\"*/\"", "method=\"GET\"", "code=\"200\""]);
        (counted == Some(1.0) && weir.log().contains("\"/app/main.js\"")).then_some(())
    });
}
