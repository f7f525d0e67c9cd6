//! Shapes and codes as in Cloudflare's API reference: zones, DNS records, errors with chains.

use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::api::{Answer, Api, Asked};
use super::*;

const ZONE: &str = "023e105f4ecef8ad9ca31a8372d0c353";
const TOKEN: &str = "Sn3lZJTBX6kkg7OdcBUAxOO963GEIyGQqnFTOFYY";

fn success(result: Value) -> Answer {
    (200, json!({ "success": true, "errors": [], "messages": [], "result": result }))
}

fn failure(status: u16, errors: Value) -> Answer {
    (status, json!({ "success": false, "errors": errors, "messages": [], "result": null }))
}

/// One zone, `a.test`. It keeps the records that it is given.
fn account() -> impl Fn(&Asked) -> Answer {
    let records: Mutex<Vec<Value>> = Mutex::default();
    move |asked| {
        let mut records = records.lock().unwrap();
        if asked.headers["authorization"] != format!("Bearer {TOKEN}") {
            return failure(403, json!([{ "code": 9109, "message": "Invalid access token" }]));
        }
        let of_zone = format!("/client/v4/zones/{ZONE}/dns_records");
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "/client/v4/zones") if asked.query["name"] == "a.test" => {
                success(json!([{ "id": ZONE, "name": "a.test", "status": "active", "type": "full" }]))
            }
            ("GET", "/client/v4/zones") => success(json!([])),
            ("POST", path) if path == of_zone => {
                let mut record: Value = serde_json::from_str(&asked.body).unwrap();
                assert_eq!(asked.headers["content-type"], "application/json");
                let same = |other: &Value| other["name"] == record["name"] && other["content"] == record["content"];
                if records.iter().any(same) {
                    return failure(400, json!([{ "code": 81058, "message": "An identical record already exists." }]));
                }
                record["id"] = format!("372e67954025e0ba6aaa6d586b9e0b5{}", records.len()).into();
                records.push(record.clone());
                success(record)
            }
            ("GET", path) if path == of_zone => {
                let wanted =
                    |record: &&Value| record["name"] == asked.query["name"] && record["type"] == asked.query["type"];
                success(records.iter().filter(wanted).cloned().collect())
            }
            ("DELETE", path) => {
                let id = path.strip_prefix(&format!("{of_zone}/")).unwrap();
                records.retain(|record| record["id"] != id);
                success(json!({ "id": id }))
            }
            (method, path) => {
                failure(400, json!([{ "code": 7003, "message": format!("No route for {method} {path}") }]))
            }
        }
    }
}

fn settings(folder: &Path, url: &str) -> model::Cloudflare {
    let token_file = folder.join("token");
    std::fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
    model::Cloudflare { token_file, api: format!("{url}/client/v4").into() }
}

#[tokio::test]
async fn records_are_added_to_the_closest_zone_and_only_ours_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(account()).await;
    let solver = solver_of(DnsProvider::Cloudflare(settings(folder.path(), &api.url)));
    for value in ["first", "second", "second"] {
        solver.present(NAME, value).await.unwrap();
    }
    api.asked();
    solver.cleanup(NAME, "second").await.unwrap();
    let records = format!("/client/v4/zones/{ZONE}/dns_records");
    let expected = [
        format!("GET /client/v4/zones?name={NAME}"),
        "GET /client/v4/zones?name=w.a.test".into(),
        "GET /client/v4/zones?name=a.test".into(),
        format!("GET {records}?type=TXT&name={NAME}&per_page=100"),
        format!("DELETE {records}/372e67954025e0ba6aaa6d586b9e0b51"),
    ];
    assert_eq!(api.asked(), expected);
    solver.cleanup(NAME, "second").await.unwrap();
    assert_eq!(api.asked().last(), Some(&expected[3]), "what is not there is not deleted");
}

#[tokio::test]
async fn a_record_is_written_as_in_a_zone_file() {
    let folder = tempfile::tempdir().unwrap();
    let written: Arc<Mutex<Value>> = Arc::default();
    let (account, note) = (account(), Arc::clone(&written));
    let api = Api::start(move |asked| {
        if asked.method == "POST" {
            *note.lock().unwrap() = serde_json::from_str(&asked.body).unwrap();
        }
        account(asked)
    });
    let solver = solver_of(DnsProvider::Cloudflare(settings(folder.path(), &api.await.url)));
    solver.present(NAME, "value").await.unwrap();
    let expected = json!({ "type": "TXT", "name": NAME, "content": "\"value\"", "ttl": 60 });
    assert_eq!(*written.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_token_is_read_anew_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(account()).await;
    let settings = settings(folder.path(), &api.url);
    let file = settings.token_file.clone();
    let solver = solver_of(DnsProvider::Cloudflare(settings));
    std::fs::write(&file, "old").unwrap();
    assert_eq!(reason(solver.present(NAME, "value")).await, "cloudflare refuses (403): 9109 Invalid access token");
    std::fs::write(&file, TOKEN).unwrap();
    solver.present(NAME, "value").await.unwrap();
    std::fs::remove_file(&file).unwrap();
    let expected = format!("{}: No such file or directory (os error 2)", file.display());
    assert_eq!(reason(solver.cleanup(NAME, "value")).await, expected);
}

#[tokio::test]
async fn what_cloudflare_says_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let says = async |answer: Answer| {
        let api = Api::start(move |_| answer.clone()).await;
        let settings = settings(folder.path(), &api.url);
        reason(solver_of(DnsProvider::Cloudflare(settings)).present(NAME, "value")).await.replace(&api.url, "URL")
    };
    let chain = json!([{ "code": 6003, "message": "Invalid request headers",
        "error_chain": [{ "code": 6111, "message": "Invalid format for Authorization header" }] }]);
    let expected =
        "cloudflare refuses (400): 6003 Invalid request headers (6111 Invalid format for Authorization header)";
    assert_eq!(says(failure(400, chain)).await, expected);
    let two = json!([{ "code": 10000, "message": "Authentication error" }, { "code": 971, "message": "Wait" }]);
    assert_eq!(says(failure(403, two)).await, "cloudflare refuses (403): 10000 Authentication error; 971 Wait");
    assert_eq!(says(failure(500, json!([]))).await, "cloudflare refuses (500): no reason is given");
    let file = folder.path().join("token");
    let expected = format!(
        "cloudflare shows no zone for {NAME}; may the token in {} read the zone and edit its DNS?",
        file.display()
    );
    assert_eq!(says(success(json!([]))).await, expected);
    let expected = "URL/client/v4: the answer (404) is not what this API says; is the address right?";
    assert_eq!(says((404, json!("not found"))).await, expected);
}

#[tokio::test]
async fn an_api_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let solver = solver_of(DnsProvider::Cloudflare(settings(folder.path(), &url)));
    let expected = format!("{url}/client/v4: Connection refused (os error 111)");
    assert_eq!(reason(solver.present(NAME, "value")).await, expected);
}
