//! Shapes as in Google's references: Cloud DNS v1, OAuth 2.0 for service accounts, the metadata server.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::api::{Answer, Api, Asked, fields};
use super::*;

const EMAIL: &str = "weir@project-1.iam.gserviceaccount.com";
const ZONES: &str = "/dns/v1/projects/project-1/managedZones";

static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate(KeySize::Rsa2048).unwrap());

/// What is behind the three addresses.
#[derive(Default)]
struct Google {
    values: Mutex<Vec<String>>,
    tokens: Mutex<u32>,
    lifetime: u32,
    /// Before so many changes, somebody else adds a value.
    rivals: Mutex<u32>,
}

fn error(status: u16, message: &str, reason: &str) -> Answer {
    let errors = json!([{ "message": message, "domain": "global", "reason": reason }]);
    (status, json!({ "error": { "code": status, "message": message, "errors": errors } }))
}

impl Google {
    fn answer(&self, asked: &Asked) -> Answer {
        match asked.path.as_str() {
            "/token" => self.grant(&fields(&asked.body)),
            path if path.starts_with("/computeMetadata/v1/") => self.metadata(asked),
            path if asked.headers.get("authorization") != Some(&format!("Bearer {}", self.token())) => {
                error(401, &format!("Request to {path} had invalid authentication credentials."), "authError")
            }
            ZONES => zones(&asked.query["dnsName"]),
            path => match path.strip_prefix(ZONES) {
                Some("/zone-a/rrsets") => self.record_sets(asked),
                Some("/zone-a/changes") => self.change(&serde_json::from_str(&asked.body).unwrap()),
                _ => error(404, &format!("{path} was not found"), "notFound"),
            },
        }
    }

    fn token(&self) -> String {
        format!("ya29.{}", self.tokens.lock().unwrap())
    }

    fn granted(&self) -> Answer {
        *self.tokens.lock().unwrap() += 1;
        (200, json!({ "access_token": self.token(), "expires_in": self.lifetime, "token_type": "Bearer" }))
    }

    fn grant(&self, form: &BTreeMap<String, String>) -> Answer {
        assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
        let (signed, signature) = form["assertion"].rsplit_once('.').unwrap();
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, KEY.public_key().as_ref());
        if public.verify(signed.as_bytes(), &signature).is_err() {
            let denied = json!({ "error": "invalid_grant", "error_description": "Invalid JWT Signature." });
            return (400, denied);
        }
        let parts: Vec<Value> = signed
            .split('.')
            .map(|part| serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
            .collect();
        assert_eq!(parts[0], json!({ "alg": "RS256", "typ": "JWT", "kid": "key-1" }));
        let (claims, now) = (&parts[1], SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
        assert_eq!(claims["iss"], EMAIL);
        assert!(claims["aud"].as_str().unwrap().ends_with("/token"));
        assert_eq!(claims["scope"], "https://www.googleapis.com/auth/ndev.clouddns.readwrite");
        let issued = claims["iat"].as_u64().unwrap();
        assert!(issued <= now && issued + 15 > now);
        assert_eq!(claims["exp"], issued + 3600);
        self.granted()
    }

    fn metadata(&self, asked: &Asked) -> Answer {
        if asked.headers.get("metadata-flavor").map(String::as_str) != Some("Google") {
            return (403, json!("Missing Metadata-Flavor:Google header."));
        }
        match asked.path.strip_prefix("/computeMetadata/v1").unwrap() {
            "/instance/service-accounts/default/token" => self.granted(),
            "/project/project-id" => (200, json!("project-1")),
            path => (404, json!(format!("{path} not found"))),
        }
    }

    fn record_sets(&self, asked: &Asked) -> Answer {
        assert_eq!(asked.query["type"], "TXT");
        let sets = Vec::from_iter(self.record_set(&asked.query["name"]));
        (200, json!({ "kind": "dns#resourceRecordSetsListResponse", "rrsets": sets }))
    }

    fn record_set(&self, name: &str) -> Option<Value> {
        let values = self.values.lock().unwrap();
        let kind = "dns#resourceRecordSet";
        (!values.is_empty()).then(|| {
            json!({ "kind": kind, "name": name, "type": "TXT", "ttl": 60, "rrdatas": *values, "signatureRrdatas": [] })
        })
    }

    fn change(&self, change: &Value) -> Answer {
        let mut rivals = self.rivals.lock().unwrap();
        if *rivals > 0 {
            self.values.lock().unwrap().push(format!("\"rival {rivals}\""));
            *rivals -= 1;
        }
        let mut values = self.values.lock().unwrap();
        let rrdatas = |of: &str| match change[of].as_array().unwrap().as_slice() {
            [] => Vec::new(),
            [set] => {
                let head = (&set["name"], &set["type"], &set["ttl"]);
                assert_eq!(head, (&json!(format!("{NAME}.")), &json!("TXT"), &json!(60)));
                set["rrdatas"].as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned()).collect()
            }
            _ => panic!("a name has one set: {change}"),
        };
        if rrdatas("deletions") != *values {
            return match change["deletions"] == json!([]) {
                true => error(409, "The resource 'entity.change.additions[0]' already exists", "alreadyExists"),
                false => error(412, "Precondition not met for 'entity.change.deletions[0]'", "conditionNotMet"),
            };
        }
        *values = rrdatas("additions");
        (200, json!({ "kind": "dns#change", "id": "1", "status": "pending", "additions": [], "deletions": [] }))
    }
}

/// `w.a.test` is a zone only inside; `a.test` is one both inside and outside.
fn zones(name: &str) -> Answer {
    let zone = |zone: &str, visibility: &str| json!({ "kind": "dns#managedZone", "name": zone, "dnsName": name, "visibility": visibility });
    let zones = match name {
        "w.a.test." => vec![zone("zone-w", "private")],
        "a.test." => vec![zone("zone-inside", "private"), zone("zone-a", "public")],
        _ => Vec::new(),
    };
    (200, json!({ "kind": "dns#managedZonesListResponse", "managedZones": zones }))
}

struct Scene {
    folder: tempfile::TempDir,
    google: Arc<Google>,
    api: Api,
}

impl Scene {
    async fn new(google: Google) -> Scene {
        let google = Arc::new(google);
        let behind = Arc::clone(&google);
        let api = Api::start(move |asked| behind.answer(asked)).await;
        Scene { folder: tempfile::tempdir().unwrap(), google, api }
    }

    fn key_file(&self, key: &KeyPair) -> std::path::PathBuf {
        let path = self.folder.path().join("key.json");
        write_key(&path, key, &format!("{}/token", self.api.url));
        path
    }

    fn solver(&self, credentials: Option<std::path::PathBuf>, project: Option<&str>) -> Box<dyn Solver> {
        solver_of(DnsProvider::Google(model::GoogleDns {
            project: project.map(Into::into),
            credentials,
            api: format!("{}/dns/v1", self.api.url).into(),
            metadata: self.api.url.as_str().into(),
        }))
    }

    fn values(&self) -> Vec<String> {
        self.google.values.lock().unwrap().clone()
    }
}

fn write_key(path: &Path, key: &KeyPair, token_uri: &str) {
    let der = AsDer::<Pkcs8V1Der>::as_der(key).unwrap();
    let lines: Vec<String> = BASE64_STANDARD
        .encode(der.as_ref())
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8(line.into()).unwrap())
        .collect();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
    let file = json!({
        "type": "service_account", "project_id": "project-1", "private_key_id": "key-1", "private_key": pem,
        "client_email": EMAIL, "client_id": "1", "token_uri": token_uri, "universe_domain": "googleapis.com",
    });
    std::fs::write(path, file.to_string()).unwrap();
}

fn lasting() -> Google {
    Google { lifetime: 3599, ..Google::default() }
}

#[tokio::test]
async fn values_are_added_beside_others_and_only_ours_is_taken_back() {
    let scene = Scene::new(lasting()).await;
    let solver = scene.solver(Some(scene.key_file(&KEY)), None);
    for value in ["first", "second", "second"] {
        solver.present(NAME, value).await.unwrap();
    }
    assert_eq!(scene.values(), ["\"first\"", "\"second\""]);
    scene.api.asked();
    solver.cleanup(NAME, "first").await.unwrap();
    assert_eq!(scene.values(), ["\"second\""]);
    let expected = [
        format!("GET {ZONES}?dnsName={NAME}."),
        format!("GET {ZONES}?dnsName=w.a.test."),
        format!("GET {ZONES}?dnsName=a.test."),
        format!("GET {ZONES}/zone-a/rrsets?name={NAME}.&type=TXT"),
        format!("POST {ZONES}/zone-a/changes"),
    ];
    assert_eq!(scene.api.asked(), expected, "the token is kept");
    solver.cleanup(NAME, "second").await.unwrap();
    solver.cleanup(NAME, "second").await.unwrap();
    assert_eq!(scene.values(), Vec::<String>::new());
}

#[tokio::test]
async fn a_machine_in_the_cloud_needs_no_key() {
    let scene = Scene::new(lasting()).await;
    scene.solver(None, None).present(NAME, "value").await.unwrap();
    assert_eq!(scene.values(), ["\"value\""]);
    let metadata = "GET /computeMetadata/v1";
    let expected =
        [format!("{metadata}/instance/service-accounts/default/token"), format!("{metadata}/project/project-id")];
    assert_eq!(scene.api.asked()[..2], expected);
    scene.solver(None, Some("project-1")).cleanup(NAME, "value").await.unwrap();
    assert!(!scene.api.asked().contains(&expected[1]), "a configured project is not asked for");
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires_when_it_is_refused_and_when_the_key_changes() {
    let scene = Scene::new(Google { lifetime: 59, ..Google::default() }).await;
    let solver = scene.solver(Some(scene.key_file(&KEY)), None);
    solver.present(NAME, "value").await.unwrap();
    solver.present(NAME, "value").await.unwrap();
    assert_eq!(*scene.google.tokens.lock().unwrap(), 2, "too little was left of the first");

    let scene = Scene::new(lasting()).await;
    let solver = scene.solver(Some(scene.key_file(&KEY)), None);
    solver.present(NAME, "value").await.unwrap();
    *scene.google.tokens.lock().unwrap() = 7;
    let refused = format!("google refuses (401): Request to {ZONES} had invalid authentication credentials.");
    assert_eq!(reason(solver.present(NAME, "value")).await, refused);
    solver.present(NAME, "value").await.unwrap();

    scene.key_file(&KeyPair::generate(KeySize::Rsa2048).unwrap());
    let expected = format!("{}/token gives {EMAIL} no token: invalid_grant: Invalid JWT Signature.", scene.api.url);
    assert_eq!(reason(solver.present(NAME, "value")).await, expected);
}

#[tokio::test]
async fn a_change_that_collides_is_made_again_and_nobodys_value_is_lost() {
    let scene = Scene::new(Google { rivals: Mutex::new(2), ..lasting() }).await;
    let solver = scene.solver(Some(scene.key_file(&KEY)), None);
    solver.present(NAME, "value").await.unwrap();
    assert_eq!(scene.values(), ["\"rival 2\"", "\"rival 1\"", "\"value\""]);

    *scene.google.rivals.lock().unwrap() = 9;
    let expected = "google refuses (412): Precondition not met for 'entity.change.deletions[0]'; \
                    others changed the record each of 5 times";
    assert_eq!(reason(solver.present(NAME, "late")).await, expected);
}

#[tokio::test]
async fn a_zone_that_nobody_sees_and_a_project_without_it_are_no_place() {
    let scene = Scene::new(lasting()).await;
    let solver = scene.solver(Some(scene.key_file(&KEY)), None);
    let expected = "google: project project-1 has no public zone for _acme-challenge.b.test; \
                    write the one that has as google.project";
    assert_eq!(reason(solver.present("_acme-challenge.b.test", "value")).await, expected);
    let solver = scene.solver(Some(scene.key_file(&KEY)), Some("project-2"));
    let expected = "google refuses (404): /dns/v1/projects/project-2/managedZones was not found";
    assert_eq!(reason(solver.present(NAME, "value")).await, expected);
}

#[tokio::test]
async fn a_key_file_that_is_none_is_named_and_not_shown() {
    let scene = Scene::new(lasting()).await;
    let path = scene.key_file(&KEY);
    let solver = scene.solver(Some(path.clone()), None);
    let create = "create a key of a service account";
    for (text, expected) in [
        ("-----BEGIN", "no JSON, at line 1; download the service account's key as JSON".into()),
        ("{}", format!("these are no credentials; {create}")),
        (r#"{"type":"authorized_user"}"#, format!("these are credentials of type \"authorized_user\"; {create}")),
        (
            r#"{"type":"service_account","private_key":"s3cret"}"#,
            "the service account's key is incomplete: missing field `client_email`".into(),
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(reason(solver.present(NAME, "value")).await, format!("{}: {expected}", path.display()));
    }
    let text = r#"{"type":"service_account","private_key":"s3cret","client_email":"a@b","token_uri":"http://c"}"#;
    std::fs::write(&path, text).unwrap();
    assert_eq!(reason(solver.present(NAME, "value")).await, "the private key of a@b is no RSA key in PEM");
}

#[tokio::test]
async fn outside_of_the_cloud_a_key_is_asked_for() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let settings = model::GoogleDns {
        project: None,
        credentials: None,
        api: "http://unused.test".into(),
        metadata: url.as_str().into(),
    };
    let expected = format!(
        "the metadata server {url} cannot be asked: Connection refused (os error 111); \
         outside of Google Cloud, write credentials: path/to/key.json"
    );
    assert_eq!(reason(solver_of(DnsProvider::Google(settings)).present(NAME, "value")).await, expected);

    let api = Api::start(|_| (404, json!("not found"))).await;
    let settings = model::GoogleDns {
        project: None,
        credentials: None,
        api: "http://unused.test".into(),
        metadata: api.url.as_str().into(),
    };
    let expected = format!(
        "the metadata server {} answers 404 for /instance/service-accounts/default/token: \
         has the machine a service account that may use DNS?",
        api.url
    );
    assert_eq!(reason(solver_of(DnsProvider::Google(settings)).present(NAME, "value")).await, expected);
}
