//! What a payload that cannot be obeyed says of itself, so that it can be answered all the same.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::encoding::is_identifier;
use super::payload::is_application;

/// Each only when it is there, the only one of its name, and fit to be shown.
#[derive(Default)]
pub(super) struct Label {
    pub(super) id: Option<String>,
    pub(super) cmd: Option<String>,
    pub(super) application: Option<String>,
}

impl Label {
    pub(super) fn of(payload: &[u8]) -> Self {
        let raw = serde_json::from_slice::<RawLabel>(payload).unwrap_or_default();
        let application = raw.args.0.and_then(|arguments| arguments.application.0);
        Self {
            id: raw.id.0.filter(|id| is_identifier(id)),
            cmd: raw.cmd.0.filter(|cmd| is_identifier(cmd)),
            application: application.filter(|application| is_application(application)),
        }
    }
}

/// Fields of another type than expected read as absent; a field that comes twice leaves all unread.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RawLabel {
    id: Lenient<String>,
    cmd: Lenient<String>,
    args: Lenient<ArgumentsLabel>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ArgumentsLabel {
    application: Lenient<String>,
}

/// A value of the wanted kind, or nothing, whatever stands there.
#[derive(Default)]
struct Lenient<T>(Option<T>);

impl<'de, T: FromToken> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(LenientVisitor(PhantomData))
            .map(Self)
    }
}

trait FromToken: Sized {
    fn from_str(_text: &str) -> Option<Self> {
        None
    }

    fn from_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<Option<Self>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

impl FromToken for String {
    fn from_str(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl FromToken for ArgumentsLabel {
    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Option<Self>, A::Error> {
        Self::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
}

struct LenientVisitor<T>(PhantomData<T>);

impl<'de, T: FromToken> Visitor<'de> for LenientVisitor<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(T::from_str(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::from_map(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }
}
