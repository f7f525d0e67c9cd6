//! An edit that cannot be used leaves what was served, and is told of.

use serde_json::{Value, json};

use super::cluster::{add, certificate, of_objects, settings, simple};
use crate::sources::kube::state::{ClusterState, ObjectKey};
use crate::sources::kube::translate::{LastUsable, Reason, translate};

/// What a cluster comes to, edit by edit.
struct Served {
    state: ClusterState,
    last_usable: LastUsable,
}

impl Served {
    fn with(objects: impl IntoIterator<Item = Value>) -> Self {
        Self { state: of_objects(objects), last_usable: LastUsable::default() }
    }

    /// The paths of `host-0.test`, and what is said.
    fn shown(&mut self) -> (Vec<String>, Vec<String>) {
        let settings = settings();
        let served = self.last_usable.of(&self.state, &settings);
        let mut translation = translate(&served, &settings);
        translation.tell(self.last_usable.findings());
        let hosts = translation.model.hosts.iter();
        let host = hosts.filter(|host| host.names[0].to_string() == "host-0.test");
        let route = |route: &crate::model::Route| {
            let action = serde_json::to_string(&route.action).unwrap();
            format!("{}{}", route.matches.path, if action.contains("503") { " closed" } else { "" })
        };
        let paths = host.flat_map(|host| &host.routes).map(route).collect();
        let told = translation.events.iter().map(|event| format!("{} {}", event.reason, event.message)).collect();
        (paths, told)
    }

    fn put(&mut self, object: Value) {
        add(&mut self.state, &mut settings(), object);
    }
}

fn with_paths(paths: &[&str], annotations: Value) -> Value {
    let [mut ingress, ..] = simple(0);
    let backend = json!({ "service": { "name": "app-0", "port": { "number": 80 } } });
    let path = |path: &&str| json!({ "path": path, "pathType": "Prefix", "backend": backend });
    ingress["spec"]["rules"][0]["http"]["paths"] = paths.iter().map(path).collect();
    ingress["metadata"]["annotations"] = annotations;
    ingress
}

const NOT_USED: &str = "UpdateNotUsed spec.rules[0].http.paths[1]: \"api\" is no path; begin it with a slash; what there was \
                        before is served on";

#[test]
fn an_update_that_cannot_be_used_leaves_the_last_one_that_could() {
    let mut served = Served::with(simple(0));
    let before = served.shown();
    assert_eq!(before.1, [""; 0]);
    served.put(with_paths(&["/new", "api"], json!({})));
    assert_eq!(served.shown(), (before.0.clone(), vec![NOT_USED.to_owned()]));
    // Another change does not end it, and one more that is no better does not either.
    served.put(simple(1)[0].clone());
    served.put(with_paths(&["/newer", "api"], json!({})));
    assert_eq!(served.shown().0, before.0);
    served.put(with_paths(&["/mended"], json!({})));
    assert_eq!(served.shown().0, ["/mended", "/"]);
}

#[test]
fn what_was_never_served_whole_is_served_as_far_as_it_can_be() {
    let [_, service, slice] = simple(0);
    let mut served = Served::with([with_paths(&["/new", "api"], json!({})), service, slice]);
    let (paths, told) = served.shown();
    assert_eq!(paths, ["/new", "/"]);
    assert!(told.iter().any(|event| event.starts_with("InvalidRule")), "{told:?}");
}

#[test]
fn what_is_gone_and_comes_again_is_no_update() {
    let mut served = Served::with(simple(0));
    served.shown();
    served.put(with_paths(&["/new", "api"], json!({})));
    served.shown();
    served.state.ingresses.remove(&ObjectKey::new("default", "app-0"));
    assert_eq!(served.shown(), (Vec::new(), Vec::new()));
    served.put(with_paths(&["/new", "api"], json!({})));
    assert_eq!(served.shown().0, ["/new", "/"]);
}

#[test]
fn who_may_come_in_is_changed_at_once() {
    let mut served = Served::with(simple(0));
    served.shown();
    let protected = json!({ "nginx.ingress.kubernetes.io/whitelist-source-range": "no network" });
    served.put(with_paths(&["/new", "api"], protected));
    let (paths, told) = served.shown();
    assert_eq!(paths, ["/new closed", "/ closed"]);
    assert!(told.iter().all(|event| !event.contains(Reason::UpdateNotUsed.to_string().as_str())), "{told:?}");
}

#[test]
fn a_certificate_that_is_broken_by_an_update_leaves_the_one_before() {
    let (chain, key) = certificate("host-0.test");
    let secret = |chain: &str| {
        let data = json!({ "tls.crt": chain, "tls.key": key });
        json!({ "kind": "Secret", "metadata": { "name": "pair" }, "stringData": data })
    };
    let [mut ingress, service, slice] = simple(0);
    ingress["spec"]["tls"] = json!([{ "hosts": ["host-0.test"], "secretName": "pair" }]);
    let mut served = Served::with([ingress, service, slice, secret(&chain)]);
    assert_eq!(served.shown().1, [""; 0]);
    served.put(secret("broken"));
    let told = served.shown().1;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("UpdateNotUsed data: its tls.crt"), "{told:?}");
    served.put(secret(&chain));
    assert_eq!(served.shown().1, [""; 0]);
}
