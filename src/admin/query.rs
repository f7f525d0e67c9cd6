//! What is asked for, read from a query.
//!
//! ```text
//! method=GET&url=https%3A%2F%2Fa.test%2Fapi&from=10.0.0.1&header=X-A%3A+b ──► ExplainQuery
//! ```

use std::net::IpAddr;

const USAGE: &str =
    "ask as /explain?method=GET&url=https://a.test/path&from=10.0.0.1&header=Name:value; only url is needed";

/// A request that nobody sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainQuery {
    /// `GET` where none is given.
    pub method: String,
    /// Absolute, with scheme and host.
    pub url: String,
    /// The client's address.
    pub from: Option<IpAddr>,
    /// Names are lowercase.
    pub headers: Vec<(String, String)>,
}

impl ExplainQuery {
    /// Reads the part after the question mark; the error says what to write instead.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let (mut method, mut url, mut from, mut headers) = (None, None, None, Vec::new());
        for pair in pairs(query) {
            let (name, value) = pair?;
            match name {
                "method" => method = Some(value),
                "url" => url = Some(value),
                "from" => from = Some(value.parse().map_err(|_| format!("\"{value}\" is not an IP address; {USAGE}"))?),
                "header" => headers.push(header(&value)?),
                other => return Err(format!("there is no parameter \"{other}\"; {USAGE}")),
            }
        }
        let url =
            url.filter(|url| !url.is_empty()).ok_or_else(|| format!("the parameter \"url\" is missing; {USAGE}"))?;
        Ok(Self { method: method.unwrap_or_else(|| "GET".into()), url, from, headers })
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once(':').ok_or_else(|| format!("\"{text}\" is not a header; write it as \"Name: value\""))?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

/// The parameters of an operation.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub fn parse(query: &str) -> Result<Self, String> {
        pairs(query).map(|pair| pair.map(|(name, value)| (name.to_owned(), value))).collect::<Result<_, _>>().map(Self)
    }

    pub fn get(&self, wanted: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    pub fn needed(&self, wanted: &str) -> Result<String, String> {
        let given = self.get(wanted).filter(|value| !value.is_empty());
        given.map(str::to_owned).ok_or_else(|| format!("the parameter \"{wanted}\" is missing; write ?{wanted}=…"))
    }
}

/// Names as they stand, values decoded.
fn pairs(query: &str) -> impl Iterator<Item = Result<(&str, String), String>> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((name, decode(value)?))
    })
}

/// Undoes form encoding: `%HH`, and `+` for a space.
fn decode(text: &str) -> Result<String, String> {
    let wrong = || format!("\"{text}\" is not percent-encoded UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or_else(wrong);
                // Two hexadecimal digits fit a byte.
                (digit()? * 16 + digit()?) as u8
            }
            _ => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_with_all_its_parts() {
        let query = "method=POST&url=https%3A%2F%2Fa.test%2Fb%3Fc%3D1&from=::1&header=X-A:+b&header=c%3Ad";
        let expected = ExplainQuery {
            method: "POST".into(),
            url: "https://a.test/b?c=1".into(),
            from: Some("::1".parse().unwrap()),
            headers: vec![("x-a".into(), "b".into()), ("c".into(), "d".into())],
        };
        assert_eq!(ExplainQuery::parse(query), Ok(expected));
        assert_eq!(ExplainQuery::parse("url=http://a.test/").unwrap().method, "GET");
    }

    #[test]
    fn wrong_questions_are_told_what_to_write() {
        for (query, message) in [
            ("", "the parameter \"url\" is missing; ask as /explain?method=GET&url="),
            ("url=a&frm=b", "there is no parameter \"frm\"; ask as"),
            ("url=a&from=me", "\"me\" is not an IP address; ask as"),
            ("url=a&header=b", "\"b\" is not a header; write it as \"Name: value\""),
            ("url=%f", "\"%f\" is not percent-encoded UTF-8"),
            ("url=%ff", "\"%ff\" is not percent-encoded UTF-8"),
        ] {
            let error = ExplainQuery::parse(query).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
