//! The program under test: `weir run FILE` on free ports, ready, reloaded, drained.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

pub use std::process::Command;

use tempfile::TempDir;

use super::http1::{Connection, Request, Response, request};
use super::ports::free_address;
use super::process::{Process, Signal};
use super::wait::eventually;

/// The program under test: what cargo has built, or what `WEIR_BIN` names (a release, for figures).
pub fn weir_binary() -> PathBuf {
    std::env::var_os("WEIR_BIN").map_or_else(|| env!("CARGO_BIN_EXE_weir").into(), PathBuf::from)
}

/// `weir` with its arguments still to be given.
pub fn weir_command() -> Command {
    Command::new(weir_binary())
}

/// A running Weir. A file that has no `listeners` gets one called `http` on a free port, at [`Weir::http`];
/// `admin`, `threads` and `shutdown` are filled in the same way.
pub struct Weir {
    // Before the folder: the process must have ended when it is removed.
    process: Process,
    folder: TempDir,
    pub http: SocketAddr,
    pub admin: SocketAddr,
}

impl Weir {
    /// Writes the file, starts the program and waits until it says that it is ready.
    #[track_caller]
    pub fn start(yaml: &str) -> Weir {
        let mut weir = Self::spawn(yaml);
        weir.wait_until_ready();
        weir
    }

    /// As [`Weir::start`], with more files beside the configuration: name and content.
    #[track_caller]
    pub fn start_with(yaml: &str, files: &[(&str, &str)]) -> Weir {
        let mut weir = Self::spawn_with(&weir_binary(), yaml, files);
        weir.wait_until_ready();
        weir
    }

    /// Ends it, if it has not ended, and starts it again on the same file.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process.signal(Signal::Terminate);
        self.process.wait();
        self.process = start(&weir_binary(), self.folder.path());
        self.wait_until_ready();
    }

    /// As [`Weir::start`], without the wait.
    pub fn spawn(yaml: &str) -> Weir {
        Self::spawn_program(&weir_binary(), yaml)
    }

    /// As [`Weir::spawn`], with a copy of the program that stands elsewhere.
    pub fn spawn_program(program: &Path, yaml: &str) -> Weir {
        Self::spawn_with(program, yaml, &[])
    }

    fn spawn_with(program: &Path, yaml: &str, files: &[(&str, &str)]) -> Weir {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let (http, admin) = (free_address(), free_address());
        for (name, content) in files.iter().copied().chain([("weir.yaml", &*complete(yaml, http, admin))]) {
            std::fs::write(folder.path().join(name), content).expect("the file can be written");
        }
        let process = start(program, folder.path());
        Weir { process, folder, http, admin }
    }

    /// Forwards everything to these endpoints.
    #[track_caller]
    pub fn in_front_of(endpoints: &[SocketAddr]) -> Weir {
        Self::start(&Self::forwarding_to(endpoints, ""))
    }

    /// The file of [`Weir::in_front_of`], with more keys for the upstream.
    pub fn forwarding_to(endpoints: &[SocketAddr], upstream_keys: &str) -> String {
        let endpoints: Vec<_> = endpoints.iter().map(|address| format!("\"{address}\"")).collect();
        format!(
            "upstreams:\n  origin:\n    endpoints: [ {} ]\n{}\nhosts:\n  - names: [\"*\"]\n    routes:\n      - path: /\n        upstream: origin\n",
            endpoints.join(", "),
            indent(upstream_keys, 4)
        )
    }

    #[track_caller]
    pub fn wait_until_ready(&mut self) {
        let admin = self.admin;
        eventually("weir is ready", || {
            if let Some(status) = self.process.exit_status() {
                panic!("weir ended with {status} instead of serving");
            }
            (Request::try_get(admin, "/readyz").ok()?.status == 200).then_some(())
        });
    }

    pub fn get(&self, target: &str) -> Response {
        request(self.http, "GET", target).send()
    }

    pub fn request(&self, method: &str, target: &str) -> Request {
        request(self.http, method, target)
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.http)
    }

    pub fn admin(&self, target: &str) -> Response {
        request(self.admin, "GET", target).send()
    }

    /// The sum of a metric's series whose labels contain all of `labels` (as `name="value"`).
    pub fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let text = self.admin("/metrics").text();
        let values: Vec<f64> = text
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse().ok())
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Counts the configurations that were put in force.
    pub fn generation(&self) -> u64 {
        self.metric("weir_config_generation", &[]).expect("weir_config_generation is shown") as u64
    }

    /// Replaces the file by an atomic rename and waits until it is in force.
    #[track_caller]
    pub fn reload(&self, yaml: &str) {
        let before = self.generation();
        self.write(yaml);
        self.wait_for_generation_after(before);
    }

    #[track_caller]
    pub fn wait_for_generation_after(&self, before: u64) {
        eventually("the new file is in force", || (self.generation() > before).then_some(()));
    }

    /// Replaces the file by an atomic rename, as editors and deployment tools do.
    pub fn write(&self, yaml: &str) {
        let staged = self.folder.path().join(".weir.yaml.new");
        std::fs::write(&staged, self.complete(yaml)).expect("the file can be written");
        std::fs::rename(&staged, self.file()).expect("the file can be replaced");
    }

    /// Replaces the file's content in place, which watchers see differently.
    pub fn overwrite(&self, yaml: &str) {
        std::fs::write(self.file(), self.complete(yaml)).expect("the file can be written");
    }

    /// What [`Weir::write`] would write.
    pub fn complete(&self, yaml: &str) -> String {
        complete(yaml, self.http, self.admin)
    }

    /// Waits until the running program reports that it refused a file, naming `words`.
    #[track_caller]
    pub fn wait_for_refusal(&self, words: &str) -> String {
        eventually(&format!("a refusal that names {words:?}"), || {
            let status = self.admin("/config/status").text();
            status.contains(words).then_some(status)
        })
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("weir.yaml")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    pub fn is_running(&mut self) -> bool {
        self.process.exit_status().is_none()
    }

    #[track_caller]
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        self.process.wait()
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn resident_kib(&self) -> u64 {
        self.process.resident_kib()
    }

    pub fn anonymous_kib(&self) -> u64 {
        self.process.anonymous_kib()
    }
}

fn start(program: &Path, folder: &Path) -> Process {
    let mut command = Command::new(program);
    command.arg("run").arg(folder.join("weir.yaml")).current_dir(folder);
    Process::start(command, &folder.join("weir.log"))
}

/// Fills in what a test has no opinion on. Only keys at the left margin count as given. `WEIR_LANES=full` sends the requests of every
/// Weir of a run through that lane; the default is the file's.
fn complete(yaml: &str, http: SocketAddr, admin: SocketAddr) -> String {
    let mut file = dedent(yaml);
    let defaults = [
        ("threads:", "threads: 2".to_owned()),
        ("admin:", format!("admin: {{ address: \"{admin}\" }}")),
        ("shutdown:", "shutdown: { delay: 0s, timeout: 1s }".to_owned()),
        ("listeners:", format!("listeners:\n  http: {{ address: \"{http}\" }}")),
    ];
    let lanes = std::env::var("WEIR_LANES").ok().map(|lanes| ("lanes:", format!("lanes: {lanes}")));
    for (key, line) in defaults.into_iter().chain(lanes) {
        if !file.lines().any(|given| given.starts_with(key)) {
            file.push_str(&line);
            file.push('\n');
        }
    }
    file
}

/// Takes away the margin that all lines share, so that a test can indent its file as it likes.
fn dedent(text: &str) -> String {
    let margin = |line: &str| line.len() - line.trim_start().len();
    let shared = text.lines().filter(|line| !line.trim().is_empty()).map(margin).min().unwrap_or(0);
    let lines = text.lines().map(|line| line.get(shared..).unwrap_or_default());
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Moves a piece of YAML to the right, to stand inside another.
pub fn indent(text: &str, columns: usize) -> String {
    let text = dedent(text);
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| format!("{}{line}\n", " ".repeat(columns))).collect()
}
