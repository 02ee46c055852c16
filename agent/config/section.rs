//! Reads one table of the file key by key: what is asked for is known, what is left over is not.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::Document;
use super::environment::Environment;
use super::files::{NamedFile, Purpose};
use super::key::{dotted, joined, unknown};

/// A value with the line that it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) line: usize,
}

/// One table of the document; an absent one reads as empty.
pub(super) struct Section<'d> {
    document: &'d Document<'d>,
    path: String,
    /// The path with `*` for each free name.
    pattern: String,
    table: Option<&'d DeTable<'d>>,
    /// The line of the table's name.
    line: Option<usize>,
    asked: Vec<&'static str>,
}

/// A key that was found.
struct Entry<'d> {
    line: usize,
    value: &'d DeValue<'d>,
}

impl<'d> Section<'d> {
    /// The outermost table.
    pub(super) fn root(document: &'d Document<'d>, table: &'d DeTable<'d>) -> Self {
        Self {
            document,
            path: String::new(),
            pattern: String::new(),
            table: Some(table),
            line: None,
            asked: Vec::new(),
        }
    }

    pub(super) fn environment(&self) -> &'d Environment {
        self.document.environment
    }

    /// Reports a fault of a key, on the given line or else that of this table.
    pub(super) fn fault(&self, line: Option<usize>, name: &str, message: impl Display) {
        let key = joined(&self.path, name);
        self.document.fault(line.or(self.line), key, message);
    }

    /// The line of a key of this table, if it is there.
    pub(super) fn line_of(&self, name: &str) -> Option<usize> {
        let (key, _) = self.pair(name)?;
        Some(self.document.line_at(key.span().start))
    }

    fn pair(&self, name: &str) -> Option<(&'d Spanned<toml::de::DeString<'d>>, &'d DeValue<'d>)> {
        let table: &'d DeTable<'d> = self.table?;
        table
            .iter()
            .find(|(key, _)| key.get_ref() == name)
            .map(|(key, value)| (key, value.get_ref()))
    }

    fn entry(&mut self, name: &'static str) -> Option<Entry<'d>> {
        self.asked.push(name);
        let found = self.pair(name).map(|(key, value)| Entry {
            line: self.document.line_at(key.span().start),
            value,
        });
        let pattern = dotted(&self.pattern, name);
        let mut record = self.document.found.borrow_mut();
        *record.keys.entry(pattern).or_default() |= found.is_some();
        found
    }

    fn wrong_type(&self, name: &str, entry: &Entry<'_>, wanted: &str) {
        let got = with_article(entry.value.type_str());
        self.fault(
            Some(entry.line),
            name,
            format!("must be {wanted}, not {got}"),
        );
    }

    /// A table below this one.
    pub(super) fn section(&mut self, name: &'static str) -> Section<'d> {
        self.asked.push(name);
        self.below(name, name)
    }

    /// A table below this one whose name the user chose.
    pub(super) fn named_section(&self, name: &str) -> Section<'d> {
        self.below(name, "*")
    }

    fn below(&self, name: &str, pattern: &str) -> Section<'d> {
        let mut section = Section {
            document: self.document,
            path: joined(&self.path, name),
            pattern: dotted(&self.pattern, pattern),
            table: None,
            line: self.line_of(name),
            asked: Vec::new(),
        };
        match self.pair(name) {
            Some((_, DeValue::Table(table))) => section.table = Some(table),
            Some((_, other)) => {
                let got = with_article(other.type_str());
                self.fault(section.line, name, format!("must be a table, not {got}"));
            }
            None => {}
        }
        section
    }

    /// The names that the user chose in this table, in the order of the file.
    pub(super) fn names(&self) -> Vec<&'d str> {
        let mut names: Vec<_> = self
            .table
            .into_iter()
            .flatten()
            .map(|(key, _)| (key.span().start, key.get_ref().as_ref()))
            .collect();
        names.sort_unstable();
        names.into_iter().map(|(_, name)| name).collect()
    }

    /// A whole number within a range.
    pub(super) fn integer<T>(
        &mut self,
        name: &'static str,
        range: RangeInclusive<T>,
        default: T,
    ) -> T
    where
        T: TryFrom<i128> + PartialOrd + Copy + Display,
    {
        self.required_integer(name, range).unwrap_or(default)
    }

    /// A whole number within a range; `None` when it is absent or wrong.
    pub(super) fn required_integer<T>(
        &mut self,
        name: &'static str,
        range: RangeInclusive<T>,
    ) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + Copy + Display,
    {
        let entry = self.entry(name)?;
        let Some(integer) = entry.value.as_integer() else {
            self.wrong_type(name, &entry, "an integer");
            return None;
        };
        let value = i128::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .and_then(|wide| T::try_from(wide).ok())
            .filter(|value| range.contains(value));
        if value.is_none() {
            self.out_of_range(name, entry.line, integer, &range);
        }
        value
    }

    /// A number within a range; whole numbers will do.
    pub(super) fn number(
        &mut self,
        name: &'static str,
        range: RangeInclusive<f64>,
        default: f64,
    ) -> f64 {
        let Some(entry) = self.entry(name) else {
            return default;
        };
        let text = match entry.value {
            DeValue::Float(float) => float.as_str(),
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
            _ => {
                self.wrong_type(name, &entry, "a number");
                return default;
            }
        };
        let value = text.parse().ok().filter(|value| range.contains(value));
        if value.is_none() {
            self.out_of_range(name, entry.line, text, &range);
        }
        value.unwrap_or(default)
    }

    fn out_of_range<T: Display>(
        &self,
        name: &str,
        line: usize,
        value: impl Display,
        range: &RangeInclusive<T>,
    ) {
        let (low, high) = (range.start(), range.end());
        let message = format!("{value} is out of range; allowed is {low} to {high}");
        self.fault(Some(line), name, message);
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, name: &'static str, default: bool) -> bool {
        let Some(entry) = self.entry(name) else {
            return default;
        };
        entry.value.as_bool().unwrap_or_else(|| {
            self.wrong_type(name, &entry, "true or false");
            default
        })
    }

    /// A string, empty or not.
    pub(super) fn string(&mut self, name: &'static str) -> Option<Located<&'d str>> {
        let entry = self.entry(name)?;
        let Some(value) = entry.value.as_str() else {
            self.wrong_type(name, &entry, "a string");
            return None;
        };
        Some(Located {
            value,
            line: entry.line,
        })
    }

    /// A string that says something.
    pub(super) fn text(&mut self, name: &'static str) -> Option<Located<&'d str>> {
        let text = self.string(name)?;
        if text.value.is_empty() {
            let message = "is empty; leave the key out to have the default";
            self.fault(Some(text.line), name, message);
            return None;
        }
        Some(text)
    }

    /// A list of strings, each on its line.
    pub(super) fn strings(&mut self, name: &'static str) -> Option<Vec<Located<&'d str>>> {
        let entry = self.entry(name)?;
        let Some(array) = entry.value.as_array() else {
            self.wrong_type(name, &entry, "a list of strings");
            return None;
        };
        let mut strings = Vec::new();
        for item in array.iter() {
            let line = self.document.line_at(item.span().start);
            if let Some(value) = item.get_ref().as_str() {
                strings.push(Located { value, line });
            } else {
                let got = with_article(item.get_ref().type_str());
                let message = format!("must hold strings only, not {got}");
                self.fault(Some(line), name, message);
            }
        }
        Some(strings)
    }

    /// A path; a relative one starts at the directory of the file.
    pub(super) fn path(&mut self, name: &'static str) -> Option<PathBuf> {
        let text = self.text(name)?;
        Some(self.document.base.join(text.value))
    }

    /// A file to be read later; noted, so that it can be looked at.
    pub(super) fn file(&mut self, name: &'static str, purpose: Purpose) -> Option<PathBuf> {
        let text = self.text(name)?;
        let path = match text.value.strip_prefix("credential:") {
            Some(credential) => self.credential(name, text.line, credential)?,
            None => self.document.base.join(text.value),
        };
        self.note_file(name, path.clone(), purpose);
        Some(path)
    }

    /// Notes a path of the settings that is to be looked at.
    pub(super) fn note_file(&self, name: &str, path: PathBuf, purpose: Purpose) {
        self.document.found.borrow_mut().files.push(NamedFile {
            line: self.line_of(name),
            key: joined(&self.path, name),
            path,
            purpose,
        });
    }

    fn credential(&self, name: &str, line: usize, credential: &str) -> Option<PathBuf> {
        if credential.is_empty() || credential.contains('/') || credential.starts_with('.') {
            let message = "a credential is named credential:NAME, without a directory";
            self.fault(Some(line), name, message);
            return None;
        }
        let Some(directory) = &self.document.environment.credentials_directory else {
            let message = format!(
                "credential {credential:?} comes from systemd, but CREDENTIALS_DIRECTORY is not set; \
                 give the unit LoadCredential={credential}:FILE, or set the variable to check by hand"
            );
            self.fault(Some(line), name, message);
            return None;
        };
        Some(directory.join(credential))
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self) {
        for name in self.names() {
            if !self.asked.contains(&name) {
                let message = unknown(name, &self.asked);
                self.fault(self.line_of(name), name, message);
            }
        }
    }
}

fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {kind}")
}
