//! The security gate: asks a registry and SonarQube what stands behind the images that are to be rolled
//! out. What their answers mean is decided in [`edge_agent_core::gate`].
//!
//! It fails closed: what is not known to be well does not pass.

pub(crate) mod credentials;
mod image;
mod registry;
pub(crate) mod secret;
mod sonarqube;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod web;

use std::path::PathBuf;
use std::time::Duration;

use edge_agent_core::gate::image::Platform;
use edge_agent_core::gate::policy::Policy;
use edge_agent_core::gate::report::{Check, Report, Verdict};
use edge_agent_core::gate::signature::ImageKey;
use futures::future::join_all;
use tokio::time::Instant;

use credentials::Credentials;
pub(crate) use sonarqube::Sonar;
use web::{Timing, Web};

/// What is to be looked at, and how.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Names of images, each with its digest.
    pub(crate) images: Vec<String>,
    pub(crate) policy: Policy,
    /// What the node runs.
    pub(crate) platform: Platform,
    /// The commit that is rolled out; `None`: the one that the images say they are built from.
    pub(crate) revision: Option<String>,
    pub(crate) credentials: Credentials,
    /// Registries that are asked without TLS, besides those of this machine.
    pub(crate) plain_http: Vec<String>,
    /// Who signs images; empty: signatures are not looked at.
    pub(crate) keys: Vec<ImageKey>,
    pub(crate) sonarqube: Option<Sonar>,
    /// What cannot be asked in time keeps nobody out.
    pub(crate) lenient: bool,
    /// How long all of it may take.
    pub(crate) timeout: Duration,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) timing: Timing,
}

/// Why a question has no answer that could be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Lack {
    /// Nobody could be asked in time.
    NoAnswer(String),
    /// It was answered, and not with what was asked for.
    Refused(String),
}

impl From<web::Fault> for Lack {
    fn from(fault: web::Fault) -> Self {
        match fault {
            web::Fault::NoAnswer(why) => Self::NoAnswer(why),
            web::Fault::Broken(why) => Self::Refused(why),
        }
    }
}

impl Lack {
    fn verdict(self) -> (Verdict, String) {
        match self {
            Self::NoAnswer(why) => (Verdict::NoAnswer, why),
            Self::Refused(why) => (Verdict::Failed, why),
        }
    }
}

/// Makes every check.
///
/// # Errors
/// When the client cannot be made: the CA file is none. What servers do is in the report.
pub(crate) async fn judge(settings: &Settings) -> anyhow::Result<Report> {
    let web = Web::new(settings.ca_file.as_deref(), settings.timing)?;
    let until = Instant::now() + settings.timeout;
    let images = settings
        .images
        .iter()
        .map(|name| image::look(settings, &web, name, until));
    let images = join_all(images);
    let mut report = Report {
        revision: settings.revision.clone(),
        checks: Vec::new(),
        lenient: settings.lenient,
    };
    let source = async |revision: Option<&str>| match &settings.sonarqube {
        Some(sonar) => Some(sonarqube::look(sonar, &web, revision, until).await),
        None => None,
    };
    // Both are asked at once, so that one that is down takes no time from the other.
    let (looked, analysed) = match &settings.revision {
        Some(revision) => futures::future::join(images, source(Some(revision))).await,
        None => {
            let looked = images.await;
            let said: Vec<&str> = looked.iter().filter_map(|it| it.built_from()).collect();
            report.revision = agreed(&said).map(str::to_owned);
            let analysed = source(report.revision.as_deref()).await;
            (looked, analysed)
        }
    };
    let checks = looked.into_iter().flat_map(|it| it.checks);
    report.checks = checks.chain(analysed).collect();
    Ok(report)
}

/// The one commit that all name.
fn agreed<'s>(said: &[&'s str]) -> Option<&'s str> {
    let first = said.first()?;
    said.iter().all(|it| it == first).then_some(first)
}

fn check(name: &'static str, subject: &str, verdict: Verdict, reason: String) -> Check {
    Check {
        name,
        subject: subject.to_owned(),
        verdict,
        reason,
    }
}

/// A check with the result of a judgement.
fn judged(name: &'static str, subject: &str, judgement: Result<String, String>) -> Check {
    match judgement {
        Ok(reason) => check(name, subject, Verdict::Passed, reason),
        Err(reason) => check(name, subject, Verdict::Failed, reason),
    }
}
