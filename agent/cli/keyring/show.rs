//! A keyring, for a person.

use std::fmt::Write as _;

use edge_agent_core::clock::format_timestamp;
use edge_agent_core::columns::columns;
use edge_agent_core::command::keyring::{Key, Keyring};
use jiff::Timestamp;

/// Version, root keys and keys, a line for each.
pub(super) fn table(keyring: &Keyring, now: Timestamp) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = match keyring.version() {
        0 => writeln!(text, "without a version"),
        version => writeln!(text, "version {version}"),
    };
    let roots: Vec<&str> = keyring.roots().map(|root| root.id()).collect();
    let _ = if roots.is_empty() {
        writeln!(text, "no root keys: it cannot be changed over the air")
    } else {
        writeln!(
            text,
            "changed over the air by {} of {}",
            keyring.root_threshold(),
            roots.join(", ")
        )
    };
    let rows: Vec<_> = keyring.keys().map(|key| row(key, now)).collect();
    text.push_str(&columns(&rows));
    if rows.is_empty() {
        text.push_str("no keys: nobody may command\n");
    }
    text
}

fn row(key: &Key, now: Timestamp) -> [String; 4] {
    let validity = match key.valid_until() {
        None => "does not expire".to_owned(),
        Some(until) if key.is_valid_at(now) => format!("until {}", format_timestamp(until)),
        Some(until) => format!("EXPIRED {}", format_timestamp(until)),
    };
    let applications: Vec<&str> = key.applications().collect();
    [
        key.counter(),
        validity,
        key.allow().join(" "),
        applications.join(" "),
    ]
}
