//! Where several processes count together: a Redis, as data.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::units::serialize_duration;
use crate::diagnostics::Origin;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Redis {
    #[serde(skip)]
    pub origin: Origin,
    pub url: RedisUrl,
    /// Its password, on the first line.
    pub password_file: Option<PathBuf>,
    /// Whom its certificate is verified against, PEM; None: the system's.
    pub ca: Option<PathBuf>,
    /// How long a request may wait for its answer, connecting included.
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
    /// Before the name of each limit.
    pub key_prefix: Arc<str>,
}

/// `redis[s]://[user@]host[:port][/database]`. A password is none of it: it would stand where configuration is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrl {
    pub transport: RedisTransport,
    pub user: Option<Arc<str>>,
    /// An IPv6 address without its brackets.
    pub host: Arc<str>,
    pub port: u16,
    pub database: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisTransport {
    Plain,
    Tls,
}

impl RedisUrl {
    /// What Redis listens on.
    pub const PORT: u16 = 6379;

    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{}\" is not the URL of a Redis; write it as \"redis://host:6379\"", masked(text));
        let (transport, rest) = match text.split_once("://") {
            Some(("redis", rest)) => (RedisTransport::Plain, rest),
            Some(("rediss", rest)) => (RedisTransport::Tls, rest),
            Some(_) | None => return Err(wrong()),
        };
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => {
                return Err("a password does not belong in this file; write it into another, and its name as \
                            \"password-file\""
                    .into());
            }
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            Some(_) | None => (address, None),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b':');
        if host.is_empty() || !host.bytes().all(is_plain) || user == Some("") {
            return Err(wrong());
        }
        let port = port.map_or(Some(Self::PORT), |port| port.parse().ok().filter(|port| *port != 0));
        let database = if database.is_empty() { Some(0) } else { database.parse().ok() };
        let (Some(port), Some(database)) = (port, database) else { return Err(wrong()) };
        Ok(Self { transport, user: user.map(Into::into), host: host.into(), port, database })
    }
}

/// Without what may be a password.
fn masked(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => text.to_owned(),
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.transport {
            RedisTransport::Plain => "redis://",
            RedisTransport::Tls => "rediss://",
        })?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.contains(':') { write!(f, "[{}]", self.host) } else { f.write_str(&self.host) }?;
        write!(f, ":{}/{}", self.port, self.database)
    }
}

impl Serialize for RedisUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_shown_whole() {
        for (text, shown) in [
            ("redis://a.test", "redis://a.test:6379/0"),
            ("rediss://weir@a.test:6380/3", "rediss://weir@a.test:6380/3"),
            ("redis://[::1]", "redis://[::1]:6379/0"),
            ("redis://[::1]:7000/", "redis://[::1]:7000/0"),
        ] {
            assert_eq!(RedisUrl::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_url_of_a_redis_is_refused_without_showing_a_password() {
        for text in ["a.test:6379", "http://a.test", "redis://", "redis://a.test:0", "redis://a/x", "redis://@a"] {
            assert!(RedisUrl::parse(text).unwrap_err().contains("is not the URL of a Redis"), "{text}");
        }
        for text in ["redis://:hunter2@a.test", "redis://u:hunter2@a.test", "http://u:hunter2@a.test"] {
            assert!(!RedisUrl::parse(text).unwrap_err().contains("hunter2"), "{text}");
        }
    }
}
