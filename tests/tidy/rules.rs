//! The rules, each a function from sources to what is wrong with them.

use super::source::{Source, Word, words};

/// The most lines that a file of the agent may have without its tests, and with them.
const MAX_SHIPPED_LINES: usize = 400;
const MAX_LINES: usize = 500;
const MAX_MAIN_LINES: usize = 60;

/// Files that are longer than that. The list is to shrink, not to grow.
const LONG_FILES: &[&str] = &[];

/// Where each vendor crate may be named, besides the tests.
const VENDORS: &[(&str, &[&str])] = &[
    ("rumqttc", &["agent/mqtt", "agent/cli"]),
    ("kube", &["agent/cluster"]),
    ("k8s_openapi", &["agent/cluster"]),
    ("sled", &["agent/store"]),
    ("rppal", &["agent/led"]),
    ("sysinfo", &["agent/health"]),
    ("reqwest", &["agent/gate", "agent/notify"]),
    (
        "ring",
        &[
            "agent/core/src/command",
            "agent/core/src/gate/signature",
            "agent/store/identity",
        ],
    ),
];

/// What has no place in the pure core.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "tokio",
    "async",
    "println",
    "SystemTime",
];

const BANNED: &[&str] = &[
    "manager", "handler", "helper", "util", "utils", "common", "misc",
];

/// Names that others gave: two crates, and a field of the Kubernetes API.
const FOREIGN: &[&str] = &["hyper_util", "tokio_util", "field_manager"];

pub(super) fn clocks_are_read_in_one_place(sources: &[Source]) -> Vec<String> {
    shipped_words(sources, |source, word| {
        let reads = word.after.starts_with("::now") && {
            match word.text {
                "SystemTime" | "Timestamp" | "Zoned" => true,
                "Instant" => !is_tokio_instant(source, word),
                _ => false,
            }
        };
        let allowed = source.path == "agent/clock.rs";
        (reads && !allowed).then(|| format!("{}::now belongs into agent/clock.rs", word.text))
    })
}

fn is_tokio_instant(source: &Source, word: &Word<'_>) -> bool {
    let named_in_full = word.before.ends_with("::");
    if named_in_full {
        return word.before.ends_with("tokio::time::");
    }
    let imports: Vec<_> = imports(&source.code)
        .filter(|import| words(import).any(|word| word.text == "Instant"))
        .collect();
    !imports.is_empty()
        && imports
            .iter()
            .all(|import| import.starts_with("tokio::time::"))
}

/// What is imported, each without spaces and without the `use` before it.
fn imports(code: &str) -> impl Iterator<Item = String> {
    code.split(';').filter_map(|statement| {
        let word = words(statement).find(|word| {
            word.text == "use" && word.before.lines().next_back().is_none_or(is_visibility)
        })?;
        Some(word.after.split_whitespace().collect())
    })
}

/// Whether nothing but a visibility stands before a `use`.
fn is_visibility(before: &str) -> bool {
    let before = before.trim();
    before.is_empty() || before.starts_with("pub")
}

pub(super) fn tasks_are_started_in_one_place(sources: &[Source]) -> Vec<String> {
    shipped_words(sources, |source, word| {
        let path = ["tokio::", "task::"];
        let spawns = match word.text {
            "spawn" => path.iter().any(|path| word.before.ends_with(path)) || is_imported(word),
            "spawn_local" => true,
            _ => false,
        };
        (spawns && !source.is_in("agent/supervisor"))
            .then(|| "tasks are spawned by the supervisor only".to_owned())
    })
}

/// Whether a word stands in a `use` of tokio.
fn is_imported(word: &Word<'_>) -> bool {
    let statement = word.before.rsplit(';').next().unwrap_or_default();
    statement.trim_start().starts_with("use tokio")
}

pub(super) fn nothing_is_unsafe(sources: &[Source]) -> Vec<String> {
    found(
        sources,
        |source| &source.code,
        |_, word| (word.text == "unsafe").then(|| "unsafe".to_owned()),
    )
}

pub(super) fn vendors_stay_in_their_folders(sources: &[Source]) -> Vec<String> {
    shipped_words(sources, |source, word| {
        let (vendor, folders) = VENDORS.iter().find(|(vendor, _)| *vendor == word.text)?;
        let before = word.before.trim_end();
        let starts_a_path = word.after.starts_with("::") && !before.ends_with("::");
        let is_imported = before.ends_with("use") || before.ends_with("extern crate");
        // A module of the same name, declared in this file, is ours.
        let is_ours = words(&source.shipped)
            .any(|other| other.text == *vendor && other.before.trim_end().ends_with("mod"));
        let allowed = is_ours || folders.iter().any(|folder| source.is_in(folder));
        ((starts_a_path || is_imported) && !allowed)
            .then(|| format!("{vendor} is named in {} only", folders.join(" and ")))
    })
}

pub(super) fn the_core_is_pure(sources: &[Source]) -> Vec<String> {
    shipped_words(sources, |source, word| {
        let impure = IMPURE.iter().find(|impure| match impure.split_once("::") {
            None => **impure == word.text,
            Some((_, module)) => module == word.text && is_of_std(word),
        })?;
        source
            .is_in("agent/core/src")
            .then(|| format!("the core has no {impure}"))
    })
}

/// Whether a word stands behind `std::`, or in braces behind it.
fn is_of_std(word: &Word<'_>) -> bool {
    let statement = word.before.rsplit(';').next().unwrap_or_default();
    let compact: String = statement.split_whitespace().collect();
    compact.ends_with("std::") || compact.contains("usestd::{")
}

pub(super) fn files_are_short(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        let (lines, shipped) = (source.text.lines().count(), source.shipped_lines);
        let path = &source.path;
        match (
            shipped > MAX_SHIPPED_LINES,
            LONG_FILES.contains(&path.as_str()),
        ) {
            (true, false) => {
                complaints.push(format!("{path}: {shipped} lines without tests; split it"));
            }
            (false, true) => {
                complaints.push(format!("{path} is short now; take it from LONG_FILES"));
            }
            _ => {}
        }
        if lines > MAX_LINES {
            complaints.push(format!("{path}: {lines} lines; split it"));
        }
        if path == "agent/main.rs" && lines >= MAX_MAIN_LINES {
            complaints.push(format!("{path}: {lines} lines; it only dispatches"));
        }
    }
    complaints
}

pub(super) fn names_say_what_things_are(sources: &[Source]) -> Vec<String> {
    let mut complaints = found(
        sources,
        |source| &source.code,
        |_, word| {
            // What stands behind `::` was declared elsewhere: by us, where it is seen, or by others.
            let banned = banned_part(word.text).filter(|_| !word.before.ends_with("::"))?;
            Some(format!("{}: say what it is instead of {banned}", word.text))
        },
    );
    complaints.extend(sources.iter().filter_map(|source| {
        let mut parts = source.path.split(['/', '.']);
        let banned = parts.find_map(banned_part)?;
        Some(format!(
            "{}: say what it is instead of {banned}",
            source.path
        ))
    }));
    complaints
}

/// The word in a name that says nothing, if there is one.
pub(super) fn banned_part(name: &str) -> Option<&'static str> {
    if FOREIGN.contains(&name) {
        return None;
    }
    let mut spaced = String::new();
    for c in name.chars() {
        if c.is_uppercase() || !c.is_alphanumeric() {
            spaced.push(' ');
        }
        spaced.extend(c.to_lowercase());
    }
    BANNED.iter().copied().find(|banned| {
        spaced
            .split([' ', '_', '-'])
            .any(|part| part == *banned || part.strip_suffix('s') == Some(banned))
    })
}

pub(super) fn there_is_one_main(sources: &[Source]) -> Vec<String> {
    found(
        sources,
        |source| &source.code,
        |source, word| {
            let main = word.text == "main" && word.before.trim_end().ends_with("fn");
            let expected = source.path == "agent/main.rs" || source.path.starts_with("tests/");
            let function_of_cli = source.path == "agent/cli/mod.rs";
            (main && !expected && !function_of_cli).then(|| "a second fn main".to_owned())
        },
    )
}

pub(super) fn nothing_is_left_unfinished(sources: &[Source]) -> Vec<String> {
    let mut complaints = found(
        sources,
        |source| &source.code,
        |_, word| {
            let unfinished =
                matches!(word.text, "todo" | "unimplemented") && word.after.starts_with('!');
            let ignored = word.text == "ignore" && word.before.ends_with("#[");
            (unfinished || ignored).then(|| format!("{} is unfinished work", word.text))
        },
    );
    // Put together here, so that this file does not find itself.
    let marks = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["X", "XX"].concat(),
    ];
    for source in sources {
        for (index, line) in source.text.lines().enumerate() {
            if words(line).any(|word| marks.iter().any(|mark| mark == word.text)) {
                complaints.push(format!(
                    "{}:{}: a mark of unfinished work",
                    source.path,
                    index + 1
                ));
            }
        }
    }
    complaints
}

/// What has verified a command is the type: so there must be one place that makes it.
pub(super) fn a_verified_command_is_made_in_one_place(sources: &[Source]) -> Vec<String> {
    let made = shipped_words(sources, |_, word| {
        let before = word.before.trim_end();
        let declares = ["struct", "impl", "for", "->"]
            .iter()
            .any(|what| before.ends_with(what));
        (word.text == "VerifiedCommand" && word.after.starts_with(" {") && !declares)
            .then(|| "makes a VerifiedCommand".to_owned())
    });
    let in_envelope = made
        .iter()
        .filter(|place| place.starts_with("agent/core/src/command/envelope"));
    if made.len() == 1 && in_envelope.count() == 1 {
        return Vec::new();
    }
    vec![format!(
        "one place in command/envelope.rs makes a VerifiedCommand, not these: {made:?}"
    )]
}

/// Goes through the words of the shipped code.
fn shipped_words(
    sources: &[Source],
    rule: impl Fn(&Source, &Word<'_>) -> Option<String>,
) -> Vec<String> {
    found(sources, |source| &source.shipped, rule)
}

fn found(
    sources: &[Source],
    code: impl Fn(&Source) -> &String,
    rule: impl Fn(&Source, &Word<'_>) -> Option<String>,
) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        for word in words(code(source)) {
            if let Some(complaint) = rule(source, &word) {
                complaints.push(format!("{}:{}: {complaint}", source.path, word.line));
            }
        }
    }
    complaints
}
