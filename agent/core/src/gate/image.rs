//! What a registry keeps of an image: its index, its manifests and its configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use super::digest::Digest;
use super::quoted;

/// The label that names the commit that an image was built from.
pub const REVISION_LABEL: &str = "org.opencontainers.image.revision";

/// The kinds of manifest that are understood, for the header `Accept`.
pub const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
                            application/vnd.oci.image.manifest.v1+json, \
                            application/vnd.docker.distribution.manifest.list.v2+json, \
                            application/vnd.docker.distribution.manifest.v2+json";

/// Annotations or labels.
pub type Labels = BTreeMap<String, String>;

/// What an image runs on: `os/architecture[/variant]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    #[serde(default)]
    pub variant: Option<String>,
}

impl Platform {
    /// Linux on a processor, by the name that Rust has for it.
    #[must_use]
    pub fn of_rust(architecture: &str) -> Self {
        let architecture = match architecture {
            "aarch64" => "arm64",
            "x86_64" => "amd64",
            "x86" => "386",
            other => other,
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: None,
        }
    }

    /// Whether what is made for `other` runs here. `arm64` and `arm64/v8` are the same.
    #[must_use]
    pub fn runs(&self, other: &Self) -> bool {
        let variant = |platform: &Self| {
            let named = platform.variant.clone().filter(|it| !it.is_empty());
            named.filter(|it| !(platform.architecture == "arm64" && it == "v8"))
        };
        self.os == other.os
            && self.architecture == other.architecture
            && (variant(self).is_none() || variant(self) == variant(other))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match self.variant.as_deref() {
            Some(variant) if !variant.is_empty() => write!(f, "/{variant}"),
            _ => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = String;

    /// `arm64`, `arm/v7` or `linux/arm64`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let sound =
            |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let (os, architecture, variant) = match parts.as_slice() {
            parts if !parts.iter().all(sound) => ("", "", None),
            [architecture] => ("linux", *architecture, None),
            ["linux", architecture] => ("linux", *architecture, None),
            ["linux", architecture, variant] => ("linux", *architecture, Some(*variant)),
            [architecture, variant] => ("linux", *architecture, Some(*variant)),
            _ => ("", "", None),
        };
        if architecture.is_empty() {
            return Err("an architecture is such as arm64, arm/v7 or amd64".to_owned());
        }
        Ok(Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        })
    }
}

/// A thing in a registry that another one names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub digest: Digest,
    pub platform: Option<Platform>,
    pub annotations: Labels,
}

/// What a digest or a tag in a registry stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manifest {
    /// One image for each of several platforms.
    Index {
        manifests: Vec<Descriptor>,
        annotations: Labels,
    },
    /// One image.
    Image {
        config: Descriptor,
        layers: Vec<Descriptor>,
        annotations: Labels,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest {
    schema_version: u32,
    manifests: Option<Vec<RawDescriptor>>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    annotations: Option<Labels>,
}

#[derive(Deserialize)]
struct RawDescriptor {
    digest: String,
    platform: Option<Platform>,
    annotations: Option<Labels>,
}

impl Manifest {
    /// # Errors
    /// When the bytes are no manifest of a kind that is in use.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let raw: RawManifest = serde_json::from_slice(bytes)
            .map_err(|error| format!("the registry's answer is no manifest: {error}"))?;
        if raw.schema_version != 2 {
            return Err(format!(
                "the manifest is of version {}, and only version 2 is understood",
                raw.schema_version
            ));
        }
        let annotations = raw.annotations.unwrap_or_default();
        // A document that can be read both ways is how one reader is shown another image than the
        // other.
        match (raw.manifests, raw.config, raw.layers) {
            (Some(manifests), None, None) => Ok(Self::Index {
                manifests: descriptors(manifests)?,
                annotations,
            }),
            (None, Some(config), layers) => Ok(Self::Image {
                config: descriptor(config)?,
                layers: descriptors(layers.unwrap_or_default())?,
                annotations,
            }),
            _ => Err("the registry's answer is neither an index nor an image, or both".to_owned()),
        }
    }
}

fn descriptors(raw: Vec<RawDescriptor>) -> Result<Vec<Descriptor>, String> {
    raw.into_iter().map(descriptor).collect()
}

fn descriptor(raw: RawDescriptor) -> Result<Descriptor, String> {
    let digest = raw.digest.parse();
    Ok(Descriptor {
        digest: digest
            .map_err(|error| format!("{:?} in the manifest: {error}", quoted(&raw.digest)))?,
        platform: raw.platform,
        annotations: raw.annotations.unwrap_or_default(),
    })
}

/// The image of an index for a platform.
///
/// # Errors
/// When it has none; what it has is told.
pub fn choose<'m>(
    manifests: &'m [Descriptor],
    wanted: &Platform,
) -> Result<&'m Descriptor, String> {
    let fits = |it: &&Descriptor| it.platform.as_ref().is_some_and(|own| wanted.runs(own));
    manifests.iter().find(fits).ok_or_else(|| {
        let named = manifests.iter().filter_map(|it| it.platform.as_ref());
        // What buildx keeps beside the images has the platform unknown/unknown.
        let known = named.filter(|it| it.os != "unknown");
        let known: Vec<String> = known.map(|it| quoted(&it.to_string())).collect();
        let offer = match known.is_empty() {
            true => "none".to_owned(),
            false => known.join(", "),
        };
        format!("there is none for {wanted}; there is {offer}")
    })
}

/// What an image is made for, and what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    pub platform: Platform,
    pub labels: Labels,
}

#[derive(Deserialize)]
struct RawConfig {
    #[serde(flatten)]
    platform: Platform,
    #[serde(default)]
    config: Option<RawInnerConfig>,
}

#[derive(Deserialize)]
struct RawInnerConfig {
    #[serde(rename = "Labels")]
    labels: Option<Labels>,
}

impl ImageConfig {
    /// # Errors
    /// When the bytes are no configuration of an image.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let raw: RawConfig = serde_json::from_slice(bytes)
            .map_err(|error| format!("the image's configuration cannot be read: {error}"))?;
        Ok(Self {
            platform: raw.platform,
            labels: raw.config.and_then(|it| it.labels).unwrap_or_default(),
        })
    }
}

/// The commit that an image says it was built from: its label, or else an annotation, that of the
/// image before that of the index.
#[must_use]
pub fn revision<'l>(labels: &'l Labels, annotations: &[&'l Labels]) -> Option<&'l str> {
    let sources = [labels].into_iter().chain(annotations.iter().copied());
    let mut named = sources.filter_map(|labels| labels.get(REVISION_LABEL));
    named.find(|value| !value.is_empty()).map(String::as_str)
}

/// Whether an image was built from a commit: what it says, or why not.
///
/// # Errors
/// That it says nothing, or names another commit.
pub fn judge_revision(said: Option<&str>, wanted: Option<&str>) -> Result<String, String> {
    match (said, wanted) {
        (None, _) => Err(format!(
            "it does not say from which commit it was built: it has no label {REVISION_LABEL}"
        )),
        (Some(said), Some(wanted)) if said == wanted => Ok(format!("built from {said}")),
        (Some(said), Some(wanted)) => Err(format!(
            "it was built from {}, and {wanted} is to be rolled out",
            quoted(said)
        )),
        (Some(said), None) if super::is_commit(said) => Ok(format!("built from {said}")),
        (Some(said), None) => Err(format!(
            "its label {REVISION_LABEL} is {:?}, which is no full commit",
            quoted(said)
        )),
    }
}
