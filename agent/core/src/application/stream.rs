//! What the API server says about many Applications: pages of a list, and lines of a watch.

use serde::Deserialize;

use super::lenient::{Object, Objects, Text};
use super::raw::RawObject;
use super::{Application, ApplicationKey, MAX_OBJECT_BYTES, ParseError};

/// One page of a list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    pub applications: Vec<Application>,
    /// Objects that have no name and so could not be read.
    pub unreadable: usize,
    /// What to ask for the next page with; `None` on the last one.
    pub next: Option<String>,
    /// Where a watch is to start.
    pub resource_version: String,
}

impl Page {
    /// Reads the answer to a list.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ParseError> {
        let raw: RawPage = serde_json::from_slice(bytes)?;
        let metadata = raw.metadata.take();
        let mut page = Self {
            next: metadata.next.0.filter(|text| !text.is_empty()),
            resource_version: metadata.resource_version.0.unwrap_or_default(),
            ..Self::default()
        };
        for item in raw.items.objects() {
            match item.application() {
                Ok(application) => page.applications.push(application),
                Err(_) => page.unreadable += 1,
            }
        }
        Ok(page)
    }
}

/// One line of a watch.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// New or changed.
    Applied(Box<Application>),
    /// Gone, and the version at which it went.
    Deleted(ApplicationKey, String),
    /// Nothing but how far the watch has come.
    Bookmark(String),
    /// The watch cannot go on.
    Failed {
        /// HTTP status; 410 asks for a new list.
        code: u64,
        message: String,
    },
    /// A kind of line that this version does not know, or an object without a name.
    Unreadable,
}

impl Change {
    /// Reads one line of a watch.
    ///
    /// # Errors
    /// When it is larger than [`MAX_OBJECT_BYTES`] or not JSON.
    pub fn from_json(line: &[u8]) -> Result<Self, ParseError> {
        if line.len() > MAX_OBJECT_BYTES {
            return Err(ParseError::TooLarge(line.len()));
        }
        let raw: RawLine = serde_json::from_slice(line)?;
        let object = raw.object.take();
        Ok(match raw.kind.0.as_deref() {
            Some("ADDED" | "MODIFIED") => object
                .application()
                .map_or(Self::Unreadable, |found| Self::Applied(Box::new(found))),
            Some("DELETED") => match object.key() {
                Ok(key) => Self::Deleted(key, version(object)),
                Err(_) => Self::Unreadable,
            },
            Some("BOOKMARK") => Self::Bookmark(version(object)),
            Some("ERROR") => Self::Failed {
                code: object.code.0.unwrap_or(0),
                message: object.message.0.unwrap_or_default(),
            },
            _ => Self::Unreadable,
        })
    }
}

fn version(object: RawObject) -> String {
    object
        .metadata
        .take()
        .resource_version
        .0
        .unwrap_or_default()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawPage {
    metadata: Object<PageMetadata>,
    items: Objects<RawObject>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMetadata {
    resource_version: Text,
    #[serde(rename = "continue")]
    next: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawLine {
    #[serde(rename = "type")]
    kind: Text,
    object: Object<RawObject>,
}
