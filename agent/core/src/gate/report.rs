//! The checks of a gate with their verdicts, and what they come to.

use std::iter;

use serde_json::{Value, json};

use crate::columns::columns;

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Failed,
    /// Nobody could be asked in time: neither passed nor failed.
    NoAnswer,
    /// It could not be made, because an earlier one did not pass.
    Skipped,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NoAnswer => "no_answer",
            Self::Skipped => "skipped",
        }
    }
}

/// One question and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// `policy`, `image`, `architecture`, `revision`, `signature` or `sonarqube`.
    pub name: &'static str,
    /// An image, or a project.
    pub subject: String,
    pub verdict: Verdict,
    /// Why, in words for a person.
    pub reason: String,
}

/// What a gate came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed,
    NoAnswer,
}

impl Outcome {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NoAnswer => "no_answer",
        }
    }
}

/// Every check of a gate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The commit whose source was looked at, where that is known.
    pub revision: Option<String>,
    pub checks: Vec<Check>,
    /// What could not be asked in time keeps nobody out.
    pub lenient: bool,
}

impl Report {
    /// What the checks come to. A gate without any has not passed.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let any = |verdict: Verdict| self.checks.iter().any(|it| it.verdict == verdict);
        let unanswered = any(Verdict::NoAnswer);
        if any(Verdict::Failed) {
            Outcome::Failed
        } else if unanswered && !self.lenient {
            Outcome::NoAnswer
        } else if any(Verdict::Passed) || unanswered {
            Outcome::Passed
        } else {
            Outcome::Failed
        }
    }

    /// For a person: a row for each check, and the outcome.
    #[must_use]
    pub fn table(&self) -> String {
        let head = ["CHECK", "VERDICT", "SUBJECT", "REASON"].map(str::to_owned);
        let rows: Vec<_> = iter::once(head)
            .chain(self.checks.iter().map(row))
            .collect();
        format!("{}\n{}\n", columns(&rows), self.summary())
    }

    /// One line: the outcome and why, the worst first. This is what Argo CD and `kubectl describe`
    /// show, so it is short.
    #[must_use]
    pub fn summary(&self) -> String {
        const MAX: usize = 900;
        let of = |verdict: Verdict| {
            let chosen = self.checks.iter().filter(move |it| it.verdict == verdict);
            chosen.map(|it| format!("{} of {}: {}", it.name, short(&it.subject), it.reason))
        };
        let reasons: Vec<String> = of(Verdict::Failed).chain(of(Verdict::NoAnswer)).collect();
        let passed = self
            .checks
            .iter()
            .filter(|it| it.verdict == Verdict::Passed);
        let mut line = match self.outcome() {
            Outcome::Passed if reasons.is_empty() => {
                format!("gate passed: {} checks", passed.count())
            }
            Outcome::Passed => format!("gate passed without an answer: {}", reasons.join("; ")),
            Outcome::Failed if reasons.is_empty() => {
                "gate not passed: nothing was checked".to_owned()
            }
            Outcome::Failed => format!("gate not passed: {}", reasons.join("; ")),
            Outcome::NoAnswer => format!("gate not passed, no answer: {}", reasons.join("; ")),
        };
        if let Some((end, _)) = line.char_indices().nth(MAX) {
            line.truncate(end);
            line.push('…');
        }
        line
    }

    /// For a program.
    #[must_use]
    pub fn json(&self) -> Value {
        let check = |it: &Check| {
            json!({
                "check": it.name,
                "subject": it.subject,
                "verdict": it.verdict.as_str(),
                "reason": it.reason,
            })
        };
        json!({
            "v": 1,
            "outcome": self.outcome().as_str(),
            "revision": self.revision,
            "checks": self.checks.iter().map(check).collect::<Vec<_>>(),
        })
    }
}

fn row(check: &Check) -> [String; 4] {
    [
        check.name.to_owned(),
        check.verdict.as_str().to_owned(),
        short(&check.subject),
        check.reason.clone(),
    ]
}

/// An image with the beginning of its digest.
fn short(subject: &str) -> String {
    match subject.split_once("@sha256:") {
        Some((name, hex)) => {
            let hex: String = hex.chars().take(12).collect();
            format!("{name}@sha256:{hex}")
        }
        None => subject.to_owned(),
    }
}
