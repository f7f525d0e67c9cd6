//! Values that are one scalar in the file: each is parsed once, where it stands, into its type of the model.
//!
//! ```text
//! "30s" ──► Timeout(Duration)      "10.0.0.0/8" ──► Network(IpNet)      "^/api" ──► Regex(Pattern)
//! ```
//!
//! One declaration gives the type, what it expects, how it is parsed and how the JSON Schema describes it.

mod acme;
mod address;
mod cache;
mod compression;
mod http;
mod path;
mod quantity;
mod token;

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};

use crate::sources::config::tree::abridged;
pub use acme::*;
pub use address::*;
pub use cache::*;
pub use compression::*;
pub use http::*;
pub use path::*;
pub use quantity::*;
pub use token::*;

/// `Name(Value), "what is expected", parse, { schema }`
macro_rules! scalar {
    ($(#[doc = $doc:literal])* $name:ident($value:ty), $expected:literal, $parse:expr, $schema:tt) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug)]
        pub struct $name(pub $value);

        impl $crate::sources::config::decode::Scalar for $name {
            type Value = $value;

            fn into_value(self) -> $value {
                self.0
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::sources::config::shapes::scalar::parsed(deserializer, $expected, $parse).map($name)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut schema = schemars::json_schema!($schema);
                schema.insert("description".into(), concat!($($doc, "\n"),*).replace("\n ", "\n").trim().into());
                schema
            }
        }
    };
}
pub(crate) use scalar;

scalar! {
    /// Switches it off.
    Off(()), "off or a map", off,
    { "const": "off" }
}

fn off(text: &str) -> Result<(), String> {
    match text {
        "off" => Ok(()),
        _ => Err(format!("expected off or a map, found \"{}\"", abridged(text))),
    }
}

/// Reads a scalar as text and parses it.
fn parsed<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: &'static str,
    parse: fn(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    deserializer.deserialize_str(Text { expected, parse })
}

struct Text<T> {
    expected: &'static str,
    parse: fn(&str) -> Result<T, String>,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }
}
