//! Time as the core sees it: a value that is handed in.

use std::time::Duration;

use jiff::{Timestamp, Unit};

/// One reading of the clocks, taken by the shell and handed to the core with every event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Wall time. May be wrong until `synchronized`, and may step in either direction.
    pub wall: Timestamp,
    /// Time since an arbitrary start, never stepping; the ground for every waiting time.
    pub monotonic: Duration,
    /// Whether the system says that its wall clock has been synchronized since boot.
    pub synchronized: bool,
}

impl Now {
    /// Wall time in whole seconds since 1970.
    #[must_use]
    pub fn unix_seconds(&self) -> i64 {
        self.wall.as_second()
    }
}

/// Formats a timestamp the one way the payloads have it: RFC 3339, UTC, milliseconds.
#[must_use]
pub fn format_timestamp(at: Timestamp) -> String {
    let rounded = at.round(Unit::Millisecond).unwrap_or(at);
    format!("{rounded:.3}")
}

/// `#[serde(with = "millis")]` for a [`Timestamp`] in the form of [`format_timestamp`].
pub mod millis {
    use super::{Timestamp, format_timestamp};
    use serde::{Deserialize, Deserializer, Serializer};

    /// # Errors
    /// Only what the serializer itself reports.
    pub fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_timestamp(*at))
    }

    /// # Errors
    /// When the text is not an RFC 3339 timestamp.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }

    /// The same for an optional timestamp; `None` is `null`.
    pub mod option {
        use super::{Deserialize, Deserializer, Serializer, Timestamp, format_timestamp};

        /// # Errors
        /// Only what the serializer itself reports.
        pub fn serialize<S: Serializer>(
            at: &Option<Timestamp>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match at {
                Some(at) => serializer.serialize_some(&format_timestamp(*at)),
                None => serializer.serialize_none(),
            }
        }

        /// # Errors
        /// When the text is not an RFC 3339 timestamp.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Timestamp>, D::Error> {
            Option::<std::borrow::Cow<'de, str>>::deserialize(deserializer)?
                .map(|text| text.parse().map_err(serde::de::Error::custom))
                .transpose()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_have_three_decimals_and_a_z() {
        let whole: Timestamp = "2026-11-24T20:31:28Z".parse().unwrap();
        assert_eq!(format_timestamp(whole), "2026-11-24T20:31:28.000Z");
        let fine: Timestamp = "2026-11-24T20:31:28.123987Z".parse().unwrap();
        assert_eq!(format_timestamp(fine), "2026-11-24T20:31:28.124Z");
    }
}
