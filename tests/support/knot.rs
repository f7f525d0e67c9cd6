//! A real Knot DNS that takes dynamic updates.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::ports::free_address;
use super::process::Process;
use super::wait::eventually;

/// Of the key `weir.`, in base64. Long enough for every algorithm.
pub const SECRET: &str = "c2VjcmV0IG9mIHRoZSB0ZXN0cyBvZiB3ZWlyLCBzaXh0eS1mb3VyIGJ5dGVzIGxvbmcsIHNvIGl0IGlzIQ==";
pub const OTHER_SECRET: &str = "YW5vdGhlciBzZWNyZXQgb2YgdGhlIHRlc3RzIG9mIHdlaXIsIGFsc28gc2l4dHktZm91ciBieXRlcy4uLg==";

/// One server, authoritative for some zones. The keys `weir.` and `guest.` are known; only `weir.` may update.
pub struct Knot {
    // Before the folder: the process must have ended when it is removed.
    process: Process,
    folder: TempDir,
    pub address: SocketAddr,
}

impl Knot {
    /// `algorithm`: of the keys, as `hmac-sha256`. `zones`: names, and records as in a zone file beside SOA and NS.
    #[track_caller]
    pub fn start(algorithm: &str, zones: &[(&str, &str)]) -> Knot {
        if let Err(error) = Command::new("knotd").arg("--version").output() {
            panic!("knotd cannot be started ({error}): install knot");
        }
        let (folder, address) = (tempfile::tempdir().expect("a folder for knotd"), free_address());
        for (zone, records) in zones {
            let text = format!(
                "$ORIGIN {zone}.\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.77\n{records}\n"
            );
            std::fs::write(folder.path().join(format!("{zone}.zone")), text).expect("the file can be written");
        }
        let file = folder.path().join("knot.conf");
        std::fs::write(&file, configuration(folder.path(), address, algorithm, zones))
            .expect("the file can be written");
        let mut command = Command::new("knotd");
        command.arg("-c").arg(&file);
        let process = Process::start(command, &folder.path().join("knot.log"));
        let mut knot = Knot { process, folder, address };
        eventually("knotd answers for all its zones", || {
            if let Some(status) = knot.process.exit_status() {
                panic!("knotd ended with {status}: {}", knot.process.log());
            }
            zones.iter().all(|(zone, _)| !knot.ask(zone, "SOA").is_empty()).then_some(())
        });
        knot
    }

    /// A file with this secret of a key.
    pub fn secret_file(&self, secret: &str) -> std::path::PathBuf {
        let path = self.folder.path().join("tsig-key");
        std::fs::write(&path, format!("{secret}\n")).expect("the file can be written");
        path
    }

    /// What kdig is told: the records' data, sorted.
    pub fn ask(&self, name: &str, kind: &str) -> Vec<String> {
        let server = [format!("@{}", self.address.ip()), "-p".into(), self.address.port().to_string()];
        let output =
            Command::new("kdig").args(server).args(["+short", "+time=2", "+retry=0", "+tcp", name, kind]).output();
        let output = output.unwrap_or_else(|error| panic!("kdig cannot be started ({error}): install knot-dnsutils"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines: Vec<String> = text.lines().filter(|line| !line.starts_with(";;")).map(Into::into).collect();
        lines.sort();
        lines
    }
}

fn configuration(folder: &Path, address: SocketAddr, algorithm: &str, zones: &[(&str, &str)]) -> String {
    let (ip, port, folder) = (address.ip(), address.port(), folder.display());
    let zones: String = zones.iter().map(|(zone, _)| format!("  - domain: {zone}\n    acl: update\n")).collect();
    format!(
        "server:
    rundir: {folder}
    pidfile: {folder}/knot.pid
    listen: {ip}@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: {folder}
    journal-db-max-size: 16M
key:
  - id: weir.
    algorithm: {algorithm}
    secret: {SECRET}
  - id: guest.
    algorithm: {algorithm}
    secret: {SECRET}
acl:
  - id: update
    key: weir.
    action: update
template:
  - id: default
    storage: {folder}
    file: \"%s.zone\"
    zonefile-sync: -1
zone:
{zones}"
    )
}
