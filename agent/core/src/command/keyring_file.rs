//! The file of a keyring: read by hand over the TOML tree, so that every fault is told at once.

use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use toml::value::Datetime;
use toml::{Table, Value};

use super::encoding::{is_identifier, shorten};
use super::envelope::MAX_SIGNATURES;
use super::key::{KEY_BYTES, is_published_test_key, public_from_base64};
use super::keyring::{Glob, Globs, Key, Keyring, MAX_KEYRING_BYTES, MAX_KEYS, Threshold};
use super::payload::COMMAND_NAMES;

mod roots;

/// Globs of one entry.
const MAX_GLOBS: usize = 64;
/// Characters of a glob: a namespace, a `/`, a name.
const MAX_GLOB_BYTES: usize = 507;
/// Thresholds of a keyring.
const MAX_THRESHOLDS: usize = 64;
/// The commands that concern no application.
const NODE_COMMANDS: [&str; 2] = ["identify", "ping"];

pub(super) fn read(text: &str, allow_test_keys: bool) -> Result<Keyring, Vec<String>> {
    if text.len() > MAX_KEYRING_BYTES {
        return Err(vec![format!(
            "the keyring has {} bytes; it may have {MAX_KEYRING_BYTES}",
            text.len()
        )]);
    }
    let table: Table = toml::from_str(text)
        .map_err(|error| vec![format!("not TOML: {}", error.to_string().trim_end())])?;
    let mut reader = Reader {
        faults: Vec::new(),
        allow_test_keys,
    };
    let keyring = reader.keyring(&table);
    if reader.faults.is_empty() {
        Ok(keyring)
    } else {
        Err(reader.faults)
    }
}

struct Reader {
    faults: Vec<String>,
    allow_test_keys: bool,
}

impl Reader {
    fn fault(&mut self, place: &str, what: impl AsRef<str>) {
        self.faults.push(format!("{place}: {}", what.as_ref()));
    }

    fn keyring(&mut self, table: &Table) -> Keyring {
        let known = ["version", "root_threshold", "root", "key", "threshold"];
        self.unknown_fields("keyring", table, &known);
        let mut keyring = Keyring::empty();
        self.roots(table, &mut keyring);
        for (place, entry) in self.entries(table, "key", MAX_KEYS) {
            if let Some(key) = self.key(&place, &entry) {
                self.duplicates(&place, &key, &keyring);
                keyring.keys.push(key);
            }
        }
        for (place, entry) in self.entries(table, "threshold", MAX_THRESHOLDS) {
            if let Some(threshold) = self.threshold(&place, &entry, &keyring.keys) {
                keyring.thresholds.push(threshold);
            }
        }
        keyring
    }

    /// The tables of `[[name]]`, each with what to call it in a fault.
    fn entries(&mut self, table: &Table, name: &str, limit: usize) -> Vec<(String, Table)> {
        let array = match table.get(name) {
            None => return Vec::new(),
            Some(Value::Array(array)) => array,
            Some(_) => {
                self.fault(
                    "keyring",
                    format!("`{name}` must be written as `[[{name}]]`"),
                );
                return Vec::new();
            }
        };
        if array.len() > limit {
            self.fault(
                "keyring",
                format!("{} entries `[[{name}]]`; there may be {limit}", array.len()),
            );
            return Vec::new();
        }
        let mut entries = Vec::new();
        for (index, value) in array.iter().enumerate() {
            let number = index + 1;
            match value {
                Value::Table(entry) => {
                    let label = entry.get("id").or_else(|| entry.get("cmd"));
                    let place = match label.and_then(Value::as_str) {
                        Some(label) => format!("{name} {number} (`{}`)", shorten(label, 64)),
                        None => format!("{name} {number}"),
                    };
                    entries.push((place, entry.clone()));
                }
                _ => self.fault(&format!("{name} {number}"), "must be a table"),
            }
        }
        entries
    }

    fn key(&mut self, place: &str, entry: &Table) -> Option<Key> {
        let known = ["id", "public", "allow", "applications", "not_after"];
        self.unknown_fields(place, entry, &known);
        let id = self.id(place, entry);
        let public = self.public(place, entry);
        let allow = self.allow(place, entry);
        let applications = self.globs(place, entry);
        let valid_until = self.valid_until(place, entry);
        let allow = allow?;
        let concerns_applications = allow.iter().any(|cmd| !NODE_COMMANDS.contains(cmd));
        if concerns_applications && !entry.contains_key("applications") {
            self.fault(
                place,
                "`applications` is missing; write `applications = [\"*\"]` if it means all",
            );
        }
        Some(Key {
            id: id?,
            public: public?,
            allow,
            applications: applications?,
            valid_until: valid_until?,
        })
    }

    fn id(&mut self, place: &str, entry: &Table) -> Option<String> {
        let id = self.text(place, entry, "id")?;
        if !is_identifier(id) {
            self.fault(
                place,
                "`id` has 1 to 64 characters out of A-Z a-z 0-9 . _ -",
            );
            return None;
        }
        Some(id.to_owned())
    }

    fn public(&mut self, place: &str, entry: &Table) -> Option<[u8; KEY_BYTES]> {
        let public = match public_from_base64(self.text(place, entry, "public")?) {
            Ok(public) => public,
            Err(fault) => {
                self.fault(place, format!("`public`: {fault}"));
                return None;
            }
        };
        if is_published_test_key(&public) && !self.allow_test_keys {
            self.fault(
                place,
                "`public` is an example key of RFC 8032, whose private half is printed there; make \
                 a key with `edge-agent keygen`",
            );
            return None;
        }
        Some(public)
    }

    fn allow(&mut self, place: &str, entry: &Table) -> Option<Vec<&'static str>> {
        let names = self.texts(place, entry, "allow")?;
        if names.is_empty() {
            self.fault(
                place,
                format!(
                    "`allow` names no command; there are {}",
                    COMMAND_NAMES.join(", ")
                ),
            );
        }
        let mut allow = Vec::new();
        for name in names {
            if let Some(cmd) = self.command_name(place, "allow", name) {
                if allow.contains(&cmd) {
                    self.fault(place, format!("`allow` names `{cmd}` twice"));
                }
                allow.push(cmd);
            }
        }
        Some(allow)
    }

    fn command_name(&mut self, place: &str, field: &str, name: &str) -> Option<&'static str> {
        let known = COMMAND_NAMES.into_iter().find(|known| *known == name);
        if known.is_none() {
            self.fault(
                place,
                format!(
                    "`{field}` names `{}`, which is no command; there are {}",
                    shorten(name, 40),
                    COMMAND_NAMES.join(", ")
                ),
            );
        }
        known
    }

    /// The globs of `applications`; none when the field is missing.
    fn globs(&mut self, place: &str, entry: &Table) -> Option<Globs> {
        if !entry.contains_key("applications") {
            return Some(Globs::default());
        }
        let texts = self.texts(place, entry, "applications")?;
        if texts.len() > MAX_GLOBS {
            self.fault(
                place,
                format!("`applications` has at most {MAX_GLOBS} globs"),
            );
            return None;
        }
        for text in &texts {
            let fits = (1..=MAX_GLOB_BYTES).contains(&text.len())
                && text.matches('/').count() <= 1
                && text.bytes().all(|byte| {
                    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-./*?".contains(&byte)
                });
            if !fits {
                self.fault(
                    place,
                    format!(
                        "`applications` has `{}`, which no application can match; a glob is over \
                         `name` or `namespace/name`, in lower-case letters, digits, - and ., with * \
                         for any text and ? for one character",
                        shorten(text, 64)
                    ),
                );
            }
        }
        Some(Globs(texts.into_iter().map(Glob::new).collect()))
    }

    fn valid_until(&mut self, place: &str, entry: &Table) -> Option<Option<Timestamp>> {
        let moment = match entry.get("not_after") {
            None => return Some(None),
            Some(Value::Datetime(moment)) => end_of(moment),
            Some(_) => None,
        };
        if moment.is_none() {
            self.fault(
                place,
                "`not_after` is a date, such as 2027-12-31, or a date and time, both without quotes",
            );
        }
        moment.map(Some)
    }

    fn threshold(&mut self, place: &str, entry: &Table, keys: &[Key]) -> Option<Threshold> {
        self.unknown_fields(place, entry, &["cmd", "applications", "signatures"]);
        let name = self.text(place, entry, "cmd");
        let cmd = name.and_then(|name| self.command_name(place, "cmd", name));
        let applications = if entry.contains_key("applications") {
            self.globs(place, entry)
        } else {
            Some(Globs(vec![Glob::new("*")]))
        };
        let signatures = entry
            .get("signatures")
            .and_then(Value::as_integer)
            .and_then(|number| usize::try_from(number).ok())
            .filter(|number| (1..=MAX_SIGNATURES).contains(number));
        if signatures.is_none() {
            self.fault(
                place,
                format!("`signatures` is a number from 1 to {MAX_SIGNATURES}"),
            );
        }
        let (cmd, signatures) = (cmd?, signatures?);
        let able = keys.iter().filter(|key| key.allow.contains(&cmd)).count();
        if able < signatures {
            self.fault(
                place,
                format!(
                    "asks for {signatures} signatures, but {able} of the keys may order `{cmd}`, so \
                     it can never be met"
                ),
            );
        }
        Some(Threshold {
            cmd,
            applications: applications?,
            signatures,
        })
    }

    fn text<'t>(&mut self, place: &str, entry: &'t Table, field: &str) -> Option<&'t str> {
        let text = entry.get(field).and_then(Value::as_str);
        if text.is_none() {
            self.fault(place, missing_or_wrong(entry, field, "a text"));
        }
        text
    }

    fn texts<'t>(&mut self, place: &str, entry: &'t Table, field: &str) -> Option<Vec<&'t str>> {
        let texts = entry
            .get(field)
            .and_then(Value::as_array)
            .and_then(|array| array.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        if texts.is_none() {
            self.fault(place, missing_or_wrong(entry, field, "a list of texts"));
        }
        texts
    }

    fn unknown_fields(&mut self, place: &str, entry: &Table, known: &[&str]) {
        for field in entry
            .keys()
            .filter(|field| !known.contains(&field.as_str()))
        {
            self.fault(
                place,
                format!(
                    "unknown field `{}`; there are {}",
                    shorten(field, 64),
                    known.join(", ")
                ),
            );
        }
    }
}

fn missing_or_wrong(entry: &Table, field: &str, kind: &str) -> String {
    if entry.contains_key(field) {
        format!("`{field}` must be {kind}")
    } else {
        format!("`{field}` is missing")
    }
}

/// The first moment after what is meant: a date means its whole day, UTC; a date and time means
/// that moment, UTC unless it has an offset.
fn end_of(moment: &Datetime) -> Option<Timestamp> {
    let date = moment.date?;
    let date = civil::Date::new(
        i16::try_from(date.year).ok()?,
        i8::try_from(date.month).ok()?,
        i8::try_from(date.day).ok()?,
    )
    .ok()?;
    let in_utc = |at: civil::DateTime| Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp());
    match (moment.time, moment.offset) {
        (None, _) => in_utc(date.checked_add(1.day()).ok()?.at(0, 0, 0, 0)),
        (Some(_), Some(_)) => moment.to_string().parse().ok(),
        (Some(_), None) => in_utc(moment.to_string().parse().ok()?),
    }
}
