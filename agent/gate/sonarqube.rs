//! SonarQube: the quality gate of the analysis of one commit.

use edge_agent_core::gate::quoted;
use edge_agent_core::gate::report::{Check, Verdict};
use edge_agent_core::gate::sonarqube::{Analyses, Tasks, judge};
use tokio::time::Instant;

use super::credentials::basic;
use super::secret::Secret;
use super::web::{self, Ask, Url, Web};
use super::{Lack, check, judged};

/// The longest answer, bytes.
const MAX_ANSWER: usize = 2 * 1024 * 1024;
/// Analyses of one page.
const PAGE: usize = 100;
/// How many pages are looked through: housekeeping keeps far fewer analyses.
const MAX_PAGES: usize = 20;
const NAME: &str = "sonarqube";

/// Whom to ask about what.
#[derive(Debug)]
pub(crate) struct Sonar {
    pub(crate) url: Url,
    pub(crate) project: String,
    /// `None`: the main branch, which is the only one of the Community Build.
    pub(crate) branch: Option<String>,
    pub(crate) token: Option<Secret>,
    /// A commit without an analysis passes: housekeeping deletes those of old commits, and a rollback
    /// goes to one.
    pub(crate) unanalysed_passes: bool,
}

/// The check of the quality gate.
pub(super) async fn look(
    sonar: &Sonar,
    web: &Web,
    revision: Option<&str>,
    until: Instant,
) -> Check {
    let subject = quoted(&sonar.project);
    let Some(revision) = revision else {
        let reason = "the images do not name one commit that could be looked up".to_owned();
        return check(NAME, &subject, Verdict::Skipped, reason);
    };
    let server = Server { sonar, web, until };
    match server.judge(revision).await {
        Ok(judgement) => judged(NAME, &subject, judgement),
        Err(lack) => {
            let (verdict, reason) = lack.verdict();
            check(NAME, &subject, verdict, reason)
        }
    }
}

/// What a look for the analysis came to.
enum Round {
    /// The key of the analysis, or why there is none.
    Ended(Result<String, String>),
    /// So many analyses of the project are not done.
    Pending(usize),
}

struct Server<'g> {
    sonar: &'g Sonar,
    web: &'g Web,
    until: Instant,
}

impl Server<'_> {
    async fn judge(&self, revision: &str) -> Result<Result<String, String>, Lack> {
        let analysis = match self.await_analysis(revision).await? {
            Ok(analysis) => analysis,
            Err(why) if self.sonar.unanalysed_passes => {
                return Ok(Ok(format!("{why}; passed, because that is allowed")));
            }
            Err(why) => return Ok(Err(why)),
        };
        let query = [("analysisId", analysis.as_str())];
        let answer = self.get(&["api", "qualitygates", "project_status"], &query);
        Ok(judge(&answer.await?))
    }

    /// The analysis of the commit, waited for while anything is pending; or why there is none.
    async fn await_analysis(&self, revision: &str) -> Result<Result<String, String>, Lack> {
        let mut waits = None;
        loop {
            let round = self.round(revision).await;
            let next = Instant::now() + self.web.poll();
            match (round, waits) {
                (Ok(Round::Ended(end)), _) => return Ok(end),
                (Ok(Round::Pending(count)), _) if next < self.until => waits = Some(count),
                // The time was over while it was asked again.
                (Ok(Round::Pending(count)), _) | (Err(Lack::NoAnswer(_)), Some(count)) => {
                    let why = format!("the analysis is not done in time: {count} pending");
                    return Err(Lack::NoAnswer(why));
                }
                (Err(lack), _) => return Err(lack),
            }
            tokio::time::sleep_until(next).await;
        }
    }

    /// Looks for the analysis once.
    async fn round(&self, revision: &str) -> Result<Round, Lack> {
        if let Ok(found) = self.find(revision).await? {
            return Ok(Round::Ended(Ok(found)));
        }
        let query = [("component", self.sonar.project.as_str())];
        let bytes = self.get(&["api", "ce", "component"], &query).await?;
        let tasks = Tasks::parse(&bytes).map_err(Lack::Refused)?;
        if tasks.pending > 0 {
            return Ok(Round::Pending(tasks.pending));
        }
        // What was pending a moment ago may be there now.
        let again = self.find(revision).await?;
        let again = again.map_err(|known| match tasks.failed {
            Some(failed) => format!("{known}; the last one {failed}"),
            None => known,
        });
        Ok(Round::Ended(again))
    }

    /// Looks through the analyses, the newest first. Else tells what there is.
    async fn find(&self, revision: &str) -> Result<Result<String, String>, Lack> {
        let (mut seen, mut total) = (0, 0);
        for page in 1..=MAX_PAGES {
            let (page, size) = (page.to_string(), PAGE.to_string());
            let mut query = vec![
                ("project", self.sonar.project.as_str()),
                ("ps", &size),
                ("p", &page),
            ];
            query.extend(
                self.sonar
                    .branch
                    .as_deref()
                    .map(|branch| ("branch", branch)),
            );
            let bytes = self.get(&["api", "project_analyses", "search"], &query);
            let found = Analyses::parse(&bytes.await?, revision).map_err(Lack::Refused)?;
            if let Some(key) = found.found {
                return Ok(Ok(key));
            }
            seen += found.with_revision;
            total = found.total;
            if !found.more {
                break;
            }
        }
        let hint = match (total, seen) {
            (0, _) => "the project has none yet",
            (_, 0) => "none of its analyses names a commit: give the scanner sonar.scm.revision",
            _ => "it was analysed for other commits only",
        };
        Ok(Err(format!("there is no analysis of {revision}: {hint}")))
    }

    async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Vec<u8>, Lack> {
        let mut url = web::below(&self.sonar.url, path);
        url.query_pairs_mut().extend_pairs(query);
        let mut ask = Ask::get(url, MAX_ANSWER).header("accept", "application/json");
        if let Some(token) = &self.sonar.token {
            // The token as a user name: that works with every version.
            ask = ask.secret("authorization", &basic(token.reveal(), ""));
        }
        let answer = self.web.ask(&ask, self.until).await?;
        let (host, project) = (web::host(&self.sonar.url), quoted(&self.sonar.project));
        Err(Lack::Refused(match answer.status {
            200 if answer.content_type() == "application/json" => return Ok(answer.body),
            200 => format!(
                "{host} answers with {}, not with JSON: is this the address of SonarQube?",
                quoted(answer.content_type())
            ),
            401 if self.sonar.token.is_none() => format!("{host} asks for a token"),
            401 => format!("{host} refuses the token: has it expired?"),
            403 => format!(
                "{host}: the token may not see the project {project}; it takes one of a user, as tokens for \
                 analyses may not browse"
            ),
            404 => format!(
                "{host} knows no project {project} (or no such branch, or not for this token)"
            ),
            status => format!("{host} answers {status}"),
        }))
    }
}
