//! How Redis is reached: what the model says, and the files that it names, read.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates};

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::model::{Model, Redis, RedisTransport};

#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    pub(super) redis: Redis,
    password: Option<String>,
    /// PEM.
    ca: Option<Vec<u8>>,
}

impl Settings {
    pub(super) fn client(&self) -> redis::RedisResult<redis::Client> {
        let (url, host) = (&self.redis.url, self.redis.url.host.to_string());
        let address = match url.transport {
            RedisTransport::Plain => ConnectionAddr::Tcp(host, url.port),
            RedisTransport::Tls => ConnectionAddr::TcpTls { host, port: url.port, insecure: false, tls_params: None },
        };
        let mut login = RedisConnectionInfo::default().set_db(url.database.into());
        if let Some(user) = &url.user {
            login = login.set_username(user);
        }
        if let Some(password) = &self.password {
            login = login.set_password(password);
        }
        let info = address.into_connection_info()?.set_redis_settings(login);
        match (&self.ca, url.transport) {
            (Some(ca), RedisTransport::Tls) => {
                let roots = TlsCertificates { client_tls: None, root_cert: Some(ca.clone()) };
                redis::Client::build_with_tls(info, roots)
            }
            (Some(_), RedisTransport::Plain) | (None, _) => redis::Client::open(info),
        }
    }

    /// For a new connection: longer than a request waits, since TLS and a login may take several round trips.
    pub(super) fn connect_limit(&self) -> Duration {
        self.redis.timeout.max(Duration::from_secs(1))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("redis", &self.redis)
            .field("password", &self.password.as_ref().map(|_| "(redacted)"))
            .finish_non_exhaustive()
    }
}

/// Reads the files of the model's Redis. Blocks on them. None where there is no Redis, or where it cannot be used.
pub fn load(model: &Model) -> (Option<Settings>, Diagnostics) {
    let mut found = Diagnostics::default();
    let Some(redis) = &model.process.redis else { return (None, found) };
    let mut report = |key: &str, message: String, help: &str| {
        found.push(Diagnostic::error(redis.origin.clone(), format!("redis{key}"), message).help(help));
    };
    let mut read = |key: &str, path: &Path| match std::fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            let message = format!("{} cannot be read: {error}", path.display());
            report(key, message, "name a file that is there and that Weir may read");
            None
        }
    };
    let password = redis.password_file.as_deref().and_then(|path| read(".password-file", path));
    let ca = redis.ca.as_deref().and_then(|path| read(".ca", path));
    let password = password.and_then(|bytes| match first_line(&bytes) {
        Some(password) => Some(password),
        None => {
            report(".password-file", "the file has no password".into(), "write it on the first line");
            None
        }
    });
    let settings = Settings { redis: redis.clone(), password, ca };
    if let Err(error) = settings.client() {
        report(".ca", format!("it cannot be used: {error}"), "name a file of certificates in PEM");
    }
    (Some(settings).filter(|_| !found.has_errors()), found)
}

fn first_line(bytes: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(bytes).ok()?.lines().next()?.trim_end();
    (!line.is_empty()).then(|| line.to_owned())
}
