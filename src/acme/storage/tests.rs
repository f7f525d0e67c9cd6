//! What any storage must do; the folder does it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

fn certificate(text: &str) -> StoredCertificate {
    let block = |text: &str| format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    StoredCertificate { chain: block(text) + &block("issuer"), key: Secret::new(format!("key of {text}")) }
}

fn open(folder: &tempfile::TempDir) -> Directory {
    Directory::open(&folder.path().join("acme")).unwrap()
}

fn text(folder: &tempfile::TempDir, path: &str) -> String {
    std::fs::read_to_string(folder.path().join("acme").join(path)).unwrap()
}

#[tokio::test]
async fn a_certificate_lies_where_certbot_would_put_it_and_is_replaced_as_a_pair() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(&folder);
    assert_eq!(storage.certificate("a.test").await.unwrap(), None);
    for number in ["first", "second", "third"] {
        storage.put_certificate("a.test", &certificate(number)).await.unwrap();
        assert_eq!(storage.certificate("a.test").await.unwrap(), Some(certificate(number)));
    }
    let version = storage.versions().await.unwrap()["a.test"].clone();
    storage.put_certificate("a.test", &certificate("third")).await.unwrap();
    assert_ne!(storage.versions().await.unwrap()["a.test"], version, "whoever looks sees that it changed");
    assert_eq!(text(&folder, "live/a.test/fullchain.pem"), certificate("third").chain);
    assert_eq!(text(&folder, "live/a.test/privkey.pem"), "key of third");
    assert!(text(&folder, "live/a.test/cert.pem").contains("third"));
    assert!(text(&folder, "live/a.test/chain.pem").starts_with("-----BEGIN CERTIFICATE-----\nissuer"));
    assert!(text(&folder, "archive/a.test/3/fullchain.pem").contains("third"), "one is kept to go back to");
    assert!(!folder.path().join("acme/archive/a.test/2").exists(), "what is older is not");
    storage.remove_certificate("a.test").await.unwrap();
    assert_eq!(storage.certificate("a.test").await.unwrap(), None);
}

#[tokio::test]
async fn nobody_but_the_owner_can_read_any_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(&folder);
    storage.put_certificate("a.test", &certificate("one")).await.unwrap();
    storage.put_account("https://ca.test/dir", &Secret::new("{}")).await.unwrap();
    storage.put_progress("a.test", &Progress::default()).await.unwrap();
    drop(storage.lock("a.test").await.unwrap().unwrap());
    let mut seen = 0;
    check(&folder.path().join("acme"), &mut seen);
    assert!(seen > 10, "only {seen} files and folders were found");
}

fn check(path: &Path, seen: &mut usize) {
    let about = std::fs::symlink_metadata(path).unwrap();
    *seen += 1;
    if about.is_symlink() {
        return;
    }
    assert_eq!(about.permissions().mode() & 0o077, 0, "{}", path.display());
    if about.is_dir() {
        std::fs::read_dir(path).unwrap().for_each(|entry| check(&entry.unwrap().path(), seen));
    }
}

#[tokio::test]
async fn wildcards_and_hostile_names_stay_inside() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(&folder);
    for name in ["*.a.test", "a.test", "../../evil"] {
        storage.put_certificate(name, &certificate(name)).await.unwrap();
        assert_eq!(storage.certificate(name).await.unwrap(), Some(certificate(name)));
    }
    let names: Vec<_> = storage.versions().await.unwrap().into_keys().collect();
    assert_eq!(names, ["*.a.test", "-..-..-evil", "a.test"]);
    let outside: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(outside.len(), 1, "{outside:?}");
}

#[tokio::test]
async fn one_of_two_has_the_lock_until_it_lets_go() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (open(&folder), open(&folder));
    let lease = one.lock("a.test").await.unwrap().expect("nobody has it");
    assert!(other.lock("a.test").await.unwrap().is_none());
    assert!(other.lock("b.test").await.unwrap().is_some(), "another name is another lock");
    drop(lease);
    assert!(other.lock("a.test").await.unwrap().is_some());
}

#[tokio::test]
async fn what_one_process_is_asked_the_other_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (open(&folder), open(&folder));
    let challenge = StoredChallenge {
        certificate: "a.test".into(),
        kind: ChallengeType::Http01,
        domain: "a.test".into(),
        token: "tok-en_1".into(),
        answer: "tok-en_1.thumb".into(),
    };
    one.put_challenge(&challenge).await.unwrap();
    let told = async {
        while other.challenges().await.unwrap().is_empty() {
            other.changed().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), told).await.expect("well before the next look");
    assert_eq!(other.challenges().await.unwrap(), [challenge]);
    one.remove_challenge("tok-en_1").await.unwrap();
    one.remove_challenge("tok-en_1").await.unwrap();
    assert_eq!(other.challenges().await.unwrap(), []);
}

#[tokio::test]
async fn progress_and_orders_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(&folder);
    assert_eq!(storage.progress("a.test").await.unwrap(), Progress::default());
    let progress = Progress {
        failures: 3,
        last_error: Some("no".into()),
        not_before: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_772_323_200_250)),
        ..Progress::default()
    };
    storage.put_progress("a.test", &progress).await.unwrap();
    let order = PendingOrder {
        directory: "https://ca.test/dir".into(),
        url: "https://ca.test/order/1".into(),
        domains: vec!["a.test".into()],
        issuance: "as written".into(),
        key: Secret::new("key"),
    };
    storage.put_order("a.test", &order).await.unwrap();
    std::fs::write(folder.path().join("acme/progress/b.test.json"), "{ half").unwrap();
    assert_eq!(
        storage.progress("b.test").await.unwrap(),
        Progress::default(),
        "what cannot be read is no reason to stop"
    );
    let again = open(&folder);
    assert_eq!(again.progress("a.test").await.unwrap(), progress);
    assert_eq!(again.order("a.test").await.unwrap(), Some(order));
    again.remove_order("a.test").await.unwrap();
    assert_eq!(again.order("a.test").await.unwrap(), None);
}

#[test]
fn what_was_written_while_the_clock_was_ahead_is_forgotten() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_323_200);
    let ahead = Some(now + Duration::from_secs(5 * 365 * 86_400));
    let notes = CertificateNotes { issued: ahead, ask_again: ahead, suggested: ahead, ..CertificateNotes::default() };
    let mut progress = Progress { last_attempt: ahead, not_before: ahead, notes: Some(notes), ..Progress::default() };
    progress.forget_the_future(now);
    let notes = progress.notes.unwrap();
    assert_eq!((progress.not_before, notes.issued, notes.ask_again), (None, None, None));
    assert_eq!(notes.suggested, ahead, "when to renew lies ahead rightly");
    let (soon, later) = (Some(now + Duration::from_secs(60)), Some(now + Duration::from_secs(20_000)));
    let mut progress = Progress { last_attempt: soon, not_before: later, ..Progress::default() };
    progress.forget_the_future(now);
    assert_eq!(progress.not_before, later);
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("acme"), "a file").unwrap();
    let error = Directory::open(&folder.path().join("acme")).map(drop).unwrap_err();
    assert!(error.to_string().contains("acme/accounts: "), "{error}");
}
