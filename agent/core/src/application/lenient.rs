//! Reading JSON whose types are not to be relied on: a field of another type than expected counts
//! as absent, instead of making the whole object unreadable. Nothing is buffered on the way.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A value that reads as its default when the JSON has something else in its place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lenient<S>(pub(crate) S);

/// Optional text.
pub(crate) type Text = Lenient<Option<String>>;
/// Optional boolean.
pub(crate) type Flag = Lenient<Option<bool>>;
/// Optional whole number, not negative.
pub(crate) type Number = Lenient<Option<u64>>;
/// Optional object.
pub(crate) type Object<T> = Lenient<Option<Box<T>>>;
/// List of objects; other things in it are left out.
pub(crate) type Objects<T> = Lenient<Vec<Option<Box<T>>>>;
/// List of texts.
pub(crate) type Texts = Lenient<Vec<Option<String>>>;

impl<T: Default> Object<T> {
    /// The object, or one without any field.
    pub(crate) fn take(self) -> T {
        self.0.map(|inner| *inner).unwrap_or_default()
    }
}

impl<T> Objects<T> {
    /// The objects of the list.
    pub(crate) fn objects(self) -> impl DoubleEndedIterator<Item = T> {
        self.0.into_iter().flatten().map(|inner| *inner)
    }
}

impl Texts {
    /// The texts of the list.
    pub(crate) fn texts(self) -> impl DoubleEndedIterator<Item = String> {
        self.0.into_iter().flatten()
    }
}

/// What a type makes of each kind of JSON value; whatever it does not name gives the default.
pub(crate) trait Shape: Default {
    fn text(_: &str) -> Self {
        Self::default()
    }
    fn flag(_: bool) -> Self {
        Self::default()
    }
    fn number(_: u64) -> Self {
        Self::default()
    }
    fn list<'de, A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }
    fn object<'de, A: MapAccess<'de>>(mut entries: A) -> Result<Self, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }
}

impl Shape for Option<String> {
    fn text(text: &str) -> Self {
        Some(text.to_owned())
    }
}

impl Shape for Option<bool> {
    fn flag(flag: bool) -> Self {
        Some(flag)
    }
}

impl Shape for Option<u64> {
    fn number(number: u64) -> Self {
        Some(number)
    }
}

impl<T: for<'a> Deserialize<'a>> Shape for Option<Box<T>> {
    fn object<'de, A: MapAccess<'de>>(entries: A) -> Result<Self, A::Error> {
        T::deserialize(MapAccessDeserializer::new(entries)).map(|inner| Some(Box::new(inner)))
    }
}

impl<S: Shape> Shape for Vec<S> {
    fn list<'de, A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        let mut all = Self::new();
        while let Some(Lenient(item)) = items.next_element::<Lenient<S>>()? {
            all.push(item);
        }
        Ok(all)
    }
}

impl<'de, S: Shape> Deserialize<'de> for Lenient<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(AnyValue(PhantomData))
            .map(Lenient)
    }
}

struct AnyValue<S>(PhantomData<S>);

impl<'de, S: Shape> Visitor<'de> for AnyValue<S> {
    type Value = S;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }
    fn visit_bool<E>(self, flag: bool) -> Result<S, E> {
        Ok(S::flag(flag))
    }
    fn visit_u64<E>(self, number: u64) -> Result<S, E> {
        Ok(S::number(number))
    }
    fn visit_i64<E>(self, number: i64) -> Result<S, E> {
        Ok(u64::try_from(number).map_or_else(|_| S::default(), S::number))
    }
    fn visit_f64<E>(self, _: f64) -> Result<S, E> {
        Ok(S::default())
    }
    fn visit_str<E>(self, text: &str) -> Result<S, E> {
        Ok(S::text(text))
    }
    fn visit_unit<E>(self) -> Result<S, E> {
        Ok(S::default())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<S, A::Error> {
        S::list(items)
    }
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<S, A::Error> {
        S::object(entries)
    }
}
