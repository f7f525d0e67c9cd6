//! What an API server asks an admission webhook, and is told (admission.k8s.io/v1).
//!
//! ```text
//! AdmissionReview { request: { operation, object } } ──judge──► AdmissionReview { response: { allowed, status, warnings } }
//! ```

use k8s_openapi::api::networking::v1 as networking;
use serde::Deserialize;
use serde_json::{Value, json};

use super::state::Ingress;
use super::translate::Review;

const VERSION: &str = "admission.k8s.io/v1";

/// More would be cut off by the API server: 4096 characters of all, and of each what fits a line.
const MOST_WARNINGS: usize = 12;
const LONGEST_WARNING: usize = 300;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    api_version: String,
    request: Option<Request>,
}

#[derive(Deserialize)]
struct Request {
    uid: String,
    kind: Kind,
    operation: String,
    /// Null where it is deleted.
    #[serde(default)]
    object: Value,
}

#[derive(Deserialize)]
struct Kind {
    group: String,
    kind: String,
}

/// The answer to `body`. The error says what is wrong with the question.
pub fn answer(body: &[u8], judge: impl FnOnce(&Ingress) -> Review) -> Result<Vec<u8>, String> {
    let asked: Asked = serde_json::from_slice(body).map_err(|error| format!("this is no AdmissionReview: {error}"))?;
    let request = asked.request.filter(|_| asked.api_version == VERSION);
    let request = request.ok_or_else(|| format!("this is no AdmissionReview of {VERSION} with a request"))?;
    let is_ingress = request.kind.group == "networking.k8s.io" && request.kind.kind == "Ingress";
    // What is being deleted has to be written till the last of its finalizers is gone.
    let stays = request.object.pointer("/metadata/deletionTimestamp").is_none_or(Value::is_null);
    let is_written = matches!(&*request.operation, "CREATE" | "UPDATE") && stays;
    let review = match is_ingress && is_written {
        true => judge(&Ingress::from(&object(request.object)?)),
        false => Review::default(),
    };
    Ok(response(&request.uid, review).to_string().into_bytes())
}

fn object(object: Value) -> Result<networking::Ingress, String> {
    serde_json::from_value(object).map_err(|error| format!("the object is no Ingress: {error}"))
}

fn response(uid: &str, review: Review) -> Value {
    let Review { refusals, warnings } = review;
    let mut response = json!({ "uid": uid, "allowed": refusals.is_empty() });
    if !refusals.is_empty() {
        let message = refusals.join("; ");
        response["status"] = json!({ "code": 422, "reason": "Invalid", "message": message });
    }
    if !warnings.is_empty() {
        let warnings: Vec<String> = warnings.into_iter().take(MOST_WARNINGS).map(shortened).collect();
        response["warnings"] = json!(warnings);
    }
    json!({ "apiVersion": VERSION, "kind": "AdmissionReview", "response": response })
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(LONGEST_WARNING) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(operation: &str, kind: &str, object: Value) -> Vec<u8> {
        let kind = json!({ "group": "networking.k8s.io", "version": "v1", "kind": kind });
        let request = json!({ "uid": "7", "kind": kind, "operation": operation, "object": object });
        json!({ "apiVersion": VERSION, "kind": "AdmissionReview", "request": request }).to_string().into_bytes()
    }

    fn told(body: &[u8], review: Review) -> Value {
        let answer = answer(body, |_| review).unwrap();
        serde_json::from_slice::<Value>(&answer).unwrap()["response"].clone()
    }

    #[test]
    fn what_is_refused_is_told_with_every_reason_and_what_is_not_with_warnings() {
        let body = asked("CREATE", "Ingress", json!({ "metadata": { "name": "a", "namespace": "b" } }));
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let review = Review { refusals: texts(&["one", "two"]), warnings: texts(&[&"x".repeat(1000)]) };
        let response = told(&body, review);
        assert_eq!((&response["uid"], &response["allowed"]), (&json!("7"), &json!(false)));
        assert_eq!(response["status"]["message"], "one; two");
        assert_eq!(response["warnings"][0].as_str().unwrap().chars().count(), LONGEST_WARNING + 1);
        let response = told(&body, Review::default());
        assert_eq!(response, json!({ "uid": "7", "allowed": true }));
    }

    #[test]
    fn what_is_deleted_or_of_another_kind_is_let_go_unseen() {
        let refuse = || Review { refusals: vec!["no".into()], warnings: Vec::new() };
        for (operation, kind) in [("DELETE", "Ingress"), ("CREATE", "IngressClass"), ("CONNECT", "Ingress")] {
            assert_eq!(told(&asked(operation, kind, Value::Null), refuse())["allowed"], true);
        }
        let ending =
            json!({ "metadata": { "name": "a", "namespace": "b", "deletionTimestamp": "2026-01-01T00:00:00Z" } });
        assert_eq!(told(&asked("UPDATE", "Ingress", ending), refuse())["allowed"], true, "its finalizers may go");
    }

    #[test]
    fn what_is_no_question_gets_no_verdict() {
        let judge = |_: &Ingress| Review::default();
        for (body, expected) in [
            (&b"x"[..], "this is no AdmissionReview: "),
            (b"{\"apiVersion\":\"v1\"}", "this is no AdmissionReview of admission.k8s.io/v1 with a request"),
            (&asked("CREATE", "Ingress", json!({ "spec": 7 })), "the object is no Ingress: "),
        ] {
            let message = answer(body, judge).unwrap_err();
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
