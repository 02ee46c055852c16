//! The file as a whole: its text, where its lines are, and what was found in it so far.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use toml::de::DeTable;

use super::environment::Environment;
use super::fault::Fault;
use super::files::NamedFile;

/// The file as a whole, and what was found in it so far.
pub(super) struct Document<'d> {
    text: &'d str,
    /// Relative paths in the file start here.
    pub(super) base: &'d Path,
    pub(super) environment: &'d Environment,
    pub(super) found: RefCell<Found>,
}

/// What reading a document brings to light.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) faults: Vec<Fault>,
    /// Files that the settings name, still to be looked at.
    pub(super) files: Vec<NamedFile>,
    /// Every key that was asked for, with `*` for a free name, and whether it was there.
    pub(super) keys: BTreeMap<String, bool>,
}

impl<'d> Document<'d> {
    pub(super) fn new(text: &'d str, base: &'d Path, environment: &'d Environment) -> Self {
        Self {
            text,
            base,
            environment,
            found: RefCell::default(),
        }
    }

    /// The line of a byte offset, from 1.
    pub(super) fn line_at(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset);
        1 + before.map_or(0, |bytes| {
            bytes.iter().filter(|byte| **byte == b'\n').count()
        })
    }

    /// Parses the text. Where its grammar is broken beyond a key given twice, what it means is
    /// anybody's guess: then there is no table, and only the faults of grammar are told.
    pub(super) fn table(&self) -> Option<DeTable<'d>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        let mut readable = true;
        for error in errors {
            let span = error.span().unwrap_or_default();
            let line = Some(self.line_at(span.start));
            if error.message() == "duplicate key" {
                let name = self.text.get(span).unwrap_or_default();
                self.fault(line, name.to_owned(), "is given twice");
            } else {
                readable = false;
                self.fault(line, String::new(), error.message());
            }
        }
        readable.then(|| table.into_inner())
    }

    pub(super) fn fault(&self, line: Option<usize>, key: String, message: impl Display) {
        // The texts of the TOML parser may hold line breaks; a fault is one line.
        let message = message.to_string().replace('\n', " ");
        self.found
            .borrow_mut()
            .faults
            .push(Fault { line, key, message });
    }

    pub(super) fn into_found(self) -> Found {
        self.found.into_inner()
    }
}
