//! The button on the board: held, it rolls back the application that changed last.
//!
//! It takes the way of the rollbacks that the node does by itself, and is told like one of them. What
//! cannot be done is told too, on the LEDs first of all: that is where the person looks.

use std::time::Duration;

use jiff::Timestamp;

use super::State;
use crate::application::{Application, ApplicationKey};
use crate::button::Gesture;
use crate::clock::Now;
use crate::command::derive::derived_id;
use crate::command::{Refusal, RefusalCode};
use crate::event::Effect;

/// How long the LEDs say that nothing comes of it.
const SHOW_REFUSED: Duration = Duration::from_secs(6);

/// The name of a stuck button among the faults.
const STUCK: &str = "button_stuck";

/// What the button has set going.
#[derive(Debug, Default)]
pub(super) struct Pressed {
    /// It is held, and not for long enough yet.
    counting: bool,
    /// The order that it gave, until that has come to its end.
    order: Option<String>,
    /// Until when the LEDs say that nothing came of it.
    refused_until: Option<Duration>,
}

impl Pressed {
    pub(super) fn is_counting(&self) -> bool {
        self.counting
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refused_until.is_some()
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.refused_until
    }

    pub(super) fn tick(&mut self, now: Now) {
        if self.refused_until.is_some_and(|at| at <= now.monotonic) {
            self.refused_until = None;
        }
    }

    /// An order has come to its end.
    pub(super) fn ended(&mut self, now: Now, id: &str, well: bool) {
        if self.order.as_deref() == Some(id) {
            self.order = None;
            if !well {
                self.refuse(now);
            }
        }
    }

    fn refuse(&mut self, now: Now) {
        self.refused_until = Some(now.monotonic + SHOW_REFUSED);
    }
}

impl State {
    pub(super) fn button(&mut self, now: Now, gesture: Gesture, effects: &mut Vec<Effect>) {
        self.button.counting = gesture == Gesture::Pressed;
        match gesture {
            Gesture::Pressed => self.button.refused_until = None,
            Gesture::Tapped => self.identify_until = None,
            Gesture::Cancelled => {}
            Gesture::Held => self.button_held(now, effects),
            Gesture::Stuck => {
                let message = "the button reads as pressed all the time: it is stuck, or wired the \
                               other way round than button.active_low says";
                self.faults.insert(STUCK, message.to_owned());
            }
            Gesture::Freed => {
                self.faults.remove(STUCK);
            }
        }
    }

    fn button_held(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let key = self.last_changed();
        let name = key.as_ref().map_or_else(String::new, ToString::to_string);
        let id = derived_id(
            &format!("button-{}", key.as_ref().map_or("none", |key| &key.name)),
            &[&name, &now.wall.to_string()],
        );
        let refused = match &key {
            Some(key) => self.roll_back_by_button(now, &id, key, effects),
            None => Err(Refusal::new(
                RefusalCode::ApplicationNotFound,
                "this node has seen no application",
            )),
        };
        if let Err(refusal) = refused {
            self.button.refuse(now);
            let cause = "the button was held".to_owned();
            self.refuse_own(now, (id, key), cause, &refusal, effects);
        }
    }

    fn roll_back_by_button(
        &mut self,
        now: Now,
        id: &str,
        key: &ApplicationKey,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let (bad, kind) = self.way_back(key)?;
        let on = match self.applications.get(key) {
            Some(entry) => format!("{} was {:?} on {bad}", self.topic_name(key), entry.state),
            None => format!("{} was on {bad}", self.topic_name(key)),
        };
        let cause = format!("the button was held; {on}");
        // Every hold is an order of its own: a person may want to leave the same revision again.
        self.give_own_order(now, (id, key), None, (kind, cause), effects)?;
        self.button.order = Some(id.to_owned());
        Ok(())
    }

    /// The application whose revision changed last, by what the cluster says, so that it is the same
    /// one after a restart.
    fn last_changed(&self) -> Option<ApplicationKey> {
        let changes = self.applications.iter();
        let last = changes.max_by_key(|(_, entry)| changed_at(&entry.application));
        last.map(|(key, _)| key.clone())
    }
}

/// When an application was brought to the revision that it is on, or when it was last tried to bring it
/// to another. Syncs to a revision where it already is do not count; `None` before the first.
fn changed_at(application: &Application) -> Option<Timestamp> {
    let newest = application.history.last().map(|entry| &entry.revision);
    let same = |revision: &String| Some(revision) == newest;
    let arrived = application
        .history
        .iter()
        .rev()
        .take_while(|entry| same(&entry.revision))
        .last()
        .and_then(|entry| entry.deployed_at);
    let tried = application
        .operation
        .as_ref()
        .filter(|operation| !operation.revision.as_ref().is_some_and(same))
        .and_then(|operation| operation.started_at);
    arrived.max(tried)
}
