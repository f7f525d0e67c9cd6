//! Global options: what holds for Ingresses that say nothing else.

use crate::stage::{Echo, Scene, Site, authority};
use crate::support::{Answer, Connection, Response, TlsClient, decoded};

fn led(answer: &Response) -> (u16, &str) {
    (answer.status, answer.header("location").unwrap_or("-"))
}

#[test]
fn redirects_are_as_the_options_say() {
    let scene = Scene::with_options(
        "opt-redirects",
        &[
            ("force-ssl-redirect", "true"),
            ("preserve-trailing-slash", "true"),
            ("http-redirect-code", "301"),
            ("no-tls-redirect-locations", "/open"),
            ("relative-redirects", "true"),
            ("hsts-max-age", "600"),
            ("hsts-include-subdomains", "false"),
            ("hsts-preload", "true"),
        ],
    );
    let draft = scene.draft("forced").path("/", "echo").path("/open", "echo").path("/dir/", "echo");
    let site = scene.serve(draft);
    assert_eq!(led(&site.get("/a/")), (301, "https://forced.test/a/"));
    assert_eq!(site.echo("/open/a").target, "/open/a");
    let answer = site.get_tls("/dir");
    assert_eq!(led(&answer), (301, "/dir/"));
    assert_eq!(site.get_tls("/").header("strict-transport-security"), Some("max-age=600; preload"));
}

#[test]
fn redirects_and_hsts_may_be_switched_off() {
    let scene = Scene::with_options(
        "opt-without",
        &[
            ("ssl-redirect", "false"),
            ("hsts", "false"),
            ("use-http2", "false"),
            ("ssl-protocols", "TLSv1.3"),
            ("disable-access-log", "true"),
        ],
    );
    let site = scene.serve(scene.draft("plain").tls());
    assert_eq!(site.echo("/").target, "/");
    assert_eq!(site.get_tls("/").header("strict-transport-security"), None);
    let (_, protocol) = TlsClient::trusting(authority(), &[b"h2", b"http/1.1"]).shown(site.weir.https, "plain.test");
    assert_eq!(protocol, "http/1.1");
    let old = authority().client().speaking(&rustls::version::TLS12);
    assert!(old.connect(site.weir.https, "plain.test").is_err());
    assert!(!scene.weir.log().contains("plain.test"), "no request is in the log: {}", scene.weir.log());
}

#[test]
fn a_proxy_before_it_is_believed_as_the_options_say() {
    let options = |full| {
        [
            ("use-forwarded-headers", "true"),
            ("proxy-real-ip-cidr", "127.0.20.0/24"),
            ("compute-full-forwarded-for", full),
        ]
    };
    let scene = Scene::with_options("opt-forwarded", &options("true"));
    let site = scene.site("behind");
    let ask = |site: &Site<'_>, from| {
        let asked = site.ask("GET", "/").from(from).header("X-Forwarded-For", "203.0.113.7");
        Echo::of(&asked.header("X-Forwarded-Proto", "https").send())
    };
    let believed = ask(&site, [127, 0, 20, 1]);
    assert_eq!(
        (believed.header("x-real-ip"), believed.header("x-forwarded-proto")),
        (Some("203.0.113.7"), Some("https"))
    );
    assert_eq!(believed.header("x-forwarded-for"), Some("203.0.113.7, 127.0.20.1"));
    let other = ask(&site, [127, 0, 21, 1]);
    assert_eq!((other.header("x-real-ip"), other.header("x-forwarded-for")), (Some("127.0.21.1"), Some("127.0.21.1")));
    drop(scene);
    let scene =
        Scene::with_options("opt-real-ip", &[("enable-real-ip", "true"), ("proxy-real-ip-cidr", "127.0.20.0/24")]);
    let echo = ask(&scene.site("real"), [127, 0, 20, 1]);
    assert_eq!((echo.header("x-real-ip"), echo.header("x-forwarded-for")), (Some("203.0.113.7"), Some("203.0.113.7")));
}

#[test]
fn connections_begin_with_a_proxy_header_where_the_options_say_so() {
    let scene =
        Scene::with_options("opt-proxied", &[("use-proxy-protocol", "true"), ("proxy-real-ip-cidr", "127.0.0.0/8")]);
    let site = scene.site("proxied");
    let mut connection = Connection::open(scene.weir.http);
    connection.write("PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n");
    let echo = Echo::of(&site.on(&mut connection, "/"));
    assert_eq!(echo.header("x-real-ip"), Some("203.0.113.9"));
}

#[test]
fn answers_are_compressed_as_the_options_say() {
    let scene = Scene::with_options(
        "opt-compressed",
        &[
            ("use-gzip", "true"),
            ("gzip-level", "9"),
            ("gzip-min-length", "100"),
            ("gzip-types", "text/x-ours"),
            ("enable-brotli", "true"),
            ("brotli-level", "11"),
        ],
    );
    let text = "a text that is said again and again, and again. ".repeat(40);
    let said = text.clone();
    let _origin = scene.origin("texts", move |asked| {
        let (kind, length) = asked.target.trim_start_matches('/').split_once('/').expect("kind and length");
        Answer::with_headers(&format!("Content-Type: text/{kind}\r\n"), &said[..length.parse().expect("a length")])
    });
    let site = scene.serve(scene.draft("texts").path("/", "texts"));
    let ask = |target: &str, codings: &str| site.ask("GET", target).header("Accept-Encoding", codings).send();
    for coding in ["gzip", "br"] {
        let answer = ask("/x-ours/1800", coding);
        assert_eq!(answer.header("content-encoding"), Some(coding));
        assert_eq!(decoded(coding, &answer.body), text.as_bytes()[..1800]);
    }
    assert_eq!(ask("/x-theirs/1800", "gzip").header("content-encoding"), None);
    assert_eq!(ask("/x-ours/99", "gzip").header("content-encoding"), None);
}

#[test]
fn errors_and_their_statuses_are_as_the_options_say() {
    let scene = Scene::with_options(
        "opt-errors",
        &[
            ("custom-http-errors", "404,429"),
            ("disable-proxy-intercept-errors", "true"),
            ("limit-req-status-code", "429"),
            ("limit-conn-status-code", "509"),
            ("allow-backend-server-header", "true"),
            ("strict-validate-path-type", "false"),
        ],
    );
    let _pages = scene.origin("pages", |asked| Answer::status(429, asked.header("x-code").unwrap_or("none")));
    let _own = scene
        .origin("own", |_| Answer::Send(b"HTTP/1.1 404 No\r\nServer: theirs\r\nContent-Length: 3\r\n\r\nown".to_vec()));
    let draft = scene.draft("paged").with("default-backend", "pages").with("limit-rpm", "1");
    let draft = draft.with("limit-burst-multiplier", "1").path("/", "own").path("/with+signs", "echo");
    let site = scene.serve(draft);
    let answer = site.get("/");
    assert_eq!((answer.status, answer.text().as_str(), answer.header("server")), (404, "own", Some("theirs")));
    assert_eq!(site.echo("/with+signs").target, "/with+signs");
    let limited = site.get("/");
    assert_eq!((limited.status, limited.text().as_str()), (429, "429"));

    let silent = scene.origin("silent", |_| Answer::Silence);
    let site = scene.serve(scene.draft("full").with("limit-connections", "1").path("/", "silent"));
    let mut first = site.connect();
    first.write("GET / HTTP/1.1\r\nHost: full.test\r\n\r\n");
    silent.wait_for_requests(1);
    assert_eq!(site.get("/").status, 509);
}

#[test]
fn clients_are_kept_out_as_the_options_say() {
    let scene = Scene::with_options(
        "opt-access",
        &[
            ("block-cidrs", "127.0.30.1"),
            ("whitelist-source-range", "127.0.30.0/24"),
            ("denylist-source-range", "127.0.30.2"),
        ],
    );
    let site = scene.site("guarded");
    let own = scene.serve(scene.draft("own-lists").with("whitelist-source-range", "127.0.0.0/8"));
    let from = |site: &Site<'_>, last| site.ask("GET", "/").from([127, 0, 30, last]).send().status;
    assert_eq!([1, 2, 3].map(|last| from(&site, last)), [403, 403, 200]);
    assert_eq!(site.ask("GET", "/").from([127, 0, 31, 3]).send().status, 403);
    assert_eq!(own.ask("GET", "/").from([127, 0, 31, 3]).send().status, 200);
    assert_eq!(from(&own, 1), 403, "blocked for all");
}

#[test]
fn a_service_says_who_comes_in_everywhere_as_the_options_say() {
    let cluster = crate::cluster::Cluster::shared();
    let asked = crate::support::Origin::start_at(crate::cluster::endpoint_address(), |asked| {
        let is_known = asked.header("x-key") == Some("known");
        let status = if is_known { "200 OK" } else { "401 No" };
        let fields = "X-User: ann\r\nSet-Cookie: seen=1\r\nCache-Control: max-age=60\r\nContent-Length: 0\r\n\r\n";
        let fields =
            if asked.header("x-kept").is_some() { fields.replace("Set-Cookie: seen=1\r\n", "") } else { fields.into() };
        Answer::Send(format!("HTTP/1.1 {status}\r\n{fields}").into_bytes())
    });
    assert!(cluster.get("/version")["gitVersion"].is_string());
    let scene = Scene::with_options(
        "opt-auth",
        &[
            ("global-auth-url", &format!("http://{}/verify", asked.address)),
            ("global-auth-method", "POST"),
            ("global-auth-signin", "https://sso.test/start"),
            ("global-auth-signin-redirect-param", "next"),
            ("global-auth-response-headers", "X-User"),
            ("global-auth-always-set-cookie", "true"),
            ("global-auth-cache-key", "$http_x_kept"),
            ("global-auth-cache-duration", "200 10m"),
            ("no-auth-locations", "/open"),
        ],
    );
    let site = scene.serve(scene.draft("asked").path("/", "echo").path("/open", "echo"));
    let free = scene.serve(scene.draft("not-asked").with("enable-global-auth", "false"));
    assert_eq!(led(&site.get("/a")), (302, "https://sso.test/start?next=http://asked.test%2Fa"));
    let known = |target: &str| site.ask("GET", target).header("X-Key", "known");
    let answer = known("/404").send();
    assert_eq!((answer.status, answer.header("set-cookie")), (404, Some("seen=1")));
    assert_eq!(Echo::of(&answer).header("x-user"), Some("ann"));
    assert_eq!(asked.last_request().method, "POST");
    let before = asked.request_count();
    for _ in 0..3 {
        assert_eq!(known("/").header("X-Kept", "1").send().status, 200);
    }
    assert_eq!(asked.request_count(), before + 1, "its answer is kept");
    assert_eq!((free.get("/").status, site.get("/open").status), (200, 200));
    assert_eq!(asked.request_count(), before + 1);
}

#[test]
fn fields_are_set_and_hidden_and_clients_told_apart_as_the_options_say() {
    let scene = Scene::with_options(
        "opt-fields",
        &[
            ("proxy-set-headers", "opt-fields/on-requests"),
            ("add-headers", "opt-fields/on-answers"),
            ("hide-headers", "X-Inner,X-Powered-By"),
            ("proxy-add-original-uri-header", "true"),
            ("block-user-agents", "curl/1.0,~*bot"),
            ("block-referers", "~^http://spam\\."),
        ],
    );
    crate::stage::config_map(scene.cluster, scene.namespace, "on-requests", &[("X-Cluster", "one of $host")]);
    crate::stage::config_map(scene.cluster, scene.namespace, "on-answers", &[("X-Served-By", "weir")]);
    let _own = scene.origin("own", |asked| {
        let told =
            ["x-cluster", "x-original-uri"].map(|name| asked.header(name).unwrap_or("none").to_owned()).join(" | ");
        Answer::with_headers("X-Inner: x\r\nX-Powered-By: y\r\nX-Other: z\r\n", &told)
    });
    let site = scene.serve(scene.draft("fields").path("/", "own"));
    let answer = crate::support::eventually("both ConfigMaps are known", || {
        let answer = site.get("/a?b");
        (answer.header("x-served-by") == Some("weir") && answer.text().starts_with("one of")).then_some(answer)
    });
    assert_eq!(answer.text(), "one of fields.test | /a?b");
    assert_eq!(["x-inner", "x-powered-by", "x-other"].map(|name| answer.header(name)), [None, None, Some("z")]);
    let status = |name: &str, value: &str| site.ask("GET", "/").header(name, value).send().status;
    assert_eq!(
        (status("User-Agent", "CURL/1.0"), status("User-Agent", "a ROBOT"), status("User-Agent", "curl/1.01")),
        (403, 403, 200)
    );
    assert_eq!((status("Referer", "http://spam.test/"), status("Referer", "http://ham.test/")), (403, 200));
}
