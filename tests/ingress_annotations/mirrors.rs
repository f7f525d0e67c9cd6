//! Copies of requests.

use crate::cluster::endpoint_address;
use crate::stage::stage;
use crate::support::{Origin, Received};

#[test]
fn a_shadow_gets_copies_of_requests_as_the_ingress_says() {
    let stage = stage();
    let shadow = Origin::named_at(endpoint_address(), "shadow");
    let copy_of = |name: &str, body: &str| -> Received {
        let before = shadow.request_count();
        let draft = stage.draft(name).with("mirror-target", &format!("http://{}$request_uri", shadow.address));
        let site = draft.with("mirror-host", "shadow.test").with("mirror-request-body", body).serve();
        assert_eq!(site.ask("POST", "/a?b").body("body").send().status, 200);
        shadow.wait_for_requests(before + 1);
        shadow.last_request()
    };
    let with = copy_of("copied", "on");
    assert_eq!(
        (with.method.as_str(), with.target.as_str(), with.header("host")),
        ("POST", "/a?b", Some("shadow.test"))
    );
    assert_eq!(with.body, b"body");
    assert_eq!(copy_of("copied-without-body", "off").body, b"");
}
