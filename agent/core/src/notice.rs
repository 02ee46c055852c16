//! What people are told by the node itself, because no pipeline does.

use jiff::Timestamp;

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoticeKind {
    /// The node rolled back by itself, or tried to.
    RolledBack,
    /// A security check stopped a deploy.
    GateFailed,
    /// A sync failed, or what runs is degraded or missing.
    DeployFailed,
    /// A command has come to its end.
    Command,
}

impl NoticeKind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::RolledBack,
        Self::GateFailed,
        Self::DeployFailed,
        Self::Command,
    ];

    /// The name in the settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RolledBack => "rolled_back",
            Self::GateFailed => "gate_failed",
            Self::DeployFailed => "deploy_failed",
            Self::Command => "command",
        }
    }
}

/// One thing that people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub kind: NoticeKind,
    /// Whether it ended well.
    pub good: bool,
    /// In one line.
    pub title: String,
    pub application: Option<String>,
    pub revision: Option<String>,
    /// Who commanded it, by the names of keys; nobody, when the node acted by itself.
    pub who: Vec<String>,
    /// Why, in words for a person; may be empty.
    pub message: String,
    pub at: Timestamp,
}
