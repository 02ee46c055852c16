//! Why an application is Degraded: its workloads are asked, once each time that it turns so.
//!
//! Nothing depends on the answer. An agent that may not read them, or that gets no answer, tells
//! of the application what it would have told anyway.

use std::time::Duration;

use super::State;
use crate::application::{ApplicationKey, DeployState};
use crate::clock::Now;
use crate::event::{Effect, Examination};
use crate::wire;

/// How long an application must be Degraded before its workloads are asked. Right after a sync the
/// health of before shows for a moment; and what is asked now is answered before the state is told.
const LASTING: Duration = Duration::from_millis(500);
/// Examinations under way at the same time; the others wait.
const AT_ONCE: usize = 16;
/// How long one may wait until there is room for it.
const AGAIN: Duration = Duration::from_secs(1);
/// An answer that has not come by then does not come any more.
const GIVEN_UP: Duration = Duration::from_secs(60);

/// How far it is known why one application is Degraded.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Cause {
    /// It is not Degraded, or has no workloads that could be asked.
    #[default]
    None,
    /// To be asked for at that time, if it lasts.
    Due(Duration),
    /// Asked for, under that number; given up at that time.
    Asked(u64, Duration),
    /// What the workloads have said: perhaps nothing.
    Known(Option<wire::Culprit>),
}

impl Cause {
    /// The same after a look at the application. `lasts` means that it was Degraded before, on the same
    /// revision.
    pub(super) fn follow(self, now: Now, state: DeployState, lasts: bool, suspects: bool) -> Self {
        match self {
            _ if state != DeployState::Degraded => Self::None,
            Self::None if suspects => Self::Due(now.monotonic + LASTING),
            cause if lasts => cause,
            _ if suspects => Self::Due(now.monotonic + LASTING),
            _ => Self::None,
        }
    }

    pub(super) fn culprit(&self) -> Option<&wire::Culprit> {
        match self {
            Self::Known(culprit) => culprit.as_ref(),
            _ => None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        match self {
            Self::Due(at) | Self::Asked(_, at) => Some(*at),
            Self::None | Self::Known(_) => None,
        }
    }
}

impl State {
    /// Asks for what is due.
    pub(super) fn examine_due(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut under_way = 0;
        for (_, entry) in self.applications.iter_mut() {
            match entry.cause {
                Cause::Asked(_, until) if until <= now.monotonic => {
                    entry.cause = Cause::Known(None);
                }
                Cause::Asked(..) => under_way += 1,
                _ => {}
            }
        }
        for (key, entry) in self.applications.iter_mut() {
            let Cause::Due(at) = entry.cause else {
                continue;
            };
            if at > now.monotonic {
                continue;
            }
            if under_way >= AT_ONCE {
                entry.cause = Cause::Due(now.monotonic + AGAIN);
                continue;
            }
            under_way += 1;
            self.examinations += 1;
            entry.cause = Cause::Asked(self.examinations, now.monotonic + GIVEN_UP);
            effects.push(Effect::Examine(Box::new(Examination {
                number: self.examinations,
                application: key.clone(),
                suspects: entry.application.suspects.clone(),
            })));
        }
    }

    /// The workloads have answered. An answer to an older question is of no use any more.
    pub(super) fn examined(
        &mut self,
        now: Now,
        key: &ApplicationKey,
        number: u64,
        culprit: Option<wire::Culprit>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(entry) = self.applications.get_mut(key) else {
            return;
        };
        if !matches!(entry.cause, Cause::Asked(asked, _) if asked == number) {
            return;
        }
        entry.cause = Cause::Known(culprit);
        let published = std::sync::Arc::clone(&entry.report);
        entry.describe(now);
        self.application_assessed(now, key, Some(&published), effects);
    }

    /// What the workloads have said, for a sentence about the application.
    pub(super) fn cause_in_words(&self, key: &ApplicationKey) -> Option<String> {
        let culprit = self.applications.get(key)?.cause.culprit()?;
        Some(format!(
            "{} {}: {}",
            culprit.kind, culprit.name, culprit.message
        ))
    }
}
