//! A real ACME authority: Pebble, and the DNS that it asks.
//!
//! ```text
//! weir ──► pebble (rejects nonces, looks at random moments) ──asks──► pebble-challtestsrv (DNS: all names are here)
//!  ▲                     └──────── looks at http-01 and tls-alpn-01 ports ────────┐
//!  └──────────────────────────────────────────────────────────────────────────────┘
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::certificates::{Authority, Identity, TlsClient};
use super::http1::{Response, request};
use super::ports::{free_address, free_port};
use super::process::{Process, Signal};
use super::tools::curl;
use super::wait::eventually;

/// What a test wants of its authority.
pub struct PebbleSettings {
    /// Of certificates.
    pub lifetime: Duration,
    /// Where it looks for http-01 and tls-alpn-01.
    pub http_port: u16,
    pub tls_port: u16,
    /// Of a hundred nonces so many are rejected.
    pub rejected_nonces: u32,
    /// Longest wait before a challenge is looked at, in seconds; none: it looks at once.
    pub sleep: Option<u32>,
    /// Key identifiers and keys (base64url); an account must be bound to one.
    pub external_accounts: Vec<(&'static str, &'static str)>,
    /// The DNS server that it asks. None: one that says 127.0.0.1 to everything.
    pub dns: Option<SocketAddr>,
}

impl Default for PebbleSettings {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(90 * 86_400),
            http_port: free_port(),
            tls_port: free_port(),
            rejected_nonces: 15,
            sleep: None,
            external_accounts: Vec::new(),
            dns: None,
        }
    }
}

pub struct Pebble {
    pebble: Process,
    _dns: Option<Process>,
    folder: TempDir,
    authority: Authority,
    address: SocketAddr,
    management: SocketAddr,
    dns_management: SocketAddr,
    pub settings: PebbleSettings,
}

impl Pebble {
    #[track_caller]
    pub fn start(settings: PebbleSettings) -> Pebble {
        let folder = tempfile::tempdir().expect("a folder for pebble");
        let authority = Authority::new("pebble's own");
        authority.issue(&["127.0.0.1", "localhost"]).write(folder.path(), "pebble");
        authority.write_pem(folder.path());
        let dns_management = free_address();
        let (dns, own_dns) = match settings.dns {
            Some(address) => (address, None),
            None => {
                let address = free_address();
                (address, Some(start_dns(&folder, address, dns_management)))
            }
        };
        let (address, management) = (free_address(), free_address());
        let pebble = start_pebble(&folder, &settings, address, management, dns);
        let pebble = Pebble { pebble, _dns: own_dns, folder, authority, address, management, dns_management, settings };
        pebble.wait_until_ready();
        pebble
    }

    fn wait_until_ready(&self) {
        let (client, address) = (self.authority.client(), self.address);
        eventually("pebble answers", || client.connect(address, "localhost").ok().map(drop));
    }

    /// The same authority as if its machine had been replaced: it has forgotten every account.
    pub fn restart(&mut self) {
        self.pebble.signal(Signal::Kill);
        self.pebble.wait();
        let dns = self.settings.dns.unwrap_or_else(|| self.dns_address());
        self.pebble = start_pebble(&self.folder, &self.settings, self.address, self.management, dns);
        self.wait_until_ready();
    }

    fn dns_address(&self) -> SocketAddr {
        let text = std::fs::read_to_string(self.folder.path().join("dns-address")).expect("it was written");
        text.parse().expect("an address")
    }

    /// The value of `acme.directory`.
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.address.port())
    }

    /// Its directory, as it shows it.
    pub fn directory_object(&self) -> Value {
        let answer = curl(&["--cacert", &self.ca().to_string_lossy(), &self.directory()]);
        serde_json::from_str(&answer.body).expect("a directory")
    }

    /// A certificate that its clients trust, for a server that stands in front of it.
    pub fn identity_for_a_front(&self) -> Identity {
        self.authority.issue(&["localhost"])
    }

    /// The value of `acme.ca`.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// `acme: { directory, ca, storage, … }` for a file, with more keys in it.
    pub fn keys(&self, more: &str) -> String {
        let (directory, ca) = (self.directory(), self.ca());
        format!(
            "acme: {{ directory: \"{directory}\", ca: {}, storage: acme, email: ops@a.test, {more} }}\n",
            ca.display()
        )
    }

    /// A client that trusts what it has issued, and nothing else.
    pub fn client(&self) -> TlsClient {
        let root = self.manage("/roots/0");
        TlsClient::trusting_pem(&root, &[b"http/1.1"])
    }

    /// What it says of a certificate: `Valid` or `Revoked`.
    pub fn status_of(&self, leaf: &[u8]) -> String {
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf).expect("a certificate");
        let serial = parsed.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let answer: Value =
            serde_json::from_str(&self.manage(&format!("/cert-status-by-serial/{serial}"))).expect("JSON");
        answer["Status"].as_str().expect("a status").to_owned()
    }

    fn manage(&self, path: &str) -> String {
        let url = format!("https://localhost:{}{path}", self.management.port());
        let answer = curl(&["--cacert", &self.ca().to_string_lossy(), &url]);
        assert_eq!(answer.status, 200, "{url}: {} {}", answer.body, answer.errors);
        answer.body
    }

    /// Names lead there from now on. None: no name is known.
    pub fn resolve_all_to(&self, address: Option<&str>) -> Response {
        self.dns("set-default-ipv4", json!({ "ip": address.unwrap_or_default() }))
    }

    pub fn resolve(&self, name: &str, address: &str) -> Response {
        self.dns("clear-a", json!({ "host": format!("{name}.") }));
        self.dns("add-a", json!({ "host": format!("{name}."), "addresses": [address] }))
    }

    fn dns(&self, what: &str, how: Value) -> Response {
        request(self.dns_management, "POST", &format!("/{what}")).body(how.to_string()).send()
    }

    pub fn log(&self) -> String {
        self.pebble.log()
    }

    /// How many orders there have been.
    pub fn orders(&self) -> usize {
        self.log().matches("Added order").count()
    }

    /// How many accounts there have been.
    pub fn accounts(&self) -> usize {
        self.log().matches("accounts in memory").count()
    }

    /// How many certificates it has issued.
    pub fn issued(&self) -> usize {
        self.log().matches("Issued certificate serial").count()
    }
}

fn start_dns(folder: &TempDir, address: SocketAddr, management: SocketAddr) -> Process {
    std::fs::write(folder.path().join("dns-address"), address.to_string()).expect("the file can be written");
    let mut command = Command::new("pebble-challtestsrv");
    command.args(["-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""]);
    command.args(["-dns01", &address.to_string(), "-management", &management.to_string()]);
    Process::start(command, &folder.path().join("dns.log"))
}

fn start_pebble(
    folder: &TempDir,
    settings: &PebbleSettings,
    address: SocketAddr,
    management: SocketAddr,
    dns: SocketAddr,
) -> Process {
    let file = folder.path().join("pebble.json");
    let keys: serde_json::Map<String, Value> =
        settings.external_accounts.iter().map(|(id, key)| ((*id).to_owned(), json!(key))).collect();
    let configuration = json!({ "pebble": {
        "listenAddress": address.to_string(),
        "managementListenAddress": management.to_string(),
        "certificate": folder.path().join("pebble.crt"),
        "privateKey": folder.path().join("pebble.key"),
        "httpPort": settings.http_port,
        "tlsPort": settings.tls_port,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": !keys.is_empty(),
        "externalAccountMACKeys": keys,
        "certificateValidityPeriod": settings.lifetime.as_secs(),
        "retryAfter": { "authz": 1, "order": 1 },
    } });
    std::fs::write(&file, configuration.to_string()).expect("the file can be written");
    let mut command = Command::new("pebble");
    command.arg("-config").arg(file).args(["-dnsserver", &dns.to_string()]);
    command.env("PEBBLE_WFE_NONCEREJECT", settings.rejected_nonces.to_string());
    match settings.sleep {
        Some(seconds) => command.env("PEBBLE_VA_SLEEPTIME", seconds.to_string()),
        None => command.env("PEBBLE_VA_NOSLEEP", "1"),
    };
    Process::start(command, &folder.path().join("pebble.log"))
}
