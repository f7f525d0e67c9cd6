//! Real scripts.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;

/// A script in the folder: its path.
fn script(folder: &Path, text: &str) -> String {
    let path = folder.join("hook");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn program(command: &[&str], timeout: Duration) -> Box<dyn Solver> {
    let command = command.iter().map(|&word| word.into()).collect();
    solver_of(DnsProvider::Exec(model::ExecDns { command, timeout }))
}

const LONG: Duration = Duration::from_secs(15);

#[tokio::test]
async fn the_program_is_told_what_to_do_after_its_own_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let said = folder.path().join("said");
    let hook = script(folder.path(), "printf '<%s>' \"$@\" >> \"$1\"; echo chatter; echo more >&2");
    let program = program(&["/bin/sh", &hook, &said.display().to_string(), "two words"], LONG);
    program.present(NAME, "-value").await.unwrap();
    program.cleanup(NAME, "-value").await.unwrap();
    let call = |verb: &str| format!("<{}><two words><{verb}><{NAME}><-value>", said.display());
    assert_eq!(std::fs::read_to_string(&said).unwrap(), call("present") + &call("cleanup"));
}

#[tokio::test]
async fn a_failure_is_told_with_the_last_line_of_what_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let hook = script(folder.path(), "echo first >&2; printf '  no such \\033zone  \\n\\n' >&2; exit 3");
    let failed = reason(program(&["/bin/sh", &hook], LONG).present(NAME, "value")).await;
    assert_eq!(failed, "/bin/sh present ended with exit status: 3: no such zone");

    let hook = script(folder.path(), "exit 4");
    let failed = reason(program(&["/bin/sh", &hook], LONG).cleanup(NAME, "value")).await;
    assert_eq!(failed, "/bin/sh cleanup ended with exit status: 4");

    let hook = script(folder.path(), "head -c 100000 /dev/zero | tr '\\0' x >&2; kill -TERM $$");
    let failed = reason(program(&["/bin/sh", &hook], LONG).present(NAME, "value")).await;
    assert_eq!(failed, format!("/bin/sh present ended with signal: 15 (SIGTERM): {}", "x".repeat(300)));
}

#[tokio::test]
async fn a_program_that_is_too_slow_is_ended_with_all_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let hook = script(folder.path(), &format!("sleep 600 & echo $! > {}; echo waiting >&2; wait", pid_file.display()));
    let failed = reason(program(&["/bin/sh", &hook], Duration::from_secs(1)).present(NAME, "value")).await;
    assert_eq!(failed, "/bin/sh present took longer than 1s and was ended: waiting");
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    let deadline = Instant::now() + LONG;
    // A zombie that nobody has reaped yet has no command line any more.
    while std::fs::read(format!("/proc/{}/cmdline", pid.trim())).is_ok_and(|line| !line.is_empty()) {
        assert!(Instant::now() < deadline, "what the program started lives on");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn something_left_behind_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let hook = script(folder.path(), "sleep 5 & exit 0");
    let begun = Instant::now();
    program(&["/bin/sh", &hook], LONG).present(NAME, "value").await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4), "it was waited for what went on in the background");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let failed = reason(program(&["/no/such/program"], LONG).present(NAME, "value")).await;
    assert_eq!(failed, "/no/such/program cannot be started: No such file or directory (os error 2)");
}
