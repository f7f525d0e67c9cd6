//! Events: what is wrong with an object, and seldom good news, told once to whoever looks at it.
//!
//! ```text
//! translation's events ──not told yet──► queue ──a few a second──► created, or counted where the API has it already
//! ```
//!
//! An Event is named by what it says, so that another leader, or the next process, finds it and counts.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use aws_lc_rs::digest;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::events::v1::{Event as Object, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};

use crate::sources::kube::translate::{Event, ObjectKind, ObjectReference};

/// Between one batch and the next.
pub const PACE: Duration = Duration::from_millis(500);
/// Events at one time: twenty a second at most.
const BATCH: usize = 10;
/// Events that wait; what is wrong with more objects than these stands in the log and at /config/status.
const QUEUE: usize = 1000;

const CONTROLLER: &str = "weir-ingress";

pub struct Events {
    client: Client,
    instance: String,
    /// What is wrong now and was told, or waits to be.
    standing: BTreeSet<Event>,
    waiting: VecDeque<Event>,
    has_failed: bool,
}

impl Events {
    pub fn new(client: &Client, instance: &str) -> Self {
        let (standing, waiting) = (BTreeSet::new(), VecDeque::new());
        Self { client: client.clone(), instance: instance.to_owned(), standing, waiting, has_failed: false }
    }

    /// What is wrong as of now. What was wrong before is not told again, unless it was mended meanwhile.
    pub fn take_in(&mut self, events: &[Event]) {
        self.standing.retain(|event| events.binary_search(event).is_ok());
        self.waiting.retain(|event| events.binary_search(event).is_ok());
        for event in events {
            if self.waiting.len() < QUEUE && !self.standing.contains(event) {
                self.standing.insert(event.clone());
                self.waiting.push_back(event.clone());
            }
        }
    }

    pub fn has_more(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub async fn write_some(&mut self) {
        for _ in 0..BATCH {
            let Some(event) = self.waiting.pop_front() else { return };
            match self.write(&event).await {
                Ok(()) => self.has_failed = false,
                Err(error) => {
                    self.note_failure(&event, &error);
                    return;
                }
            }
        }
    }

    /// Once for each outage. What is refused for itself is not tried again: it would be in the way of the others.
    fn note_failure(&mut self, event: &Event, error: &kube::Error) {
        if !std::mem::replace(&mut self.has_failed, true) {
            let object = format!("{} {}", event.object.kind, event.object.key);
            tracing::warn!(object, %error, "an Event cannot be written");
        }
        if !matches!(error, kube::Error::Api(status) if status.code < 500 && status.code != 429) {
            self.waiting.push_front(event.clone());
        }
    }

    async fn write(&self, event: &Event) -> Result<(), kube::Error> {
        let api: Api<Object> = Api::namespaced(self.client.clone(), &event.object.key.namespace);
        let object = self.object(event);
        match api.create(&PostParams::default(), &object).await {
            Err(kube::Error::Api(status)) if status.code == 409 => count(&api, &name_of(event)).await,
            created => created.map(drop),
        }
    }

    fn object(&self, event: &Event) -> Object {
        Object {
            metadata: ObjectMeta { name: Some(name_of(event)), ..ObjectMeta::default() },
            event_time: Some(MicroTime(Timestamp::now())),
            action: Some("Translate".into()),
            reason: Some(event.reason.to_string()),
            note: Some(event.message.clone()),
            type_: Some(if event.reason.is_good_news() { "Normal" } else { "Warning" }.into()),
            regarding: Some(regarding(&event.object)),
            reporting_controller: Some(CONTROLLER.into()),
            reporting_instance: Some(self.instance.clone()),
            ..Object::default()
        }
    }
}

/// One more of a series.
async fn count(api: &Api<Object>, name: &str) -> Result<(), kube::Error> {
    let Some(known) = api.get_opt(name).await? else { return Ok(()) };
    let count = known.series.map_or(1, |series| series.count).saturating_add(1);
    let series = EventSeries { count, last_observed_time: MicroTime(Timestamp::now()) };
    let patch = serde_json::json!({ "series": series });
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}

fn regarding(object: &ObjectReference) -> core::ObjectReference {
    core::ObjectReference {
        api_version: Some(
            match object.kind {
                ObjectKind::Ingress => "networking.k8s.io/v1",
                ObjectKind::ConfigMap | ObjectKind::Secret | ObjectKind::Service => "v1",
            }
            .into(),
        ),
        kind: Some(object.kind.to_string()),
        namespace: Some(object.key.namespace.to_string()),
        name: Some(object.key.name.to_string()),
        uid: Some(object.uid.to_string()).filter(|uid| !uid.is_empty()),
        ..core::ObjectReference::default()
    }
}

/// The longest that the name of an object may be.
const LONGEST_NAME: usize = 253;

/// The object's, and what stands in the Event.
fn name_of(event: &Event) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    let (kind, reason) = (event.object.kind.to_string(), event.reason.to_string());
    for part in [&*kind, &*event.object.uid, &*reason, &*event.message] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let digest = context.finish();
    let digest: String = digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let name: String = event.object.key.name.chars().take(LONGEST_NAME - digest.len() - 1).collect();
    format!("{}.{digest}", name.trim_end_matches(['.', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::kube::state::ObjectKey;
    use crate::sources::kube::translate::Reason;

    fn event(name: &str, message: &str) -> Event {
        let object = ObjectReference { kind: ObjectKind::Ingress, key: ObjectKey::new("a", name), uid: "1".into() };
        Event { object, reason: Reason::Conflict, message: message.into() }
    }

    #[test]
    fn an_event_is_named_by_what_it_says() {
        let name = name_of(&event("shop", "x"));
        assert_eq!(name, name_of(&event("shop", "x")));
        assert_ne!(name, name_of(&event("shop", "y")));
        assert!(name.starts_with("shop.") && name.len() == "shop.".len() + 16, "{name}");
        assert_eq!(name_of(&event(&"x".repeat(253), "x")).len(), 253);
    }

    #[test]
    fn what_stands_is_told_once_and_what_comes_back_again() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _entered = runtime.enter();
        let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let mut events = Events::new(&Client::try_from(config).unwrap(), "test");
        let (one, two) = (event("one", "x"), event("two", "x"));
        events.take_in(&[one.clone(), two.clone()]);
        assert_eq!(events.waiting.len(), 2);
        events.waiting.clear();
        events.take_in(&[one.clone(), two.clone()]);
        assert!(!events.has_more());
        events.take_in(std::slice::from_ref(&two));
        events.take_in(&[one.clone(), two]);
        assert_eq!(events.waiting, [one]);
    }
}
