//! Hot upgrade: a successor takes the listening sockets over, and nobody is turned away.
//!
//! ```text
//! SIGUSR2 ──► spawn this binary again, its sockets inherited ──► it serves, writes "ready" ──► we drain
//!                                                     └► it ends first: we go on as before
//! ```
//!
//! The sockets themselves are handed on, so connections that the kernel has accepted for us wait for the successor.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::process::{Child, Command};

/// Set for a successor: the numbers of its inherited sockets, with commas between them.
const SOCKETS: &str = "WEIR_INHERITED_SOCKETS";
/// Set for a successor: the number of the pipe on which it says that it serves.
const READY: &str = "WEIR_READY_PIPE";

/// What a predecessor handed over.
#[derive(Default)]
pub struct Inheritance {
    pub sockets: Vec<TcpListener>,
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
        let sockets = numbers(SOCKETS).into_iter().map(|fd| unsafe { TcpListener::from_raw_fd(fd) });
        let sockets: Vec<_> = sockets.filter(|socket| socket.local_addr().is_ok()).collect();
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

/// Starts the successor and waits until it serves. Blocks: call it on a thread of its own.
pub fn hand_over(sockets: Vec<OwnedFd>) -> io::Result<Child> {
    let (mut read, write) = pipe()?;
    let list: Vec<String> = sockets.iter().map(|socket| socket.as_raw_fd().to_string()).collect();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).env(SOCKETS, list.join(",")).env(READY, write.as_raw_fd().to_string());
    let inherited = sockets.iter().chain([&write]);
    inherited.clone().for_each(|fd| set_inherited(fd.as_raw_fd(), Inherited::Yes));
    let spawned = command.spawn();
    inherited.for_each(|fd| set_inherited(fd.as_raw_fd(), Inherited::No));
    let mut child = spawned?;
    // Ours is closed, so that reading ends when the successor does.
    drop(write);
    let mut word = [0; 1];
    match read.read(&mut word) {
        Ok(1) => Ok(child),
        Ok(_) | Err(_) => {
            let status = child.wait()?;
            Err(io::Error::other(format!("the successor ended before it served: {status}")))
        }
    }
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

fn pipe() -> io::Result<(File, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for the two descriptors, which are ours from then on.
    unsafe {
        if libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((File::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
    }
}
