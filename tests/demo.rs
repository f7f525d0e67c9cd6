//! `weir demo`: nothing but the binary, and every line it suggests works.

mod support;

use std::process::Command;

use support::{Process, Signal, eventually, weir_command};

/// The command lines that it printed, without what may stand before and behind them.
fn suggestions(log: &str) -> Vec<String> {
    let lines = log.lines().map(|line| line.trim().trim_start_matches("$ "));
    lines.filter(|line| line.starts_with("curl ")).map(str::to_owned).collect()
}

#[test]
fn the_demo_answers_its_own_curl_lines() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = weir_command();
    command.arg("demo").current_dir(folder.path());
    let mut demo = Process::start(command, &folder.path().join("demo.log"));

    let lines = eventually("the demo suggests what to try", || {
        let log = demo.log();
        assert!(demo.exit_status().is_none(), "the demo ended: {log}");
        let lines = suggestions(&log);
        (!lines.is_empty() && log.contains("admin")).then_some(lines)
    });
    assert!(lines.len() >= 3, "{lines:?}");
    for line in lines {
        // Bounded, with the status line in front; a stream that goes on is ended by the clock (28).
        let bounded = line.replacen("curl ", "curl --silent --show-error --include --max-time 10 --noproxy '*' ", 1);
        let output = Command::new("bash").args(["-c", &bounded]).output().expect("bash is there");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(0 | 28)), "{line}: {errors}");
        assert!(text.starts_with("HTTP/"), "{line}: {text}{errors}");
        let status: u16 = text.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
        assert!(status < 500, "{line}: {text}");
    }

    demo.signal(Signal::Interrupt);
    assert!(demo.wait().success());
}
