//! Hot upgrade: a successor takes the listening sockets over, and nobody is turned away.
//!
//! ```text
//! SIGUSR2 ──► spawn this binary again, its sockets inherited ──► it serves, writes "ready" ──► we drain
//!                                                     └► it ends first, or hangs: we go on as before
//! ```
//!
//! The sockets themselves are handed on, so connections that the kernel has accepted for us wait for the successor.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// Set for a successor: the numbers of its inherited sockets, with commas between them.
const SOCKETS: &str = "WEIR_INHERITED_SOCKETS";
/// Set for a successor: the number of the pipe on which it says that it serves.
const READY: &str = "WEIR_READY_PIPE";

/// What a predecessor handed over.
#[derive(Default)]
pub struct Inheritance {
    pub sockets: Vec<OwnedFd>,
    ready: Option<File>,
}

impl Inheritance {
    /// Call once, before anything else opens files.
    pub fn take() -> Self {
        let numbers = |name: &str| -> Vec<RawFd> {
            let list = std::env::var(name).unwrap_or_default();
            list.split(',').filter_map(|number| number.parse().ok()).collect()
        };
        // SAFETY: the predecessor left these descriptors open for us and nobody else knows of them.
        let sockets: Vec<_> = numbers(SOCKETS).into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).collect();
        let ready = numbers(READY).first().map(|fd| unsafe { File::from_raw_fd(*fd) });
        // Children of ours must not inherit them in turn.
        sockets.iter().for_each(|socket| set_inherited(socket.as_raw_fd(), Inherited::No));
        Self { sockets, ready }
    }

    /// Tells the predecessor to drain.
    pub fn announce_ready(&mut self) {
        if let Some(mut ready) = self.ready.take() {
            // A predecessor that is gone needs to hear nothing.
            let _ = ready.write_all(b"1");
        }
    }
}

/// Where this program stands. To be asked at the start: an upgrade begins with another file under that name, and the
/// kernel then knows ours as one that was moved or deleted.
pub fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| std::env::args_os().next().unwrap_or_default().into())
}

/// How long a successor may take until it serves. One that hangs must not keep us from stopping.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Starts the successor and waits until it serves.
pub async fn hand_over(program: &Path, sockets: Vec<OwnedFd>) -> io::Result<Child> {
    let (ready, mut successor) = spawn(program, sockets)?;
    let mut ready = pipe::Receiver::from_owned_fd(ready)?;
    let failure = match tokio::time::timeout(START_LIMIT, ready.read_u8()).await {
        Ok(Ok(_)) => return Ok(successor),
        Ok(Err(_)) => "the successor ended before it served",
        Err(_) => "the successor did not serve in time",
    };
    // One that has ended already cannot be killed; waiting for it says how it ended.
    let _ = successor.kill();
    let status = successor.wait()?;
    Err(io::Error::other(format!("{failure}: {status}")))
}

/// The successor's process, and the end of a pipe on which it says that it serves. The pipe ends when the process does.
fn spawn(program: &Path, sockets: Vec<OwnedFd>) -> io::Result<(OwnedFd, Child)> {
    let (ready, write) = pipe_ends()?;
    let list: Vec<String> = sockets.iter().map(|socket| socket.as_raw_fd().to_string()).collect();
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env(SOCKETS, list.join(",")).env(READY, write.as_raw_fd().to_string());
    let inherited = sockets.iter().chain([&write]);
    inherited.clone().for_each(|fd| set_inherited(fd.as_raw_fd(), Inherited::Yes));
    let spawned = command.spawn();
    inherited.for_each(|fd| set_inherited(fd.as_raw_fd(), Inherited::No));
    Ok((ready, spawned?))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inherited {
    Yes,
    No,
}

fn set_inherited(fd: RawFd, inherited: Inherited) {
    let flags = if inherited == Inherited::Yes { 0 } else { libc::FD_CLOEXEC };
    // SAFETY: changes one flag of a descriptor that the caller holds open.
    unsafe { libc::fcntl(fd, libc::F_SETFD, flags) };
}

fn pipe_ends() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for the two descriptors, which are ours from then on.
    unsafe {
        if libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
    }
}
