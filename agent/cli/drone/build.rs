//! The build that a step belongs to.

use edge_agent_core::command::derive::derived_id;

use super::variables::Variables;

/// What names one step of one build. A restart of a build has a number of its own, and so is
/// something else; a step that Drone runs twice in one build is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Build {
    repository: String,
    number: String,
    stage: String,
    step: String,
    /// `promote`, `rollback`, `custom`, …
    pub(super) event: String,
    /// The commit of the build; for a promote or rollback of build N, that of N.
    pub(super) commit: Option<String>,
    link: Option<String>,
}

impl Build {
    pub(super) fn read(variables: &mut Variables<'_>) -> Option<Self> {
        let mut needed = |name: &str| {
            let value = variables.build(name).map(str::to_owned);
            if value.is_none() {
                variables.fault(
                    name,
                    "is not set; this runs as a step of a Drone pipeline (by hand: `edge-agent send`)",
                );
            }
            value
        };
        let repository = needed("DRONE_REPO");
        let number = needed("DRONE_BUILD_NUMBER");
        let step = needed("DRONE_STEP_NAME");
        let event = needed("DRONE_BUILD_EVENT");
        let optional = |name: &str| variables.build(name).map(str::to_owned);
        Some(Self {
            repository: repository?,
            number: number?,
            step: step?,
            event: event?,
            stage: optional("DRONE_STAGE_NUMBER").unwrap_or_default(),
            commit: optional("DRONE_COMMIT_SHA"),
            link: optional("DRONE_BUILD_LINK"),
        })
    }

    /// The id of what this step orders of a node for a purpose.
    pub(super) fn command_id(&self, node: &str, purpose: &str) -> String {
        derived_id(
            &format!("drone-{}", self.number),
            &[
                &self.repository,
                &self.number,
                &self.stage,
                &self.step,
                node,
                purpose,
            ],
        )
    }

    /// For a person.
    pub(super) fn title(&self) -> String {
        let link = self.link.as_deref().unwrap_or_default();
        format!(
            "{} build {} ({}) {link}",
            self.repository, self.number, self.event
        )
        .trim_end()
        .to_owned()
    }
}
