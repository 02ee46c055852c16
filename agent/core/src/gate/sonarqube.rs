//! What SonarQube answers about a project: its analyses, what is still being worked on, and the quality
//! gate.

use serde::Deserialize;

use super::quoted;

/// How many failed conditions of a quality gate are told.
const MAX_CONDITIONS: usize = 8;

/// One page of the analyses of a project, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analyses {
    /// The key of the newest analysis of the revision, if it is on this page.
    pub found: Option<String>,
    /// Whether there are pages behind this one.
    pub more: bool,
    /// How many analyses of this page say of which revision they are.
    pub with_revision: usize,
    /// How many analyses there are in all.
    pub total: usize,
}

#[derive(Deserialize)]
struct RawAnalyses {
    paging: Paging,
    analyses: Vec<RawAnalysis>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Paging {
    page_index: usize,
    page_size: usize,
    total: usize,
}

#[derive(Deserialize)]
struct RawAnalysis {
    key: String,
    revision: Option<String>,
}

impl Analyses {
    /// Reads the answer of `/api/project_analyses/search`.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(bytes: &[u8], revision: &str) -> Result<Self, String> {
        let raw: RawAnalyses = read(bytes)?;
        let Paging {
            page_index,
            page_size,
            total,
        } = raw.paging;
        let known = raw.analyses.iter().filter(|it| it.revision.is_some());
        let with_revision = known.count();
        let mut analyses = raw.analyses.into_iter();
        let found = analyses.find(|it| it.revision.as_deref() == Some(revision));
        Ok(Self {
            found: found.map(|it| it.key),
            more: page_index.saturating_mul(page_size) < total,
            with_revision,
            total,
        })
    }
}

/// What the compute engine has to do for a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tasks {
    /// How many analyses wait or are being worked on.
    pub pending: usize,
    /// Why the last analysis failed, if it did.
    pub failed: Option<String>,
}

#[derive(Deserialize)]
struct RawTasks {
    #[serde(default)]
    queue: Vec<RawTask>,
    current: Option<RawTask>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawTask {
    status: String,
    error_message: Option<String>,
}

impl Tasks {
    /// Reads the answer of `/api/ce/component`.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let raw: RawTasks = read(bytes)?;
        let pending = |task: &&RawTask| matches!(task.status.as_str(), "PENDING" | "IN_PROGRESS");
        let failed = raw.current.filter(|it| it.status != "SUCCESS");
        Ok(Self {
            pending: raw.queue.iter().filter(pending).count(),
            failed: failed.map(|it| {
                let message = it.error_message.unwrap_or_default();
                let status = it.status.to_lowercase();
                quoted(format!("{status}: {message}").trim_end_matches([':', ' ']))
            }),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawStatus {
    project_status: ProjectStatus,
}

#[derive(Deserialize)]
struct ProjectStatus {
    status: String,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    status: String,
    metric_key: String,
    #[serde(default)]
    comparator: String,
    error_threshold: Option<String>,
    actual_value: Option<String>,
}

/// Reads the answer of `/api/qualitygates/project_status`: whether the quality gate passed, in words.
///
/// # Errors
/// Which conditions failed, that no gate was judged, or that the answer is none.
pub fn judge(bytes: &[u8]) -> Result<String, String> {
    let RawStatus { project_status } = read(bytes)?;
    match project_status.status.as_str() {
        "OK" => Ok("the quality gate passed".to_owned()),
        "NONE" => Err("no quality gate was judged for the analysis".to_owned()),
        "ERROR" => {
            let mut failed: Vec<String> = project_status
                .conditions
                .iter()
                .filter(|it| it.status == "ERROR")
                .map(describe)
                .collect();
            let more = failed.len().saturating_sub(MAX_CONDITIONS);
            failed.truncate(MAX_CONDITIONS);
            if more > 0 {
                failed.push(format!("and {more} more"));
            }
            Err(format!("the quality gate failed: {}", failed.join(", ")))
        }
        other => Err(format!("the quality gate is {:?}", quoted(other))),
    }
}

fn describe(condition: &Condition) -> String {
    let bound = match condition.comparator.as_str() {
        "GT" => "above",
        "LT" => "below",
        _ => "not",
    };
    let shown = |value: &Option<String>| value.as_deref().map_or_else(|| "?".to_owned(), quoted);
    format!(
        "{} is {}, {bound} {}",
        quoted(&condition.metric_key),
        shown(&condition.actual_value),
        shown(&condition.error_threshold)
    )
}

fn read<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T, String> {
    serde_json::from_slice(bytes)
        .map_err(|error| format!("SonarQube's answer is not what its API promises: {error}"))
}
