//! Why a node could not be decoded, and the words for it.

use std::fmt;

use serde::de;

use super::super::findings::{Findings, Place};
use super::super::suggest;
use super::super::tree::abridged;
use crate::diagnostics::Diagnostic;

/// Gets its place from the innermost reader that it passes.
#[derive(Debug)]
pub struct DecodeError {
    place: Option<Place>,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    /// It is among the findings already.
    Reported,
    Message {
        message: String,
        help: Option<String>,
    },
    UnknownWord {
        noun: &'static str,
        word: String,
        known: &'static [&'static str],
    },
}

impl DecodeError {
    pub fn reported() -> Self {
        Self { place: None, cause: Cause::Reported }
    }

    pub fn mismatch(expected: impl fmt::Display, found: &str) -> Self {
        Self::message(format!("expected {expected}, found {found}"))
    }

    pub fn message(message: impl Into<String>) -> Self {
        Self { place: None, cause: Cause::Message { message: message.into(), help: None } }
    }

    pub fn help(mut self, text: impl Into<String>) -> Self {
        if let Cause::Message { help, .. } = &mut self.cause {
            *help = Some(text.into());
        }
        self
    }

    /// Says where, unless an inner reader has done so.
    pub fn at(mut self, place: Place) -> Self {
        self.place.get_or_insert(place);
        self
    }

    /// Says what an unknown word should have been.
    pub fn noun(mut self, name: &'static str) -> Self {
        if let (None, Cause::UnknownWord { noun, .. }) = (self.place, &mut self.cause) {
            *noun = name;
        }
        self
    }

    pub fn report(self, findings: &Findings, otherwise: Place) {
        let place = self.place.unwrap_or(otherwise);
        let (message, help) = match self.cause {
            Cause::Reported => return,
            Cause::Message { message, help } => (message, help),
            Cause::UnknownWord { noun, word, known } => {
                (format!("unknown {noun} \"{}\"", abridged(&word)), suggest::help_for(&word, known.iter().copied()))
            }
        };
        findings.report(Diagnostic { help, ..findings.error(place, message) });
    }
}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::message(message.to_string())
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Self { place: None, cause: Cause::UnknownWord { noun: "value", word: word.into(), known } }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Reported => f.write_str("already reported"),
            Cause::Message { message, .. } => f.write_str(message),
            Cause::UnknownWord { noun, word, .. } => write!(f, "unknown {noun} \"{word}\""),
        }
    }
}

impl std::error::Error for DecodeError {}
