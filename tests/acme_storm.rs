//! What is stored survives a process that is killed at any moment.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use support::{Pebble, PebbleSettings, Signal, TlsClient, Weir, eventually, full_storm};

#[test]
fn killed_at_random_moments_it_leaves_whole_certificates_and_the_same_account() {
    let rounds = if full_storm() { 120 } else { 25 };
    // Renewed so early that there is an order under way at almost any time.
    let pebble = Pebble::start(PebbleSettings { lifetime: Duration::from_secs(6), ..PebbleSettings::default() });
    let names = ["a.test", "b.test", "c.test"];
    let certificates: String = names.iter().map(|name| format!("  - acme: {{ domains: [{name}] }}\n")).collect();
    let (http, https) = (pebble.settings.http_port, pebble.settings.tls_port);
    let mut weir = Weir::start(&format!(
        "listeners:\n  http: {{ address: '127.0.0.1:{http}' }}\n  https: {{ address: '127.0.0.1:{https}', tls: {{}} }}\n\
         {}certificates:\n{certificates}hosts: [{{ names: ['*'], routes: [{{ path: /, respond: {{}} }}] }}]\n",
        pebble.keys("renew-before: 5s, retry: { first: 100ms, longest: 500ms }"),
    ));
    let folder = weir.folder().join("acme");
    let account = eventually("there is an account", || {
        Some(whole_files(&folder.join("accounts"))).filter(|files| !files.is_empty())
    });
    let mut seen = BTreeMap::new();
    for round in 0..rounds {
        std::thread::sleep(Duration::from_millis(random_below(1_200)));
        weir.signal(Signal::Kill);
        weir.wait_for_exit();
        check(&folder, &account, round);
        for name in names {
            seen.extend(std::fs::read_link(folder.join("live").join(name)).map(|target| ((name, target), ())));
        }
        weir.restart();
    }
    // How many there are is luck: a renewal that the kill comes before is not seen.
    assert!(seen.len() > rounds / 4, "only {} certificates were issued in {rounds} rounds", seen.len());
    // And it goes on.
    let client = TlsClient::trusting_anyone(&[b"http/1.1"]);
    let before = client.certificate_for(([127, 0, 0, 1], https).into(), "a.test");
    eventually("it is renewed", || {
        (client.certificate_for(([127, 0, 0, 1], https).into(), "a.test") != before).then_some(())
    });
    assert_eq!(pebble.accounts(), 1, "one account all along");
}

fn check(folder: &Path, account: &BTreeMap<String, Vec<u8>>, round: usize) {
    assert_eq!(&whole_files(&folder.join("accounts")), account, "round {round}");
    for kind in ["orders", "progress", "challenges"] {
        for (name, content) in whole_files(&folder.join(kind)) {
            let parsed = serde_json::from_slice::<serde_json::Value>(&content);
            parsed.unwrap_or_else(|error| panic!("round {round}: {kind}/{name}: {error}"));
        }
    }
    for entry in folder.join("live").read_dir().unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let chain = CertificateDer::pem_file_iter(entry.path().join("fullchain.pem")).expect("a chain");
        let chain: Vec<_> = chain.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(entry.path().join("privkey.pem")).expect("a key");
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        CertifiedKey::from_der(chain, key, &provider).unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
}

/// Without what was being written.
fn whole_files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = folder.read_dir().unwrap().map(Result::unwrap);
    let named = entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    named.filter(|(name, _)| !name.starts_with('.')).map(|(name, path)| (name, std::fs::read(path).unwrap())).collect()
}

fn random_below(milliseconds: u64) -> u64 {
    let nanoseconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos();
    u64::from(nanoseconds).wrapping_mul(0x9e37_79b9_7f4a_7c15) % milliseconds
}
