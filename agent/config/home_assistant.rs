//! `[home_assistant]`: whether Home Assistant is told of the node. Without the table it is told nothing.

use super::default;
use super::section::Section;

/// How Home Assistant is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeAssistant {
    /// If not, what was told before is withdrawn.
    pub discovery: bool,
    /// The first part of the topics.
    pub prefix: String,
    /// One message for each entity, for versions before 2024.12.
    pub single_component: bool,
}

/// Reads the table, if it is there.
pub(super) fn read(root: &mut Section<'_>) -> Option<HomeAssistant> {
    let is_there = root.line_of("home_assistant").is_some();
    let mut section = root.section("home_assistant");
    let settings = HomeAssistant {
        discovery: section.boolean("discovery", true),
        prefix: prefix(&mut section),
        single_component: section.boolean("single_component", false),
    };
    section.finish();
    is_there.then_some(settings)
}

fn prefix(section: &mut Section<'_>) -> String {
    let name = "prefix";
    let Some(text) = section.text(name) else {
        return default::DISCOVERY_PREFIX.to_owned();
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_level = |level: &str| !level.is_empty() && level.chars().all(allowed);
    if text.value.len() > 64 || !text.value.split('/').all(is_level) {
        let message = format!(
            "{:?} is not the beginning of a topic, such as homeassistant",
            text.value
        );
        section.fault(Some(text.line), name, message);
    }
    text.value.to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Config, Environment};

    fn parse(text: &str) -> Result<Config, String> {
        let text = format!("node = \"pi-01\"\nstate_directory = \"/s\"\n{text}");
        let parsed = Config::parse(&text, Path::new("agent.toml"), &Environment::default());
        parsed.map_err(|faults| faults.to_string())
    }

    #[test]
    fn home_assistant_is_told_only_when_the_table_is_there() {
        assert_eq!(parse("").unwrap().home_assistant, None);
        let on = parse("[home_assistant]").unwrap().home_assistant.unwrap();
        assert!(on.discovery && !on.single_component);
        assert_eq!(on.prefix, "homeassistant");
        let text = "[home_assistant]\ndiscovery = false\nprefix = \"ha/x\"\nsingle_component = true\n\
                    [commands]\nallow_unsigned = [\"identify\"]\n[http]\nmetrics_listen = \"[::]:9751\"";
        let config = parse(text).unwrap();
        let off = config.home_assistant.clone().unwrap();
        assert!(!off.discovery && off.single_component && off.prefix == "ha/x");
        let printed = config.to_toml();
        let again = Config::parse(&printed, Path::new("x"), &Environment::default());
        assert_eq!(again.unwrap(), config, "{printed}");
    }

    #[test]
    fn faults_are_told() {
        for (text, wanted) in [
            (
                "[home_assistant]\nprefix = \"ha/+\"",
                "is not the beginning",
            ),
            ("[home_assistant]\nprefix = \"/\"", "is not the beginning"),
            (
                "[commands]\nallow_unsigned = [\"identify\", \"rollback\"]",
                "\"rollback\" always needs a signature; only identify can do without",
            ),
            (
                "[http]\nmetrics_listen = \"127.0.0.1:9750\"",
                "is the address of http.listen",
            ),
            ("[http]\nmetrics_listen = \"9751\"", "must be ADDRESS:PORT"),
        ] {
            let told = parse(text).unwrap_err();
            assert!(told.contains(wanted), "{text}: {told}");
            assert_eq!(told.lines().count(), 1, "{told}");
        }
    }
}
