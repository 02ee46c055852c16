//! Who is told of what the node does by itself: one table each.

use std::collections::BTreeMap;
use std::path::PathBuf;

use edge_agent_core::notice::NoticeKind;

use super::files::Purpose;
use super::section::Section;

/// One receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    pub kind: NotifyKind,
    /// Holds the address, which is a secret.
    pub url_file: PathBuf,
    /// Holds a token, for ntfy and JSON.
    pub token_file: Option<PathBuf>,
    /// CA certificates beside those of the system, PEM.
    pub ca_file: Option<PathBuf>,
    pub on: Vec<NoticeKind>,
}

/// What the receiver takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifyKind {
    Slack,
    Ntfy,
    Json,
}

impl NotifyKind {
    const ALL: [Self; 3] = [Self::Slack, Self::Ntfy, Self::Json];

    /// The name in the settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::Ntfy => "ntfy",
            Self::Json => "json",
        }
    }
}

/// What is told when the settings do not choose: what no pipeline tells.
const DEFAULT_ON: [NoticeKind; 3] = [
    NoticeKind::RolledBack,
    NoticeKind::GateFailed,
    NoticeKind::DeployFailed,
];

pub(super) fn receivers(section: &Section<'_>) -> BTreeMap<String, Notify> {
    let mut receivers = BTreeMap::new();
    for name in section.names() {
        let mut table = section.named_section(name);
        let receiver = receiver(&mut table);
        table.finish();
        receivers.extend(receiver.map(|it| (name.to_owned(), it)));
    }
    receivers
}

fn receiver(table: &mut Section<'_>) -> Option<Notify> {
    let kind = kind(table);
    let url_file = table.file("url_file", Purpose::Secret);
    if table.line_of("url_file").is_none() {
        let message = "is missing; it names the file that holds the address, which is a secret";
        table.fault(None, "url_file", message);
    }
    let token_file = table.file("token_file", Purpose::Secret);
    if kind == Some(NotifyKind::Slack) && token_file.is_some() {
        let message = "is not for kind = \"slack\", whose address is its secret";
        table.fault(table.line_of("token_file"), "token_file", message);
    }
    let ca_file = table.file("ca_file", Purpose::Public);
    let on = on(table);
    Some(Notify {
        kind: kind?,
        url_file: url_file?,
        token_file,
        ca_file,
        on,
    })
}

fn kind(table: &mut Section<'_>) -> Option<NotifyKind> {
    let known = NotifyKind::ALL.map(NotifyKind::as_str).join(", ");
    let Some(text) = table.text("kind") else {
        if table.line_of("kind").is_none() {
            table.fault(None, "kind", format!("is missing; it is one of {known}"));
        }
        return None;
    };
    let mut kinds = NotifyKind::ALL.into_iter();
    let kind = kinds.find(|kind| kind.as_str() == text.value);
    if kind.is_none() {
        let message = format!("{:?} is not one of {known}", text.value);
        table.fault(Some(text.line), "kind", message);
    }
    kind
}

fn on(table: &mut Section<'_>) -> Vec<NoticeKind> {
    let Some(listed) = table.strings("on") else {
        return DEFAULT_ON.to_vec();
    };
    let known = NoticeKind::ALL.map(NoticeKind::as_str).join(", ");
    if listed.is_empty() {
        let message = format!("is empty, so nothing would be told; there are {known}");
        table.fault(table.line_of("on"), "on", message);
    }
    let mut on = Vec::new();
    for word in listed {
        let mut kinds = NoticeKind::ALL.into_iter();
        match kinds.find(|kind| kind.as_str() == word.value) {
            Some(kind) if !on.contains(&kind) => on.push(kind),
            Some(_) => {
                let message = format!("{:?} is listed twice", word.value);
                table.fault(Some(word.line), "on", message);
            }
            None => {
                let message = format!("{:?} is not one of {known}", word.value);
                table.fault(Some(word.line), "on", message);
            }
        }
    }
    on
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Environment};

    fn parse(table: &str) -> Result<Config, String> {
        let text = format!("node = \"pi-01\"\nstate_directory = \"/s\"\n{table}");
        let parsed = Config::parse(&text, Path::new("/etc/agent.toml"), &Environment::default());
        parsed.map_err(|faults| faults.to_string())
    }

    #[test]
    fn who_is_told_survives_being_printed() {
        let settings = parse(
            "[notify.team]\nkind = \"slack\"\nurl_file = \"hook\"\n\
             [notify.\"on call\"]\nkind = \"ntfy\"\nurl_file = \"/u\"\ntoken_file = \"/t\"\n\
             ca_file = \"/c\"\non = [\"command\", \"rolled_back\"]\n",
        )
        .unwrap();
        let team = &settings.notify["team"];
        assert_eq!(team.url_file, Path::new("/etc/hook"));
        assert_eq!(team.on, DEFAULT_ON);
        let on_call = &settings.notify["on call"];
        assert_eq!(on_call.on, [NoticeKind::Command, NoticeKind::RolledBack]);
        let printed = settings.to_toml();
        let again = Config::parse(&printed, Path::new("x"), &Environment::default());
        assert_eq!(again.unwrap(), settings, "{printed}");
    }

    #[test]
    fn each_fault_is_told() {
        let cases = [
            ("url_file = \"u\"", "notify.a.kind: is missing"),
            (
                "kind = \"irc\"\nurl_file = \"u\"",
                "\"irc\" is not one of slack, ntfy, json",
            ),
            ("kind = \"slack\"", "notify.a.url_file: is missing"),
            (
                "kind = \"slack\"\nurl = \"u\"",
                "notify.a.url: unknown key; did you mean url_file?",
            ),
            (
                "kind = \"slack\"\nurl_file = \"u\"\ntoken_file = \"t\"",
                "is not for kind",
            ),
            ("kind = \"json\"\nurl_file = \"u\"\non = []", "is empty"),
            (
                "kind = \"json\"\nurl_file = \"u\"\non = [\"all\"]",
                "\"all\" is not one of",
            ),
            (
                "kind = \"json\"\nurl_file = \"u\"\non = [\"command\", \"command\"]",
                "listed twice",
            ),
        ];
        for (keys, why) in cases {
            let faults = parse(&format!("[notify.a]\n{keys}\n")).unwrap_err();
            assert!(faults.contains(why), "{keys}: {faults}");
        }
    }
}
