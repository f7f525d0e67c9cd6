//! A serde `Deserializer` over the tree that finds every fault in one pass.
//!
//! ```text
//! Document ──Reader──► shapes (structs of Field<T>)
//!               └────► Findings: each unknown key, wrong type and bad value, at its node
//! ```
//!
//! Nothing is given up for a fault below it: an unknown key is reported and passed over, and a [`Field`] whose value
//! is bad becomes `Field::Wrong`, so that its siblings are still read and still checked.

mod error;
mod field;
mod word;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use super::findings::Findings;
use super::tree::{Document, Kind, NodeId, Step, Style, abridged};
pub use error::DecodeError;
pub use field::{Either, Field, List, OneOrList, Scalar, Table};
use word::Word;

/// Decodes the whole document. What is wrong with it is among the findings.
pub fn decode<'de, T: Deserialize<'de>>(findings: &Findings<'de>) -> Field<T> {
    let reader = Reader { findings, node: Document::ROOT };
    // A `Field` never fails in this reader.
    Field::deserialize(reader).unwrap_or(Field::Wrong(Document::ROOT))
}

/// Reads one node.
#[derive(Clone, Copy)]
struct Reader<'f, 'de> {
    findings: &'f Findings<'de>,
    node: NodeId,
}

impl<'f, 'de> Reader<'f, 'de> {
    fn kind(&self) -> &'de Kind<'de> {
        &self.findings.document().node(self.node).kind
    }

    fn child(&self, node: NodeId) -> Self {
        Self { node, ..*self }
    }

    fn entries(self, entries: &'de [NodeId], keys: Keys) -> Entries<'f, 'de> {
        Entries { reader: self, entries: entries.iter(), keys, value: None }
    }

    /// For a map that should have one key.
    fn help_for_keys(&self, entries: &[NodeId], words: &[&str]) -> String {
        let Some(first) = entries.first().map(|entry| self.findings.document().node(*entry)) else {
            return format!("there are {}", words.join(", "));
        };
        match &first.step {
            Step::Key { name, .. } if first.is_null() => format!("indent what belongs to \"{name}\" further than it"),
            Step::Key { .. } | Step::Item(_) | Step::Root => "keep one; in a list each is an item of its own".into(),
        }
    }

    fn mismatch(&self, expected: impl std::fmt::Display) -> DecodeError {
        let found = self.findings.document().node(self.node).description();
        DecodeError::mismatch(expected, &found).at(self.node.value())
    }
}

impl<'de> Deserializer<'de> for Reader<'_, 'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.kind() {
            Kind::Scalar { .. } => self.deserialize_str(visitor),
            Kind::List(_) => self.deserialize_seq(visitor),
            Kind::Map(_) => self.deserialize_map(visitor),
        }
    }

    /// Any scalar as it was written: `5`, `1.2` and `true` are texts where a text is meant.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.kind() {
            Kind::Scalar { text, .. } => {
                visitor.visit_str(text).map_err(|error: DecodeError| error.at(self.node.value()))
            }
            Kind::List(_) | Kind::Map(_) => Err(self.mismatch(&visitor as &dyn de::Expected)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.kind() {
            Kind::Scalar { text, style: Style::Plain } if matches!(&**text, "true" | "True" | "TRUE") => {
                visitor.visit_bool(true)
            }
            Kind::Scalar { text, style: Style::Plain } if matches!(&**text, "false" | "False" | "FALSE") => {
                visitor.visit_bool(false)
            }
            Kind::Scalar { .. } | Kind::List(_) | Kind::Map(_) => Err(self.mismatch("true or false")),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.kind() {
            Kind::List(items) => visitor.visit_seq(Items { reader: self, items: items.iter() }),
            Kind::Scalar { text, .. } => Err(self.mismatch("a list").help(format!("write [{}]", abridged(text)))),
            Kind::Map(_) => Err(self.mismatch("a list").help("begin each item with \"- \"")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.kind() {
            Kind::Map(entries) => visitor.visit_map(self.entries(entries, Keys::Any)),
            Kind::Scalar { .. } | Kind::List(_) => Err(self.mismatch(&visitor as &dyn de::Expected)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        keys: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.kind() {
            Kind::Map(entries) => visitor.visit_map(self.entries(entries, Keys::Known(keys))),
            Kind::Scalar { .. } | Kind::List(_) => Err(self.mismatch(&visitor as &dyn de::Expected)),
        }
    }

    /// A bare word, or a map of one key: the word and what it is given.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let at = self.node.value();
        let word = match self.kind() {
            Kind::Scalar { text, .. } => Word { reader: self, name, word: text, content: None, place: at },
            Kind::Map(entries) => match entries[..] {
                [content] => {
                    let Step::Key { name: word, .. } = &self.findings.document().node(content).step else {
                        return Err(self.mismatch(format_args!("a {name}")));
                    };
                    Word { reader: self, name, word, content: Some(content), place: content.key() }
                }
                _ => {
                    let error = DecodeError::message(format!("expected one {name}, found {} keys", entries.len()));
                    return Err(error.help(self.help_for_keys(entries, words)).at(at));
                }
            },
            Kind::List(_) => return Err(self.mismatch(format_args!("a {name}: {}", words.join(", ")))),
        };
        visitor.visit_enum(word)
    }

    /// [`Field`], [`Either`] and [`OneOrList`] ask by their names for what serde has no method for.
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match (name, self.kind()) {
            (field::FIELD, _) => visitor.visit_seq(FieldParts::Node(self)),
            (field::EITHER, Kind::Scalar { .. }) | (field::ONE_OR_LIST, Kind::List(_)) => visitor.visit_some(self),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf option unit unit_struct tuple tuple_struct
        identifier ignored_any
    }
}

/// The two things a [`Field`] reads: its node, then its value. A value that cannot be read is reported here.
enum FieldParts<'f, 'de> {
    Node(Reader<'f, 'de>),
    Value(Reader<'f, 'de>),
    End,
}

impl<'de> SeqAccess<'de> for FieldParts<'_, 'de> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        match std::mem::replace(self, FieldParts::End) {
            FieldParts::Node(reader) => {
                *self = FieldParts::Value(reader);
                seed.deserialize(reader.node.number().into_deserializer()).map(Some)
            }
            FieldParts::Value(reader) => {
                let read = match reader.findings.document().node(reader.node).is_null() {
                    true => Err(DecodeError::message("has no value").help("write one, or take it out")),
                    false => seed.deserialize(reader),
                };
                read.map(Some).map_err(|error| {
                    error.report(reader.findings, reader.node.value());
                    DecodeError::reported()
                })
            }
            FieldParts::End => Ok(None),
        }
    }
}

struct Items<'f, 'de> {
    reader: Reader<'f, 'de>,
    items: std::slice::Iter<'de, NodeId>,
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        self.items.next().map(|item| seed.deserialize(self.reader.child(*item))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Entries<'f, 'de> {
    reader: Reader<'f, 'de>,
    entries: std::slice::Iter<'de, NodeId>,
    keys: Keys,
    value: Option<NodeId>,
}

#[derive(Clone, Copy)]
enum Keys {
    Any,
    Known(&'static [&'static str]),
}

impl Entries<'_, '_> {
    /// Whether the key can be read; an unknown one is reported.
    fn admits(&self, key: &str, entry: NodeId) -> bool {
        let Keys::Known(known) = self.keys else { return true };
        if known.contains(&key) {
            return true;
        }
        self.reader.findings.unknown_key(entry, key, known);
        false
    }
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        while let Some(entry) = self.entries.next() {
            let Step::Key { name, .. } = &self.reader.findings.document().node(*entry).step else { continue };
            if self.admits(name, *entry) {
                self.value = Some(*entry);
                let key = seed.deserialize(BorrowedStrDeserializer::<DecodeError>::new(name));
                return key.map(Some).map_err(|error: DecodeError| error.at(entry.key()));
            }
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        match self.value.take() {
            Some(node) => seed.deserialize(self.reader.child(node)),
            None => Err(DecodeError::message("a value was read before its key")),
        }
    }
}
