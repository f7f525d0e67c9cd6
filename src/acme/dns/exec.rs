//! A program of the operator's writes the record.
//!
//! ```text
//! command… present NAME VALUE ──► exit status 0: done │ another: its last line on stderr is the reason │ too slow: ended
//! ```
//!
//! The program leads a process group of its own, so that what it started ends with it.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::Solver;
use crate::model::ExecDns;

/// Of what the program says, only the end is kept.
const TAIL_LIMIT: usize = 4096;
/// Of the line that is shown, in characters.
const LINE_LIMIT: usize = 300;
/// For the last words of a program that has ended, while something it left behind holds its stderr open.
const LAST_WORDS: Duration = Duration::from_millis(200);

pub struct Program(ExecDns);

impl Program {
    pub fn new(settings: ExecDns) -> Self {
        Self(settings)
    }

    async fn run(&self, verb: &str, name: &str, value: &str) -> Result<(), String> {
        let Some((program, arguments)) = self.0.command.split_first() else {
            return Err("no program is named; write command: [path/to/program]".into());
        };
        let mut command = Command::new(&**program);
        command.args(arguments.iter().map(|argument| &**argument)).args([verb, name, value]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let mut running = Running::start(command).map_err(|error| format!("{program} cannot be started: {error}"))?;
        let mut tail = Vec::new();
        let end = tokio::time::timeout(self.0.timeout, running.end(&mut tail)).await;
        let last_line = last_line(&tail);
        match end {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("{program} {verb} ended with {status}{last_line}")),
            Ok(Err(error)) => Err(format!("{program} {verb} cannot be waited for: {error}")),
            Err(_) => Err(format!("{program} {verb} took longer than {:?} and was ended{last_line}", self.0.timeout)),
        }
    }
}

#[async_trait]
impl Solver for Program {
    async fn present(&self, name: &str, value: &str) -> Result<(), String> {
        self.run("present", name, value).await
    }

    async fn cleanup(&self, name: &str, value: &str) -> Result<(), String> {
        self.run("cleanup", name, value).await
    }
}

/// Dropped before it has ended, it is killed with all it started.
struct Running {
    child: Child,
    /// Of the process and of its group; none once it has ended.
    id: Option<u32>,
}

impl Running {
    fn start(mut command: Command) -> std::io::Result<Self> {
        let child = command.spawn()?;
        Ok(Self { id: child.id(), child })
    }

    async fn end(&mut self, tail: &mut Vec<u8>) -> std::io::Result<ExitStatus> {
        let mut stderr = self.child.stderr.take();
        let reading = async {
            if let Some(stderr) = &mut stderr {
                read_tail(stderr, tail).await;
            }
        };
        tokio::pin!(reading);
        let status = tokio::select! {
            status = self.child.wait() => {
                self.id = None;
                // Nothing more to say is as good as being through.
                let _ = tokio::time::timeout(LAST_WORDS, &mut reading).await;
                status
            }
            // What is closed may go on working.
            () = &mut reading => self.child.wait().await,
        };
        self.id = None;
        status
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // SAFETY: plain system call. The child leads the group and is not reaped yet, so the id is nobody else's.
            unsafe { libc::killpg(id as libc::pid_t, libc::SIGKILL) };
        }
    }
}

async fn read_tail(from: &mut (impl AsyncRead + Unpin), tail: &mut Vec<u8>) {
    let mut piece = [0; 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        tail.extend_from_slice(&piece[..length]);
        let surplus = tail.len().saturating_sub(TAIL_LIMIT);
        tail.drain(..surplus);
    }
}

/// With what goes before it in a message; nothing where nothing was said.
fn last_line(tail: &[u8]) -> String {
    let text = String::from_utf8_lossy(tail);
    match text.lines().map(str::trim).rfind(|line| !line.is_empty()) {
        Some(line) => {
            let line: String = line.chars().filter(|c| !c.is_control()).take(LINE_LIMIT).collect();
            format!(": {line}")
        }
        None => String::new(),
    }
}
