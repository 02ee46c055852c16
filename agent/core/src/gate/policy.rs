//! Which images may be named at all.

use super::reference::Reference;

/// What is asked of the name of an image. A digest is always asked for: a tag can be moved, so what is
/// checked now need not be what is pulled later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Registries, each with the beginning of a path or without; empty: any.
    allowed: Vec<String>,
}

impl Policy {
    /// # Errors
    /// When an entry cannot be the beginning of the name of an image.
    pub fn new(allowed: &[String]) -> Result<Self, String> {
        let mut policy = Self::default();
        for entry in allowed {
            let entry = entry.trim().trim_end_matches('/');
            // What may follow it makes it a whole name.
            let probe: Result<Reference, _> = format!("{entry}/x/x").parse();
            match probe {
                Ok(name) if name.name() == format!("{entry}/x/x") => {
                    policy.allowed.push(entry.to_owned());
                }
                _ => {
                    return Err(format!(
                        "{entry:?} is no registry: that is HOST, HOST:PORT or HOST/PATH"
                    ));
                }
            }
        }
        Ok(policy)
    }

    /// Whether an image may be named so: why it passes, or why it does not.
    ///
    /// # Errors
    /// What is wrong with the name.
    pub fn judge(&self, image: &Reference) -> Result<String, String> {
        if image.digest.is_none() {
            return Err(
                "it is named by tag, not by digest: what is pulled later may be something else"
                    .to_owned(),
            );
        }
        if image.tag.as_deref() == Some("latest") {
            return Err("it has the tag `latest`, which says nothing of what it is".to_owned());
        }
        let name = image.name();
        let is_below = |entry: &&String| {
            let rest = name.strip_prefix(entry.as_str());
            rest.is_some_and(|rest| rest.starts_with('/') || rest.is_empty())
        };
        if self.allowed.is_empty() {
            return Ok("by digest".to_owned());
        }
        match self.allowed.iter().find(is_below) {
            Some(entry) => Ok(format!("by digest, from {entry}")),
            None => Err(format!(
                "it comes from {}, and only {} may be used",
                image.registry,
                self.allowed.join(", ")
            )),
        }
    }
}
