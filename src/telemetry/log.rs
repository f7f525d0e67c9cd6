//! The log: what Weir has to say to its operator, on stderr.
//!
//! ```text
//! tracing events ──────────────────────┐
//! Pingora's log records, WARN and up ──┴──► WEIR_LOG (which) ──► WEIR_LOG_FORMAT (how) ──► stderr
//! ```
//!
//! Stdout belongs to the access log. The environment is passed in.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// `WEIR_LOG`: a level, or `target=level` pairs; default [`DEFAULT_LEVEL`].
pub const LEVEL_VARIABLE: &str = "WEIR_LOG";
/// The h2 crate warns of each odd frame: with it, clients would write the log.
const DEFAULT_LEVEL: &str = "info,h2=error";
/// `WEIR_LOG_FORMAT`: `text` or `json`; default `text` on a terminal, else `json`.
pub const FORMAT_VARIABLE: &str = "WEIR_LOG_FORMAT";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug)]
pub struct LogSettings {
    filter: EnvFilter,
    format: LogFormat,
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(
        "{LEVEL_VARIABLE}={value}: {reason}; write a level (error, warn, info, debug, trace) or \"weir=debug,h2=warn\""
    )]
    Level { value: String, reason: String },
    #[error("{FORMAT_VARIABLE}={0}: there is no such format; write \"text\" or \"json\"")]
    Format(String),
    #[error("the log is set up already")]
    Installed,
}

impl LogSettings {
    /// `variable` reads the environment; `default` is the format where none is asked for.
    pub fn read(variable: impl Fn(&str) -> Option<String>, default: LogFormat) -> Result<Self, LogError> {
        let level = variable(LEVEL_VARIABLE).filter(|value| !value.is_empty()).unwrap_or_else(|| DEFAULT_LEVEL.into());
        let filter = EnvFilter::builder()
            .parse(&level)
            .map_err(|error| LogError::Level { value: level, reason: error.to_string() })?;
        let format = match variable(FORMAT_VARIABLE).as_deref() {
            None | Some("") => default,
            Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(other) => return Err(LogError::Format(other.into())),
        };
        Ok(Self { filter, format })
    }

    /// Sets the log of the process up; once.
    pub fn install(self) -> Result<(), LogError> {
        let level = self.bridged_level();
        let subscriber = tracing_subscriber::fmt().with_env_filter(self.filter).with_writer(io::stderr);
        let installed = match self.format {
            LogFormat::Text => subscriber.try_init(),
            LogFormat::Json => subscriber.json().flatten_event(true).with_span_list(false).try_init(),
        };
        installed.map_err(|_| LogError::Installed)?;
        ::log::set_logger(&Bridge).map_err(|_| LogError::Installed)?;
        // A disabled record costs one comparison from here on.
        ::log::set_max_level(level);
        Ok(())
    }

    /// Pingora tells of single requests at INFO and below, whatever the operator asks of Weir.
    fn bridged_level(&self) -> ::log::LevelFilter {
        match self.filter.max_level_hint() {
            Some(level) if level == LevelFilter::OFF => ::log::LevelFilter::Off,
            Some(level) if level == LevelFilter::ERROR => ::log::LevelFilter::Error,
            Some(_) | None => ::log::LevelFilter::Warn,
        }
    }
}

/// Whose warnings are about one request each, shown stale or cut short by its client: the access log has them.
const OF_SINGLE_REQUESTS: [&str; 2] = ["pingora_proxy::proxy_cache", "pingora_cache"];

/// Hands the `log` crate's records over. Their target is a field, because tracing's targets are fixed.
struct Bridge;

impl ::log::Log for Bridge {
    fn enabled(&self, metadata: &::log::Metadata<'_>) -> bool {
        metadata.level() <= ::log::max_level()
    }

    fn log(&self, record: &::log::Record<'_>) {
        let (module, message) = (record.target(), record.args());
        if OF_SINGLE_REQUESTS.iter().any(|known| module.starts_with(known)) {
            return;
        }
        match record.level() {
            ::log::Level::Error => tracing::error!(target: "library", module, "{message}"),
            ::log::Level::Warn => tracing::warn!(target: "library", module, "{message}"),
            ::log::Level::Info | ::log::Level::Debug | ::log::Level::Trace => {}
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(level: &str, format: &str) -> Result<LogSettings, LogError> {
        let variable = |name: &str| match name {
            LEVEL_VARIABLE => Some(level.to_owned()),
            FORMAT_VARIABLE => Some(format.to_owned()),
            _ => None,
        };
        LogSettings::read(variable, LogFormat::Json)
    }

    #[test]
    fn the_environment_decides_and_the_default_stands_where_it_is_silent() {
        assert_eq!(LogSettings::read(|_| None, LogFormat::Text).unwrap().format, LogFormat::Text);
        assert_eq!(read("", "").unwrap().format, LogFormat::Json);
        assert_eq!(read("weir=debug,h2=warn", "text").unwrap().format, LogFormat::Text);
    }

    #[test]
    fn wrong_values_are_refused_with_the_mend() {
        let error = read("loud=very", "").unwrap_err().to_string();
        assert!(error.starts_with("WEIR_LOG=loud=very: ") && error.contains("write a level (error, warn"), "{error}");
        let error = read("", "xml").unwrap_err().to_string();
        assert_eq!(error, "WEIR_LOG_FORMAT=xml: there is no such format; write \"text\" or \"json\"");
    }

    #[test]
    fn libraries_are_heard_at_warn_at_most() {
        for (level, bridged) in [
            ("off", ::log::LevelFilter::Off),
            ("error", ::log::LevelFilter::Error),
            ("info", ::log::LevelFilter::Warn),
            ("trace", ::log::LevelFilter::Warn),
        ] {
            assert_eq!(read(level, "").unwrap().bridged_level(), bridged, "{level}");
        }
    }

    #[test]
    fn a_librarys_warning_reaches_the_log_and_its_information_does_not() {
        use ::log::Log;
        use std::sync::{Arc, Mutex};

        #[derive(Clone, Default)]
        struct Written(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Written {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let written = Written::default();
        let writer = written.clone();
        let subscriber =
            tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            for (level, text) in [(::log::Level::Warn, "heard"), (::log::Level::Info, "noise")] {
                Bridge.log(
                    &::log::Record::builder().level(level).target("pingora_core").args(format_args!("{text}")).build(),
                );
            }
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["level"], &line["message"]), (&"WARN".into(), &"heard".into()));
        assert_eq!((&line["target"], &line["module"]), (&"library".into(), &"pingora_core".into()));
    }
}
