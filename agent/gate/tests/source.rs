//! SonarQube's part of the gate.

use serde_json::{Value, json};

use super::double::{Double, Reply, Seen};
use super::*;
use crate::gate::{Sonar, web};

const TOKEN: &str = "squ_hunter2";

/// What SonarQube has to tell.
fn analyses(revisions: &[&str]) -> Reply {
    let analyses: Vec<Value> = revisions
        .iter()
        .map(|it| json!({"key": format!("key-of-{it}"), "date": "2026-11-24T10:00:00+0000", "revision": it}))
        .collect();
    let paging = json!({"pageIndex": 1, "pageSize": 100, "total": analyses.len()});
    Reply::json(&json!({"paging": paging, "analyses": analyses}))
}

fn gate(status: &str) -> Reply {
    let condition = json!({"status": status, "metricKey": "new_violations", "comparator": "GT", "errorThreshold": "0", "actualValue": "3"});
    Reply::json(&json!({"projectStatus": {"status": status, "conditions": [condition]}}))
}

fn queue(pending: usize) -> Reply {
    let task = json!({"id": "t", "type": "REPORT", "status": "IN_PROGRESS"});
    let queue = vec![task; pending];
    Reply::json(&json!({"queue": queue, "current": {"id": "c", "status": "SUCCESS"}}))
}

async fn start(
    script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
) -> (Double, Settings) {
    let server = Double::start(script).await;
    let settings = asking(&server.url());
    (server, settings)
}

fn asking(url: &str) -> Settings {
    Settings {
        sonarqube: Some(Sonar {
            url: web::address(url).unwrap(),
            project: "shop".to_owned(),
            branch: None,
            token: Secret::new(TOKEN),
            unanalysed_passes: false,
        }),
        ..settings(Vec::new())
    }
}

#[tokio::test]
async fn the_quality_gate_of_the_commits_own_analysis_counts() {
    let (server, settings) = start(|seen, _| match seen.path.split('?').next() {
        Some("/api/project_analyses/search") => analyses(&["0".repeat(40).as_str(), SHA]),
        Some("/api/qualitygates/project_status") => gate("OK"),
        _ => Reply::status(404),
    })
    .await;
    let report = judge(&settings).await.unwrap();
    assert_eq!(report.outcome(), Outcome::Passed, "{}", report.table());
    let seen = server.seen();
    assert_eq!(
        seen.last().unwrap().path,
        format!("/api/qualitygates/project_status?analysisId=key-of-{SHA}")
    );
    // base64 of the token as a user name without a password.
    assert_eq!(
        seen[0].header("authorization"),
        Some("Basic c3F1X2h1bnRlcjI6")
    );

    let (_server, settings) = start(|seen, _| match seen.path.contains("qualitygates") {
        true => gate("ERROR"),
        false => analyses(&[SHA]),
    })
    .await;
    refused(&settings, "sonarqube", "new_violations is 3, above 0").await;
}

#[tokio::test]
async fn a_pending_analysis_is_waited_for_and_not_longer_than_the_deadline() {
    let (server, mut settings) = start(|seen, count| {
        match seen.path.split('?').next() {
            Some("/api/qualitygates/project_status") => gate("OK"),
            Some("/api/ce/component") => queue(1),
            // The analysis is there after three rounds.
            _ if count > 5 => analyses(&[SHA]),
            _ => analyses(&[]),
        }
    })
    .await;
    let report = judge(&settings).await.unwrap();
    assert_eq!(report.outcome(), Outcome::Passed, "{}", report.table());
    assert!(server.seen().len() > 6);

    let (_server, asked) = start(|seen, _| match seen.path.contains("/ce/") {
        true => queue(2),
        false => analyses(&[]),
    })
    .await;
    settings.sonarqube = asked.sonarqube;
    settings.timeout = Duration::from_secs(1);
    let report = judge(&settings).await.unwrap();
    assert_eq!(report.outcome(), Outcome::NoAnswer, "{}", report.table());
    assert!(find(&report, "sonarqube").reason.contains("2 pending"));
}

#[tokio::test]
async fn a_commit_that_was_not_analysed_does_not_pass_unless_that_is_allowed() {
    for (known, why) in [
        (Vec::new(), "has none yet"),
        (
            vec!["0000000000000000000000000000000000000000"],
            "other commits",
        ),
    ] {
        let (_server, mut settings) = start(move |seen, _| match seen.path.contains("/ce/") {
            true => queue(0),
            false => analyses(&known),
        })
        .await;
        refused(&settings, "sonarqube", why).await;
        if let Some(sonar) = &mut settings.sonarqube {
            sonar.unanalysed_passes = true;
        }
        let report = judge(&settings).await.unwrap();
        assert_eq!(report.outcome(), Outcome::Passed, "{}", report.table());
    }
    let (_server, settings) = start(|seen, _| match seen.path.contains("/ce/") {
        true => Reply::json(
            &json!({"queue": [], "current": {"status": "FAILED", "errorMessage": "disk full"}}),
        ),
        false => analyses(&[]),
    })
    .await;
    refused(&settings, "sonarqube", "the last one failed: disk full").await;
}

#[tokio::test]
async fn what_pending_hid_is_looked_for_once_more() {
    // Between the two questions the analysis is done.
    let (_server, settings) = start(|seen, count| match seen.path.split('?').next() {
        Some("/api/qualitygates/project_status") => gate("OK"),
        Some("/api/ce/component") => queue(0),
        _ if count == 0 => analyses(&[]),
        _ => analyses(&[SHA]),
    })
    .await;
    let report = judge(&settings).await.unwrap();
    assert_eq!(report.outcome(), Outcome::Passed, "{}", report.table());
}

#[tokio::test]
async fn each_refusal_of_sonarqube_has_its_reason() {
    let page = "<html>log in</html>";
    for (reply, why) in [
        (Reply::status(401), "refuses the token"),
        (Reply::status(403), "may not see"),
        (Reply::status(404), "knows no project"),
        (Reply::status(418), "answers 418"),
        (
            Reply::new(200, "text/html", page),
            "the address of SonarQube",
        ),
        (Reply::new(200, "application/json", "{}"), "API"),
    ] {
        let (_server, mut settings) = start(move |_, _| reply.clone()).await;
        settings.lenient = true;
        let report = refused(&settings, "sonarqube", why).await;
        assert!(!report.table().contains(TOKEN), "{}", report.table());
    }
}

#[tokio::test]
async fn the_token_goes_to_no_other_host() {
    let other = Double::start(|_, _| analyses(&[SHA])).await;
    let elsewhere = format!("{}/api", other.url());
    let (_server, settings) = start(move |_, _| Reply::moved(302, &elsewhere)).await;
    refused(&settings, "sonarqube", "redirects to").await;
    assert!(other.seen().is_empty());
}
