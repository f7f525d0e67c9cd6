//! Child processes that cannot outlive the test process, and that take along what they started themselves.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::wait::{LIMIT, eventually};

/// A running program whose output goes to a file. Dropped: SIGTERM, and SIGKILL where that does not help.
pub struct Process {
    child: Child,
    log: PathBuf,
}

#[derive(Clone, Copy)]
pub enum Signal {
    Hangup,
    Interrupt,
    Kill,
    Pause,
    Resume,
    Terminate,
    /// Hot upgrade: Weir starts a successor.
    Upgrade,
}

impl Process {
    /// Starts the program; both its outputs are written to `log`.
    pub fn start(mut command: Command, log: &Path) -> Process {
        let out = File::create(log).expect("a log file");
        let err = out.try_clone().expect("a second handle");
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        Process { child: keeper_spawn(command), log: log.to_owned() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    pub fn signal(&self, signal: Signal) {
        let number = match signal {
            Signal::Hangup => libc::SIGHUP,
            Signal::Interrupt => libc::SIGINT,
            Signal::Kill => libc::SIGKILL,
            Signal::Pause => libc::SIGSTOP,
            Signal::Resume => libc::SIGCONT,
            Signal::Terminate => libc::SIGTERM,
            Signal::Upgrade => libc::SIGUSR2,
        };
        // SAFETY: plain system call; the pid is our child's, which is not reaped before `self` is gone.
        unsafe { libc::kill(self.child.id() as libc::pid_t, number) };
    }

    /// How it ended, where it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child can be asked")
    }

    pub fn wait(&mut self) -> ExitStatus {
        let log = self.log.clone();
        eventually(&format!("the end of the process that logs to {}", log.display()), || self.exit_status())
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        resident_kib_of(self.id())
    }

    /// Memory in KiB that is no file's: other processes of the same program come and go without changing it.
    pub fn anonymous_kib(&self) -> u64 {
        kib(self.id(), "smaps_rollup", "Pss_Anon:")
    }
}

/// Resident memory of any process, in KiB.
pub fn resident_kib_of(process: u32) -> u64 {
    kib(process, "status", "VmRSS:")
}

fn kib(process: u32, file: &str, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/{file}")).expect("the process runs");
    let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("a line of this name");
    line.trim().trim_end_matches(" kB").parse().expect("a number of kB")
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(40).collect();
            eprintln!("--- the end of {}:", self.log.display());
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        self.signal(Signal::Resume);
        self.signal(Signal::Terminate);
        let patience = Instant::now() + Duration::from_secs(3);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > patience {
                self.signal(Signal::Kill);
                let _ = self.child.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // A successor is in the group of the child, which the child alone was started in.
        // SAFETY: plain system call; a group without members is an error that nobody minds.
        unsafe { libc::killpg(self.child.id() as libc::pid_t, libc::SIGKILL) };
    }
}

/// Spawns from one thread that lives as long as the process: the kernel sends the parent-death signal when
/// the *thread* that spawned ends, and test threads come and go.
fn keeper_spawn(mut command: Command) -> Child {
    command.process_group(0);
    // SAFETY: `prctl` is async-signal-safe and touches only the new process.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    type Order = (Command, Sender<std::io::Result<Child>>);
    static KEEPER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (orders, inbox): (Sender<Order>, Receiver<Order>) = channel();
        std::thread::spawn(move || {
            for (mut command, reply) in inbox {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let program = command.get_program().to_owned();
    let (reply, answer) = channel();
    keeper.lock().expect("no panic while sending").send((command, reply)).expect("the keeper lives");
    match answer.recv_timeout(LIMIT).expect("the keeper answers") {
        Ok(child) => child,
        Err(error) => panic!("{} cannot be started: {error}", program.display()),
    }
}
