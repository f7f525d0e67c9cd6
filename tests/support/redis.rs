//! A real Redis.

use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::ports::free_address;
use super::process::{Process, Signal};
use super::wait::eventually;

/// One server. What it keeps is gone when it ends.
pub struct Redis {
    // Before the folder: the process must have ended when it is removed.
    process: Process,
    folder: TempDir,
    options: Vec<String>,
    password: Option<String>,
    pub address: SocketAddr,
}

impl Redis {
    #[track_caller]
    pub fn start() -> Redis {
        Self::start_with(&[], None)
    }

    /// With options of `redis.conf`, as `--maxmemory 1mb`, and the password that they demand.
    #[track_caller]
    pub fn start_with(options: &[&str], password: Option<&str>) -> Redis {
        let (folder, address) = (tempfile::tempdir().expect("a folder for Redis"), free_address());
        let options: Vec<String> = options.iter().map(|option| (*option).into()).collect();
        let process = spawn(&folder, address, &options);
        let mut redis = Redis { process, folder, options, password: password.map(Into::into), address };
        redis.wait_until_ready();
        redis
    }

    /// Again, at the same address, after it was killed.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process = spawn(&self.folder, self.address, &self.options);
        self.wait_until_ready();
    }

    #[track_caller]
    fn wait_until_ready(&mut self) {
        eventually("redis-server answers", || {
            if let Some(status) = self.process.exit_status() {
                panic!("redis-server ended with {status}: {}", self.process.log());
            }
            (self.try_ask(&["PING"])?.trim() == "PONG").then_some(())
        });
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    #[track_caller]
    pub fn kill(&mut self) {
        self.process.signal(Signal::Kill);
        self.process.wait();
    }

    /// What redis-cli is told.
    #[track_caller]
    pub fn ask(&self, command: &[&str]) -> String {
        self.try_ask(command).expect("redis-cli can be started; install redis-tools")
    }

    fn try_ask(&self, command: &[&str]) -> Option<String> {
        let mut cli = Command::new("redis-cli");
        cli.args(["-h", &self.address.ip().to_string(), "-p", &self.address.port().to_string()]);
        if let Some(password) = &self.password {
            cli.env("REDISCLI_AUTH", password);
        }
        let output = cli.args(command).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A number of `INFO`, 0 where it is not there.
    #[track_caller]
    pub fn info(&self, field: &str) -> u64 {
        let text = self.ask(&["INFO", "everything"]);
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.and_then(|value| value.split(',').next()?.trim().trim_start_matches("calls=").parse().ok()).unwrap_or(0)
    }

    /// Connections, but for that of who asks.
    #[track_caller]
    pub fn connections(&self) -> u64 {
        self.info("connected_clients") - 1
    }
}

fn spawn(folder: &TempDir, address: SocketAddr, options: &[String]) -> Process {
    let mut command = Command::new("redis-server");
    command.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()]);
    command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]).args(options);
    command.arg("--dir").arg(folder.path());
    Process::start(command, &folder.path().join("redis.log"))
}
