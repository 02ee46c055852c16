//! Changes of a keyring file that leave everything else as a person wrote it.
//!
//! Only lines that begin a table matter here, and a keyring has no text over several lines in which
//! something that looks like one could stand. Whoever calls this parses what comes out.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use edge_agent_core::command::keyring::Keyring;
use toml::{Table, Value};

/// Adds a block at the end.
pub(super) fn append(text: &str, block: &str) -> String {
    let text = text.trim_end();
    if text.is_empty() {
        return block.to_owned();
    }
    format!("{text}\n\n{block}")
}

/// Takes out the `[[key]]` or `[[root]]` of an id; `None` when there is none.
pub(super) fn remove(text: &str, id: &str) -> Option<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let heads: Vec<usize> = (0..lines.len())
        .filter(|&at| lines.get(at).is_some_and(|line| is_head(line)))
        .collect();
    for (number, &head) in heads.iter().enumerate() {
        let end = heads.get(number + 1).copied().unwrap_or(lines.len());
        // Comments right before the next table are about that one.
        let end = (head + 1..end)
            .rev()
            .find(|&at| lines.get(at).is_some_and(|line| is_content(line)))
            .map_or(head + 1, |last| last + 1);
        let block: String = lines.get(head..end)?.concat();
        if has_id(&block, id) {
            let before: String = lines.get(..head)?.concat();
            let after: String = lines.get(end..)?.concat();
            return Some(format!("{before}{}", after.trim_start_matches('\n')));
        }
    }
    None
}

/// A keyring without what only people read, because an envelope has little room; as it is, if
/// something in it would mean something else then.
pub(super) fn without_comments(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| is_content(line)).collect();
    let short = lines.join("\n") + "\n";
    match (Keyring::parse(text), Keyring::parse(&short)) {
        (Ok(long), Ok(same)) if long == same => short,
        _ => text.to_owned(),
    }
}

fn is_head(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("[[") && line.contains("]]")
}

fn is_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

fn has_id(block: &str, id: &str) -> bool {
    let table: Option<Table> = toml::from_str(block).ok();
    let Some(table) = table else { return false };
    ["key", "root"].into_iter().any(|kind| {
        table
            .get(kind)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .any(|entry| entry.get("id").and_then(Value::as_str) == Some(id))
    })
}

/// Raises the number of `version`, where there is one.
pub(super) fn raise_version(text: &str) -> String {
    let mut raised = String::with_capacity(text.len() + 1);
    let mut above_tables = true;
    for line in text.split_inclusive('\n') {
        above_tables &= !line.trim_start().starts_with('[');
        match line.split_once('=') {
            Some((name, rest)) if above_tables && name.trim() == "version" => {
                raised.push_str(&format!("{name}={}", raise_number(rest)));
            }
            _ => raised.push_str(line),
        }
    }
    raised
}

/// Adds one to the first number of a text; what stands around it stays.
fn raise_number(text: &str) -> String {
    let is_digit = |c: char| c.is_ascii_digit();
    let Some(start) = text.find(is_digit) else {
        return text.to_owned();
    };
    let (before, rest) = text.split_at(start);
    let end = rest.find(|c: char| !is_digit(c)).unwrap_or(rest.len());
    let (number, after) = rest.split_at(end);
    match number.parse::<u64>() {
        Ok(number) => format!("{before}{}{after}", number.saturating_add(1)),
        Err(_) => text.to_owned(),
    }
}

/// Replaces a file in one step, with the permissions that it has.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&new)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}
