//! What shapes are made of: values that remember where they stand, and whether they could be read.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::super::findings::Place;
use super::super::tree::NodeId;

/// The names by which these types ask the reader for what serde has no method for.
pub(super) const FIELD: &str = "weir::Field";
pub(super) const EITHER: &str = "weir::Either";
pub(super) const ONE_OR_LIST: &str = "weir::OneOrList";

/// The value of a key, or an item of a list.
#[derive(Clone, Copy, Debug, Default)]
pub enum Field<T> {
    #[default]
    Absent,
    /// It was written and reported; nothing more need be said about it.
    Wrong(NodeId),
    Given(NodeId, T),
}

pub type List<T> = Vec<Field<T>>;

impl<T> Field<T> {
    pub fn value(self) -> Option<T> {
        match self {
            Field::Given(_, value) => Some(value),
            Field::Absent | Field::Wrong(_) => None,
        }
    }

    pub fn given(self) -> Option<(NodeId, T)> {
        match self {
            Field::Given(at, value) => Some((at, value)),
            Field::Absent | Field::Wrong(_) => None,
        }
    }

    /// The value that was written, else the default. A wrong one has been reported, so that no model is made of this.
    pub fn value_or(self, default: T) -> T {
        self.value().unwrap_or(default)
    }

    /// Its key, right or wrong; none where nothing was written.
    pub fn key(&self) -> Option<Place> {
        match self {
            Field::Given(at, _) | Field::Wrong(at) => Some(at.key()),
            Field::Absent => None,
        }
    }

    pub fn is_wrong(&self) -> bool {
        matches!(self, Field::Wrong(_))
    }
}

/// A type that is read from one scalar into a value of the model.
pub trait Scalar {
    type Value;

    fn into_value(self) -> Self::Value;
}

impl<S: Scalar> Field<S> {
    pub fn scalar(self) -> Option<S::Value> {
        self.value().map(S::into_value)
    }

    pub fn scalar_or(self, default: S::Value) -> S::Value {
        self.scalar().unwrap_or(default)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(FIELD, FieldVisitor(PhantomData))
    }
}

struct FieldVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FieldVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of a configuration file")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Field<T>, A::Error> {
        let number = parts.next_element::<u32>()?.ok_or_else(|| A::Error::custom("a field without a node"))?;
        let at = NodeId::from_number(number);
        match parts.next_element::<T>() {
            Ok(Some(value)) => Ok(Field::Given(at, value)),
            // The reader has reported it.
            Ok(None) | Err(_) => Ok(Field::Wrong(at)),
        }
    }
}

/// As its value: being a field is no matter of the file's.
impl<T: JsonSchema> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A map whose keys the user chooses, in the order of the file.
#[derive(Debug)]
pub struct Table<T>(pub Vec<(String, Field<T>)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TableVisitor(PhantomData))
    }
}

struct TableVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TableVisitor<T> {
    type Value = Table<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Table<T>, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Table(entries))
    }
}

impl<T: JsonSchema> JsonSchema for Table<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Table_of_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<T>() })
    }
}

/// One scalar where that says enough, else the full form.
#[derive(Debug)]
pub enum Either<S, F> {
    Short(S),
    Full(F),
}

impl<'de, S: Deserialize<'de>, F: Deserialize<'de>> Deserialize<'de> for Either<S, F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(EITHER, EitherVisitor(PhantomData))
    }
}

struct EitherVisitor<S, F>(PhantomData<(S, F)>);

impl<'de, S: Deserialize<'de>, F: Deserialize<'de>> Visitor<'de> for EitherVisitor<S, F> {
    type Value = Either<S, F>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a short or a full form")
    }

    /// The reader calls this for a scalar.
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        S::deserialize(deserializer).map(Either::Short)
    }

    /// And this for all else.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        F::deserialize(deserializer).map(Either::Full)
    }
}

impl<S: JsonSchema, F: JsonSchema> JsonSchema for Either<S, F> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}_or_{}", S::schema_name(), F::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [generator.subschema_for::<S>(), generator.subschema_for::<F>()] })
    }
}

/// One value where one is enough, else a list of them.
#[derive(Debug)]
pub enum OneOrList<T> {
    One(T),
    List(List<T>),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrList<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(ONE_OR_LIST, OneOrListVisitor(PhantomData))
    }
}

struct OneOrListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrListVisitor<T> {
    type Value = OneOrList<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one or a list")
    }

    /// The reader calls this for a list.
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        List::deserialize(deserializer).map(OneOrList::List)
    }

    /// And this for all else.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        T::deserialize(deserializer).map(OneOrList::One)
    }
}

impl<T: JsonSchema> JsonSchema for OneOrList<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("One_or_list_of_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [generator.subschema_for::<T>(), generator.subschema_for::<List<T>>()] })
    }
}
