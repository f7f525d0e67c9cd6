//! What went wrong with an order, in words that say what to do.
//!
//! ```text
//! instant_acme::Error, Problem, ChallengeType ──► "the authority could not reach http://a.test/…: … ; is port 80 …?"
//! ```

use instant_acme::{Error, Problem};

use crate::model::ChallengeType;

const PREFIX: &str = "urn:ietf:params:acme:error:";

/// Why a name could not be proven.
pub fn of_challenge(domain: &str, challenge: ChallengeType, problem: &Problem) -> String {
    let asked = match challenge {
        ChallengeType::Http01 => format!("http://{domain}/.well-known/acme-challenge/…"),
        ChallengeType::TlsAlpn01 => format!("{domain}:443 for tls-alpn-01"),
        ChallengeType::Dns01 => format!("the TXT record of _acme-challenge.{domain}"),
    };
    let detail = detail(problem);
    match (kind(problem), challenge) {
        ("connection", ChallengeType::Http01) => {
            format!(
                "the authority could not reach {asked}: {detail}; is port 80 published, and does {domain} point here?"
            )
        }
        ("connection", ChallengeType::TlsAlpn01) => {
            format!(
                "the authority could not reach {asked}: {detail}; is port 443 published, and does {domain} point here?"
            )
        }
        ("connection" | "dns", ChallengeType::Dns01) => {
            format!(
                "the authority could not look up {asked}: {detail}; is the zone delegated to the servers that acme.dns writes to?"
            )
        }
        ("dns", ChallengeType::Http01 | ChallengeType::TlsAlpn01) => {
            format!("the authority could not look up {domain}: {detail}; is there an A or AAAA record for it?")
        }
        ("tls", _) => format!("the authority had no TLS with {asked}: {detail}; does something in front end TLS?"),
        ("unauthorized" | "incorrectResponse", ChallengeType::Dns01) => {
            format!("the authority found something else in {asked}: {detail}; does acme.dns write to the public zone?")
        }
        ("unauthorized" | "incorrectResponse", ChallengeType::Http01 | ChallengeType::TlsAlpn01) => {
            format!(
                "the authority was answered by somebody else at {asked}: {detail}; does {domain} point to this server?"
            )
        }
        ("caa", _) => format!("a CAA record of {domain} forbids this authority: {detail}"),
        _ => format!("the authority could not prove {domain} with {challenge}: {detail}"),
    }
}

/// Why the authority did not do what it was asked for. `directory`: whom was asked.
pub fn of_error(directory: &str, error: &Error) -> String {
    match error {
        Error::Api(problem) => of_problem(directory, problem),
        Error::Timeout(_) => {
            format!("{directory} did not finish the order in time; it is gone on with at the next attempt")
        }
        Error::Json(_) => {
            format!("{directory} does not answer as an ACME directory does ({error}); is the URL right?")
        }
        Error::Other(error) => format!(
            "cannot talk to {directory}: {error}; is the URL right, is the network there, and does its certificate need acme.ca?"
        ),
        error => format!("cannot talk to {directory}: {error}"),
    }
}

fn of_problem(directory: &str, problem: &Problem) -> String {
    let detail = detail(problem);
    match kind(problem) {
        "rateLimited" => format!("{directory} has had too many requests for this: {detail}"),
        "rejectedIdentifier" => format!("{directory} issues no certificate for this name: {detail}"),
        "externalAccountRequired" => {
            format!("{directory} wants to know an account of its own: {detail}; write acme.external-account")
        }
        "userActionRequired" => format!("{directory} wants an operator to do something first: {detail}"),
        "invalidContact" | "unsupportedContact" => {
            format!("{directory} does not take this mail address: {detail}; mend acme.email")
        }
        "invalidProfile" => format!("{directory} does not have this profile: {detail}; mend acme.profile"),
        "caa" => format!("a CAA record forbids {directory}: {detail}"),
        "" => format!("{directory} refused: {detail}"),
        kind => format!("{directory} refused ({kind}): {detail}"),
    }
}

/// Whether the account that was used is not known any more.
pub fn is_unknown_account(error: &Error) -> bool {
    matches!(error, Error::Api(problem) if kind(problem) == "accountDoesNotExist"
        // What Pebble says of a key identifier that it has forgotten.
        || problem.detail.as_deref().is_some_and(|detail| detail.contains("unable to find existing account")))
}

/// Whether no other certificate would fare better now.
pub fn concerns_all(error: &Error) -> bool {
    let Error::Api(problem) = error else { return false };
    let detail = problem.detail.as_deref().unwrap_or_default();
    // Other limits are those of a name. Let's Encrypt tells them apart in its text only.
    let is_of_the_account = detail.contains("new orders") || detail.contains("new registrations");
    problem.status == Some(503) || kind(problem) == "rateLimited" && is_of_the_account
}

/// Whether the order that was asked for can never become a certificate.
pub fn is_final(error: &Error) -> bool {
    let Error::Api(problem) = error else { return false };
    let is_passing = matches!(kind(problem), "badNonce" | "rateLimited" | "serverInternal");
    !is_passing && problem.status.is_none_or(|status| status < 500)
}

/// Whether the authority has looked, and found something else than it should.
pub fn is_about_a_challenge(problem: &Problem) -> bool {
    ["connection", "dns", "tls", "incorrectResponse", "caa"].contains(&kind(problem))
}

pub fn is_revoked_already(error: &Error) -> bool {
    matches!(error, Error::Api(problem) if kind(problem) == "alreadyRevoked")
}

pub fn is_bad_nonce(error: &Error) -> bool {
    matches!(error, Error::Api(problem) if kind(problem) == "badNonce")
}

/// The last part of the problem's type (RFC 8555 §6.7).
fn kind(problem: &Problem) -> &str {
    problem.r#type.as_deref().and_then(|kind| kind.strip_prefix(PREFIX)).unwrap_or_default()
}

fn detail(problem: &Problem) -> String {
    let mut text = bounded(problem.detail.as_deref().unwrap_or("it gives no reason"));
    for part in &problem.subproblems {
        text.push_str(&format!("; {}", bounded(&part.to_string())));
    }
    text
}

/// Somebody else's text: one line, and not without end.
fn bounded(text: &str) -> String {
    const LONGEST: usize = 500;
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    line.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str, detail: &str) -> Problem {
        serde_json::from_value(serde_json::json!({ "type": format!("{PREFIX}{kind}"), "detail": detail })).unwrap()
    }

    #[test]
    fn a_closed_port_is_named_with_what_to_look_at() {
        let refused = problem("connection", "Get http://a.test/x: connection refused.");
        assert_eq!(
            of_challenge("a.test", ChallengeType::Http01, &refused),
            "the authority could not reach http://a.test/.well-known/acme-challenge/…: Get http://a.test/x: connection \
             refused; is port 80 published, and does a.test point here?"
        );
        assert!(of_challenge("a.test", ChallengeType::TlsAlpn01, &refused).contains("is port 443 published"));
    }

    #[test]
    fn each_challenge_has_its_own_advice() {
        let wrong = problem("unauthorized", "no");
        assert!(of_challenge("a.test", ChallengeType::Http01, &wrong).contains("does a.test point to this server?"));
        assert!(of_challenge("a.test", ChallengeType::Dns01, &wrong).contains("_acme-challenge.a.test"));
        let dns = problem("dns", "NXDOMAIN");
        assert!(of_challenge("a.test", ChallengeType::Http01, &dns).contains("is there an A or AAAA record for it?"));
        assert!(of_challenge("a.test", ChallengeType::Http01, &problem("caa", "x")).contains("CAA record of a.test"));
    }

    #[test]
    fn what_an_authority_says_stays_one_line() {
        let error = Error::Api(problem("rateLimited", &format!("too\nmany{}", "y".repeat(1000))));
        let words = of_error("https://ca.test", &error);
        assert!(words.starts_with("https://ca.test has had too many requests for this: too many"), "{words}");
        assert!(!words.contains('\n') && words.len() < 600);
    }

    #[test]
    fn an_account_that_is_gone_is_told_from_other_refusals() {
        assert!(is_unknown_account(&Error::Api(problem("accountDoesNotExist", "gone"))));
        assert!(!is_unknown_account(&Error::Api(problem("unauthorized", "gone"))));
    }
}
