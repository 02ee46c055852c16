//! The guide of `config/gitops`, and its commands: each says at its end who runs it.

/// The guide.
pub(crate) const GUIDE: &str = include_str!("../../config/gitops/README.md");

/// A command as it stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) line: &'static str,
    /// The suite that runs it; `None`: nobody does.
    pub(crate) suite: Option<&'static str>,
}

/// All commands, in their order.
///
/// # Errors
/// The blocks and commands that do not say who runs them.
pub(crate) fn commands(text: &'static str) -> Result<Vec<Command>, Vec<String>> {
    let (mut commands, mut faults) = (Vec::new(), Vec::new());
    let mut within = false;
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(_) if within => within = false,
            Some(language) => {
                within = true;
                if language != "sh" {
                    faults.push(format!("a block of {language:?} is no commands"));
                }
            }
            None if within => match command(line) {
                Some(command) => commands.push(command),
                None => faults.push(format!("nothing says who runs `{line}`")),
            },
            None => {}
        }
    }
    match faults.is_empty() {
        true => Ok(commands),
        false => Err(faults),
    }
}

fn command(text: &'static str) -> Option<Command> {
    let (line, mark) = text.rsplit_once("  # ")?;
    let (sign, words) = mark.split_once(' ')?;
    let suite = match sign {
        "✓" => Some(words),
        "○" => None,
        _ => return None,
    };
    let line = line.trim_end();
    (!line.is_empty() && !words.is_empty()).then_some(Command { line, suite })
}
