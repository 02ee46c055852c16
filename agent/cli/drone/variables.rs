//! The settings of a step as Drone hands them over: `PLUGIN_<NAME>`, one text each.

use std::collections::BTreeMap;
use std::path::Path;

/// What a setting that is set and empty means: Drone sets a variable to nothing when its secret does
/// not exist, and says nothing of it.
const EMPTY: &str = "is set and empty; if it comes from a secret, Drone has no secret of that name \
                     for this repository; otherwise leave it out";

/// Reads settings by name, and gathers what is wrong with them.
pub(super) struct Variables<'e> {
    settings: BTreeMap<String, &'e str>,
    build: BTreeMap<&'e str, &'e str>,
    known: Vec<&'static str>,
    pub(super) faults: Vec<String>,
}

impl<'e> Variables<'e> {
    pub(super) fn new(environment: &'e [(String, String)]) -> Self {
        let setting = |(name, value): &'e (String, String)| {
            let name = name.strip_prefix("PLUGIN_")?;
            Some((name.to_ascii_lowercase(), value.as_str()))
        };
        Self {
            settings: environment.iter().filter_map(setting).collect(),
            build: environment
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect(),
            known: Vec::new(),
            faults: Vec::new(),
        }
    }

    pub(super) fn fault(&mut self, name: &str, what: impl AsRef<str>) {
        self.faults.push(format!("{name}: {}", what.as_ref()));
    }

    /// A setting; one that is set and empty is a fault, and reads as absent.
    pub(super) fn text(&mut self, name: &'static str) -> Option<&'e str> {
        self.known.push(name);
        let value = self.settings.get(name).copied()?;
        if value.trim().is_empty() {
            self.fault(name, EMPTY);
            return None;
        }
        Some(value)
    }

    /// Whether a setting is there, empty or not.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.settings.contains_key(name)
    }

    /// A setting that must be there.
    pub(super) fn needed(&mut self, name: &'static str) -> Option<&'e str> {
        if !self.is_set(name) {
            self.known.push(name);
            self.fault(name, "is missing");
            return None;
        }
        self.text(name)
    }

    /// A list: Drone joins the items with commas.
    pub(super) fn list(&mut self, name: &'static str) -> Vec<&'e str> {
        let text = self.text(name).unwrap_or_default();
        items(text, ',')
    }

    /// The lines of a file that a setting names, without comments.
    pub(super) fn lines_of_file(&mut self, name: &'static str) -> Option<Vec<String>> {
        const MAX_BYTES: u64 = 256 * 1024;
        let path = self.text(name)?;
        match read_bounded(Path::new(path), MAX_BYTES) {
            Ok(text) => Some(
                items(&text, '\n')
                    .into_iter()
                    .filter(|line| !line.starts_with('#'))
                    .map(str::to_owned)
                    .collect(),
            ),
            Err(error) => {
                self.fault(name, format!("{path}: {error}"));
                None
            }
        }
    }

    /// A value out of a closed set.
    pub(super) fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let text = self.text(name)?;
        let chosen = choices.iter().find(|(word, _)| *word == text.trim());
        if chosen.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            self.fault(name, format!("is one of {}", words.join(", ")));
        }
        chosen.map(|(_, value)| *value)
    }

    /// A variable of the build, `None` when it is not set or empty.
    pub(super) fn build(&self, name: &str) -> Option<&'e str> {
        self.build
            .get(name)
            .copied()
            .filter(|value| !value.is_empty())
    }

    /// Settings that were not asked for: somebody meant something by them.
    pub(super) fn refuse_unknown(&mut self) {
        let unknown: Vec<String> = self
            .settings
            .keys()
            .filter(|name| !self.known.contains(&name.as_str()))
            .cloned()
            .collect();
        for name in unknown {
            let nearest = self
                .known
                .iter()
                .map(|known| (strsim::osa_distance(known, &name), *known))
                .min()
                .filter(|(distance, _)| *distance <= 3);
            let hint = nearest.map_or(String::new(), |(_, known)| {
                format!("; did you mean `{known}`?")
            });
            let shown: String = name.chars().take(64).collect();
            self.fault(&shown, format!("there is no such setting{hint}"));
        }
    }
}

fn items(text: &str, separator: char) -> Vec<&str> {
    text.split(separator)
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .collect()
}

/// Reads a text file, and not more of it than is sensible.
pub(super) fn read_bounded(path: &Path, limit: u64) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_string(&mut text)?;
    if text.len() as u64 > limit {
        return Err(std::io::Error::other(format!("larger than {limit} bytes")));
    }
    Ok(text)
}
