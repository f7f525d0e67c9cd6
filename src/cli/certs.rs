//! `weir certs`: the certificates of a running Weir; to have one renewed or revoked.
//!
//! ```text
//! admin listener ──/certificates──► a table, each with what ails it in words
//! ```

use std::fmt::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Deserialize;

use super::{Format, NO, admin};

/// An authority that is asked to revoke takes seconds.
const PATIENCE: Duration = Duration::from_secs(15);

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A certificate as `/certificates` has it.
#[derive(Deserialize)]
struct Listed {
    certificate: String,
    names: Vec<String>,
    issuer: Option<String>,
    key: Option<String>,
    not_after: Option<String>,
    validity: Option<String>,
    order: Option<Order>,
}

#[derive(Deserialize)]
struct Order {
    name: String,
    challenge: String,
    state: String,
    next_order: String,
    last_attempt: Option<String>,
    attempts: u64,
    failures: u32,
    last_error: Option<String>,
}

/// Exit code 1: a certificate could not be had, or has expired.
pub fn list(address: SocketAddr, format: Format) -> anyhow::Result<ExitCode> {
    let answer = ask(address, "GET", "/certificates")?;
    let listed: Vec<Listed> = serde_json::from_str(&answer).context("the answer is not a list of certificates")?;
    match format {
        Format::Json => print!("{answer}"),
        Format::Text => print!("{}", table(&listed)),
    }
    let ails =
        |one: &Listed| one.validity.as_deref() != Some("valid") || one.order.as_ref().is_some_and(|o| o.failures > 0);
    Ok(if listed.iter().any(ails) { ExitCode::from(NO) } else { ExitCode::SUCCESS })
}

fn table(listed: &[Listed]) -> String {
    if listed.is_empty() {
        return "there are no certificates\n".into();
    }
    let mut out = String::new();
    for one in listed {
        // To a string none of this can fail.
        let _ = writeln!(out, "{}", one.names.join(" "));
        let mut line = |label: &str, text: &str| writeln!(out, "  {label:<11} {text}").unwrap_or_default();
        line("source", &one.certificate);
        match (&one.issuer, &one.key, &one.not_after, &one.validity) {
            (Some(issuer), Some(key), Some(not_after), Some(validity)) => {
                line("issuer", &format!("{issuer} ({key})"));
                line("expires", &format!("{not_after} ({validity})"));
            }
            _ => line("expires", "none yet: a self-signed certificate is shown"),
        }
        let Some(order) = &one.order else { continue };
        let is_due = order.next_order.starts_with("1970");
        let next = if is_due { "now" } else { &order.next_order };
        line("next order", &format!("{next} by {} ({})", order.challenge, order.state));
        if let Some(error) = &order.last_error {
            let at = order.last_attempt.as_deref().unwrap_or("at the start");
            line("last error", &format!("{at}, {} in a row: {error}", order.failures));
        }
    }
    out
}

/// Has a certificate ordered anew, and waits until that has ended.
pub fn renew(address: SocketAddr, name: &str, wait: Duration) -> anyhow::Result<ExitCode> {
    let before = find(address, name)?.map(|order| order.attempts);
    println!("{}", ask(address, "POST", &format!("/certificates/renew?name={}", encoded(name)))?.trim());
    let deadline = Instant::now() + wait;
    while Instant::now() < deadline {
        std::thread::sleep(LOOK_EVERY);
        let Some(order) = find(address, name)? else { bail!("the certificate \"{name}\" is not there any more") };
        if Some(order.attempts) == before || order.state == "ordering" {
            continue;
        }
        return Ok(match order.last_error {
            None => {
                println!("renewed; the next order is due {}", order.next_order);
                ExitCode::SUCCESS
            }
            Some(error) => {
                eprintln!("weir: {error}");
                ExitCode::from(NO)
            }
        });
    }
    eprintln!("weir: not done after {} s; it goes on, and `weir certs` tells how it ended", wait.as_secs());
    Ok(ExitCode::from(NO))
}

pub fn revoke(address: SocketAddr, name: &str, reason: &str) -> anyhow::Result<ExitCode> {
    let target = format!("/certificates/revoke?name={}&reason={}", encoded(name), encoded(reason));
    println!("{}", ask(address, "POST", &target)?.trim());
    Ok(ExitCode::SUCCESS)
}

fn find(address: SocketAddr, name: &str) -> anyhow::Result<Option<Order>> {
    let listed: Vec<Listed> = serde_json::from_str(&ask(address, "GET", "/certificates")?)?;
    Ok(listed.into_iter().filter_map(|one| one.order).find(|order| order.name == name))
}

fn ask(address: SocketAddr, method: &str, target: &str) -> anyhow::Result<String> {
    let answer = admin::ask(address, method, target, PATIENCE)
        .with_context(|| format!("cannot ask {address}; is Weir running, and is this its admin address?"))?;
    match answer.status {
        200..=299 => Ok(answer.body),
        _ => bail!("{}", answer.body.trim()),
    }
}

/// As a query's value.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_listed_with_what_ails_it() {
        let listed: Vec<Listed> = serde_json::from_value(serde_json::json!([
            { "certificate": "a.crt", "names": ["a.test", "*.a.test"], "issuer": "CN=ca", "key": "ECDSA",
              "not_after": "2027-01-01T00:00:00Z", "validity": "valid" },
            { "certificate": "acme/b.test", "names": ["b.test"], "order": {
              "name": "b.test", "challenge": "http-01", "state": "awaited", "next_order": "2026-12-01T00:00:00Z",
              "last_attempt": "2026-11-30T00:00:00Z", "attempts": 7, "failures": 2, "last_error": "is port 80 published?" } },
        ]))
        .unwrap();
        assert_eq!(
            table(&listed),
            "a.test *.a.test\n  source      a.crt\n  issuer      CN=ca (ECDSA)\n  expires     2027-01-01T00:00:00Z (valid)\n\
             b.test\n  source      acme/b.test\n  expires     none yet: a self-signed certificate is shown\n  \
             next order  2026-12-01T00:00:00Z by http-01 (awaited)\n  \
             last error  2026-11-30T00:00:00Z, 2 in a row: is port 80 published?\n"
        );
        assert_eq!(table(&[]), "there are no certificates\n");
    }

    #[test]
    fn names_are_written_as_a_query_reads_them() {
        assert_eq!(encoded("*.a.test&x"), "%2A.a.test%26x");
    }
}
