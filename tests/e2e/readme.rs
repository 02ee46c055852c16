//! The README, read as a person reads it who does what it says.

use std::collections::VecDeque;

const README: &str = include_str!("../../README.md");

/// With these a command begins, inside backquotes or in a block for the shell.
const PROGRAMS: [&str; 6] = [
    "edge-agent ",
    "drone ",
    "mosquitto_sub ",
    "mosquitto_pub ",
    "systemctl ",
    "DIRECTORY=",
];

/// A section, and what of its commands has not been done yet.
pub(crate) struct Section {
    text: String,
    commands: VecDeque<String>,
}

impl Section {
    /// The section under this title, to the next one.
    pub(crate) fn named(title: &str) -> Self {
        let mut lines = README.lines().skip_while(|line| *line != title);
        assert!(lines.next().is_some(), "the README has no `{title}`");
        let lines: Vec<&str> = lines.take_while(|line| !line.starts_with('#')).collect();
        let commands = commands(&lines);
        Self {
            text: lines.join("\n"),
            commands,
        }
    }

    /// The command that stands next in it, which begins with these words.
    pub(crate) fn next(&mut self, begins: &str) -> String {
        let next = self.commands.pop_front();
        let next = next.unwrap_or_else(|| panic!("the section ends before `{begins}`"));
        assert!(
            next.starts_with(begins),
            "the README has `{next}`, and not `{begins}`"
        );
        next
    }

    /// What was not done.
    pub(crate) fn left(&self) -> &VecDeque<String> {
        &self.commands
    }

    pub(crate) fn says(&self, what: &str) -> bool {
        let unwrapped: Vec<&str> = self.text.split_whitespace().collect();
        unwrapped.join(" ").contains(what)
    }

    /// The block in this language.
    pub(crate) fn block(&self, language: &str) -> String {
        let mut lines = self.text.lines();
        let fence = lines
            .find(|line| line.trim() == format!("```{language}"))
            .unwrap_or_else(|| panic!("no block in {language}"));
        let indent = fence.len() - fence.trim_start().len();
        let block = lines.take_while(|line| line.trim() != "```");
        block
            .map(|line| format!("{}\n", line.get(indent..).unwrap_or_default()))
            .collect()
    }
}

/// Every command, in the order in which they stand there.
fn commands(lines: &[&str]) -> VecDeque<String> {
    let mut commands = VecDeque::new();
    let mut block: Option<&str> = None;
    let mut continued = String::new();
    for line in lines {
        if let Some(language) = line.trim().strip_prefix("```") {
            block = block.is_none().then_some(language);
            continue;
        }
        match block {
            Some("sh") => {
                continued.push_str(line.trim());
                if let Some(begun) = continued.strip_suffix('\\') {
                    continued = begun.to_owned();
                } else {
                    commands.push_back(std::mem::take(&mut continued));
                }
            }
            Some(_) => {}
            // What stands between backquotes is every second part.
            None => commands.extend(
                line.split('`')
                    .skip(1)
                    .step_by(2)
                    .filter(|code| PROGRAMS.iter().any(|program| code.starts_with(program)))
                    .map(str::to_owned),
            ),
        }
    }
    commands
}
