//! Somebody else says who may come in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cluster::endpoint_address;
use crate::stage::{Draft, Echo, NAMESPACE, Site, stage};
use crate::support::{Answer, Origin, Received, Response};

/// Lets in who has the cookie `pass`, whose value it tells as X-User; and keeps what it was asked.
fn doorkeeper() -> Origin {
    Origin::start_at(endpoint_address(), |asked: &Received| {
        let user = asked.header("cookie").and_then(|cookie| cookie.strip_prefix("pass="));
        Answer::Send(
            match user {
                Some(user) => format!(
                    "HTTP/1.1 200 OK\r\nX-User: {user}\r\nX-Other: x\r\nSet-Cookie: seen=1\r\nContent-Length: 0\r\n\r\n"
                ),
                None => "HTTP/1.1 401 No\r\nSet-Cookie: seen=0\r\nContent-Length: 0\r\n\r\n".to_owned(),
            }
            .into_bytes(),
        )
    })
}

fn guarded(name: &str, keeper: &Origin) -> Draft {
    stage().draft(name).with("auth-url", &format!("http://{}/verify?a=b", keeper.address))
}

fn as_user(site: &Site<'_>, target: &str) -> Response {
    site.ask("GET", target).header("Cookie", "pass=ann").send()
}

#[test]
fn a_service_says_who_comes_in_and_who_they_are() {
    let _stage = stage();
    let keeper = doorkeeper();
    let draft = guarded("guarded", &keeper).with("auth-response-headers", "X-User");
    let site = draft.with("auth-method", "POST").serve();
    assert_eq!(site.get("/").status, 401);
    let answer = as_user(&site, "/a?b");
    assert_eq!(answer.header("set-cookie"), Some("seen=1"));
    let echo = Echo::of(&answer);
    assert_eq!((echo.header("x-user"), echo.header("x-other")), (Some("ann"), None));
    let asked = keeper.last_request();
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/verify?a=b"));
    assert_eq!(asked.header("x-original-url"), Some("http://guarded.test/a?b"));
    assert_eq!(
        (asked.header("x-original-method"), asked.header("x-auth-request-redirect")),
        (Some("GET"), Some("/a?b"))
    );
}

#[test]
fn who_is_not_signed_in_is_sent_to_sign_in() {
    let _stage = stage();
    let keeper = doorkeeper();
    let site = guarded("signed", &keeper).with("auth-signin", "https://sso.test/start").serve();
    let answer = site.get("/a?b=c");
    assert_eq!(
        (answer.status, answer.header("location")),
        (302, Some("https://sso.test/start?rd=http://signed.test%2Fa%3Fb%3Dc"))
    );
    let draft = guarded("signed-otherwise", &keeper).with("auth-signin", "https://sso.test/start?x=y");
    let site = draft.with("auth-signin-redirect-param", "next").serve();
    let location = site.get("/").header("location").map(str::to_owned);
    assert_eq!(location.as_deref(), Some("https://sso.test/start?x=y&next=http://signed-otherwise.test%2F"));
}

#[test]
fn its_cookies_go_along_with_errors_where_that_is_wanted() {
    let _stage = stage();
    let keeper = doorkeeper();
    let usual = guarded("cookies", &keeper).serve();
    assert_eq!(as_user(&usual, "/404").header("set-cookie"), None);
    let always = guarded("cookies-always", &keeper).with("auth-always-set-cookie", "true").serve();
    assert_eq!(as_user(&always, "/404").header("set-cookie"), Some("seen=1"));
}

#[test]
fn its_answers_are_kept_by_the_key_and_for_the_time_that_the_ingress_says() {
    let stage = stage();
    let asked = Arc::new(AtomicUsize::new(0));
    let keeper = Origin::start_at(endpoint_address(), {
        let asked = asked.clone();
        move |_| {
            asked.fetch_add(1, Ordering::SeqCst);
            Answer::ok("")
        }
    });
    let url = format!("http://{}/", keeper.address);
    let draft = |name: &str| stage.draft(name).with("auth-url", &url).with("auth-cache-key", "$http_x_user");
    let ask = |site: &Site<'_>, user: &str| {
        assert_eq!(site.ask("GET", "/").header("X-User", user).send().status, 200);
        asked.load(Ordering::SeqCst)
    };
    let kept = draft("kept-answers").serve();
    assert_eq!((ask(&kept, "ann"), ask(&kept, "ann"), ask(&kept, "bob")), (1, 1, 2));
    // What it says with 200 is not among what is kept.
    let other = draft("other-answers").with("auth-cache-duration", "401 10m").serve();
    assert_eq!((ask(&other, "ann"), ask(&other, "ann")), (3, 4));
}

#[test]
fn the_service_is_told_what_the_ingress_says() {
    let keeper = {
        stage().config_map("questions", &[("X-Realm", "shop of $host"), ("X-Team", "a")]);
        doorkeeper()
    };
    let draft = guarded("told", &keeper).with("auth-proxy-set-headers", &format!("{NAMESPACE}/questions"));
    let draft = draft.with("auth-request-redirect", "https://$host/after");
    let site = draft.with("auth-snippet", "proxy_set_header X-Team b;\nproxy_set_header X-Uri $request_uri;").serve();
    assert_eq!(as_user(&site, "/a?b").status, 200);
    let asked = keeper.last_request();
    assert_eq!((asked.header("x-realm"), asked.header("x-team")), (Some("shop of told.test"), Some("b")));
    assert_eq!(
        (asked.header("x-uri"), asked.header("x-auth-request-redirect")),
        (Some("/a?b"), Some("https://told.test/after"))
    );
    let closed = guarded("not-told", &keeper).with("auth-snippet", "proxy_pass http://elsewhere;").serve();
    assert_eq!(as_user(&closed, "/").status, 503);
}
