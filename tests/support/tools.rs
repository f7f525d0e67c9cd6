//! The tools that people use, as a second opinion beside the harness's own clients.

use std::process::Command;
use std::time::Duration;

/// What curl printed.
pub struct Curl {
    pub success: bool,
    pub status: u16,
    /// `1.1` or `2`.
    pub version: String,
    pub body: String,
    pub errors: String,
}

/// Runs curl with these arguments.
pub fn curl(arguments: &[&str]) -> Curl {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*"])
        .args(["--write-out", "\n%{http_code} %{http_version}"])
        .args(arguments)
        .output()
        .expect("curl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, line) = text.rsplit_once('\n').expect("curl writes its last line");
    let (status, version) = line.split_once(' ').expect("two words");
    Curl {
        success: output.status.success(),
        status: status.parse().expect("a status"),
        version: version.into(),
        body: body.into(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct WrkReport {
    pub requests: u64,
    /// Answers other than 2xx and 3xx.
    pub bad_answers: u64,
    /// Connections that failed, reads and writes that broke, timeouts.
    pub socket_errors: u64,
    /// What 99 of 100 answers took at most; of several rounds, that of the slowest.
    pub p99: Duration,
}

impl WrkReport {
    /// Requests that were not served, and connections that broke.
    pub fn failures(&self) -> u64 {
        self.bad_answers + self.socket_errors
    }
}

impl std::ops::AddAssign for WrkReport {
    fn add_assign(&mut self, other: WrkReport) {
        self.requests += other.requests;
        self.bad_answers += other.bad_answers;
        self.socket_errors += other.socket_errors;
        self.p99 = self.p99.max(other.p99);
    }
}

/// Keep-alive load on one URL. Blocks for `duration`.
pub fn wrk(url: &str, connections: usize, duration: Duration) -> WrkReport {
    wrk_with(&[], url, connections, duration)
}

/// As [`wrk`], with more arguments.
pub fn wrk_with(arguments: &[&str], url: &str, connections: usize, duration: Duration) -> WrkReport {
    let output = Command::new("wrk")
        // Slow is no failure, and the machine may be busy; how slow it was, the p99 says.
        .args(["--timeout", "15s"])
        .args(["-t1", "--latency", &format!("-c{connections}"), &format!("-d{}s", duration.as_secs().max(1))])
        .args(arguments)
        .arg(url)
        .output()
        .expect("wrk is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let after = |mark: &str| text.lines().find_map(|line| line.trim().strip_prefix(mark));
    let requests = text.lines().find_map(|line| line.split_once(" requests in ")?.0.trim().parse().ok());
    let socket_errors = after("Socket errors:").map(|counts| {
        let numbers = counts.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse::<u64>().ok());
        numbers.sum()
    });
    let bad_answers = after("Non-2xx or 3xx responses:").and_then(|count| count.trim().parse().ok());
    WrkReport {
        requests: requests.unwrap_or_else(|| panic!("wrk says: {text}")),
        bad_answers: bad_answers.unwrap_or(0),
        socket_errors: socket_errors.unwrap_or(0),
        p99: after("99%").and_then(|time| parse_time(time.trim())).unwrap_or_else(|| panic!("wrk says: {text}")),
    }
}

/// `815.00us`, `1.02ms`, `2.50s`.
fn parse_time(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(at);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Some(Duration::from_secs_f64(number.parse::<f64>().ok()? * seconds))
}

/// HTTP/2 load; the answer is how many of `requests` succeeded.
pub fn h2load(url: &str, connections: usize, streams: usize, requests: usize) -> usize {
    let output = Command::new("h2load")
        .args([format!("-c{connections}"), format!("-m{streams}"), format!("-n{requests}"), url.to_owned()])
        .output()
        .expect("h2load is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("requests:")).unwrap_or_else(|| panic!("h2load says: {text}"));
    let succeeded = line.split(", ").find_map(|part| part.strip_suffix(" succeeded"));
    succeeded.and_then(|count| count.parse().ok()).expect("a count")
}
