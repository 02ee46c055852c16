//! What is told once must not be told again after a restart: the little that is to be remembered of
//! each fact, beside the fact itself.

use std::collections::BTreeMap;

use crate::application::DeployState;
use crate::event::Fact;
use crate::wire;

/// What the agent said last before it was restarted, so that it does not say it again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Remembered {
    /// The node's status.
    pub health: Option<wire::Status>,
    /// By topic name: deploy state and revision.
    pub applications: BTreeMap<String, (DeployState, Option<String>)>,
}

/// What one fact changes in what is [`Remembered`].
#[derive(Debug, Clone, PartialEq)]
pub enum Memory {
    /// The node's status.
    Health(wire::Status),
    /// Deploy state and revision of an application by its topic name; `None` when it was deleted.
    Application(String, Option<(DeployState, Option<String>)>),
}

impl Memory {
    /// What there is to remember of a fact; `None` for most of them.
    #[must_use]
    pub fn of(fact: &Fact) -> Option<Self> {
        match fact.kind.as_ref() {
            "edge.health.status" => {
                let status = serde_json::from_value(fact.data["status"].clone()).ok()?;
                Some(Self::Health(status))
            }
            "edge.app.state" => {
                let state = serde_json::from_value(fact.data["state"].clone()).ok()?;
                let revision = fact.data["revision"].as_str().map(str::to_owned);
                let told = Some((state, revision));
                Some(Self::Application(fact.subject.clone(), told))
            }
            "edge.app.deleted" => Some(Self::Application(fact.subject.clone(), None)),
            _ => None,
        }
    }
}

impl Remembered {
    /// Takes in what a fact has changed.
    pub fn learn(&mut self, memory: Memory) {
        match memory {
            Memory::Health(status) => self.health = Some(status),
            Memory::Application(name, Some(told)) => {
                self.applications.insert(name, told);
            }
            Memory::Application(name, None) => {
                self.applications.remove(&name);
            }
        }
    }

    /// Everything that is remembered, one by one.
    pub fn memories(&self) -> impl Iterator<Item = Memory> + '_ {
        let applications = self
            .applications
            .iter()
            .map(|(name, told)| Memory::Application(name.clone(), Some(told.clone())));
        self.health
            .map(Memory::Health)
            .into_iter()
            .chain(applications)
    }
}
