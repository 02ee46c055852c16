//! A build.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The commit is that of the build that was promoted or rolled back to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Build {
    pub(crate) number: u64,
    pub(crate) event: String,
    /// The build that was promoted, rolled back to or restarted; 0: none.
    pub(crate) parent: u64,
    /// Empty for events without one.
    pub(crate) target: String,
    pub(crate) commit: String,
    pub(crate) parameters: BTreeMap<String, String>,
    /// `success` or `failure`, also while it runs, as Drone has it.
    pub(crate) status: String,
    pub(crate) steps: Vec<Ran>,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ran {
    pub(crate) name: String,
    pub(crate) status: String,
    /// `None`: it did not run.
    pub(crate) exit_code: Option<i32>,
    /// How often a secret stood in its output.
    pub(crate) masked: usize,
}

impl Build {
    /// A build that a push of this commit made, and that ended well.
    pub(crate) fn pushed(number: u64, commit: &str) -> Self {
        Self {
            number,
            event: "push".to_owned(),
            parent: 0,
            target: String::new(),
            commit: commit.to_owned(),
            parameters: BTreeMap::new(),
            status: "success".to_owned(),
            steps: Vec::new(),
        }
    }

    /// The step of this name.
    pub(crate) fn step(&self, name: &str) -> &Ran {
        let mut steps = self.steps.iter();
        let found = steps.find(|step| step.name == name);
        found.unwrap_or_else(|| panic!("build {} has no step {name}", self.number))
    }

    /// `DRONE_*`, as far as a step may want to know it. Without what is of one step alone.
    pub(crate) fn environment(&self, repository: &str) -> BTreeMap<String, String> {
        let (owner, name) = repository.split_once('/').unwrap_or(("", repository));
        let at = "1795549434";
        let failed: Vec<&str> = self
            .steps
            .iter()
            .filter(|step| step.status == "failure")
            .map(|step| step.name.as_str())
            .collect();
        let number = self.number.to_string();
        [
            ("CI", "true"),
            ("DRONE", "true"),
            ("DRONE_BRANCH", "main"),
            ("DRONE_BUILD_ACTION", ""),
            ("DRONE_BUILD_CREATED", at),
            ("DRONE_BUILD_EVENT", &self.event),
            ("DRONE_BUILD_FINISHED", at),
            (
                "DRONE_BUILD_LINK",
                &format!("http://drone.example/{repository}/{number}"),
            ),
            ("DRONE_BUILD_NUMBER", &number),
            ("DRONE_BUILD_PARENT", &self.parent.to_string()),
            ("DRONE_BUILD_STARTED", at),
            ("DRONE_BUILD_STATUS", &self.status),
            ("DRONE_COMMIT", &self.commit),
            ("DRONE_COMMIT_AFTER", &self.commit),
            ("DRONE_COMMIT_BRANCH", "main"),
            ("DRONE_COMMIT_REF", "refs/heads/main"),
            ("DRONE_COMMIT_SHA", &self.commit),
            ("DRONE_DEPLOY_TO", &self.target),
            ("DRONE_FAILED_STEPS", &failed.join(",")),
            ("DRONE_REPO", repository),
            ("DRONE_REPO_BRANCH", "main"),
            ("DRONE_REPO_NAME", name),
            ("DRONE_REPO_NAMESPACE", owner),
            ("DRONE_REPO_OWNER", owner),
            ("DRONE_STAGE_ARCH", "amd64"),
            ("DRONE_STAGE_KIND", "pipeline"),
            ("DRONE_STAGE_NUMBER", "1"),
            ("DRONE_STAGE_OS", "linux"),
            ("DRONE_STAGE_STATUS", &self.status),
            ("DRONE_SYSTEM_HOST", "drone.example"),
            ("DRONE_SYSTEM_PROTO", "http"),
            ("DRONE_SYSTEM_VERSION", "2.25.0"),
            ("DRONE_WORKSPACE", "/drone/src"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }
}
