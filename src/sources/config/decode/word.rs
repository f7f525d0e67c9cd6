//! Externally tagged enums: `round-robin`, or `{ hash: client-ip }`; and, where all that a word takes has defaults, the
//! word alone for `word: {}`.

use serde::de::value::{BorrowedStrDeserializer, MapDeserializer};
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, VariantAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::super::findings::Place;
use super::super::tree::NodeId;
use super::{DecodeError, Reader};

pub(super) struct Word<'f, 'de> {
    pub reader: Reader<'f, 'de>,
    /// What the words are, as "filter".
    pub name: &'static str,
    pub word: &'de str,
    pub content: Option<NodeId>,
    pub place: Place,
}

impl<'de> EnumAccess<'de> for Word<'_, 'de> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), DecodeError> {
        match seed.deserialize(BorrowedStrDeserializer::<DecodeError>::new(self.word)) {
            Ok(variant) => Ok((variant, self)),
            Err(error) => Err(error.noun(self.name).at(self.place)),
        }
    }
}

impl<'de> VariantAccess<'de> for Word<'_, 'de> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        match self.content {
            None => Ok(()),
            Some(_) => {
                let error = DecodeError::message(format!("\"{}\" takes no value", self.word));
                Err(error.help(format!("write the word alone: {}", self.word)).at(self.place))
            }
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, DecodeError> {
        match self.content {
            Some(content) => seed.deserialize(self.reader.child(content)),
            None => seed.deserialize(Bare { word: self.word }).map_err(|error| error.at(self.place)),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, visitor: V) -> Result<V::Value, DecodeError> {
        Bare { word: self.word }.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _keys: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        Bare { word: self.word }.deserialize_any(visitor)
    }
}

/// What a word without a value is read from: an empty map, where a map is meant.
struct Bare<'de> {
    word: &'de str,
}

impl<'de> Deserializer<'de> for Bare<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, DecodeError> {
        Err(DecodeError::message(format!("\"{0}\" needs a value; write {0}: …", self.word)))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _keys: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_map(MapDeserializer::new(std::iter::empty::<(&str, &str)>()))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
