//! The agent's own notices.

use edge_agent_core::notice::{Notice, NoticeKind};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::notify::task::{Patience, Subscriber, run_patiently};

fn notice(kind: NoticeKind, title: &str) -> Notice {
    Notice {
        kind,
        good: kind == NoticeKind::RolledBack,
        title: title.to_owned(),
        application: Some("shop".to_owned()),
        revision: Some(SHA.to_owned()),
        who: Vec::new(),
        message: "because".to_owned(),
        at: "2026-11-25T03:00:00Z".parse().unwrap(),
    }
}

fn subscriber(name: &str, url: Source, on: &[NoticeKind]) -> Subscriber {
    Subscriber {
        name: name.to_owned(),
        receiver: Receiver::Json { url, token: None },
        on: on.to_vec(),
        ca_file: None,
    }
}

/// Waits for a number of requests.
async fn seen(server: &Double, count: usize) -> Vec<Seen> {
    tokio::time::timeout(LONG, async {
        while server.seen().len() < count {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    server.seen()
}

#[tokio::test]
async fn each_is_told_what_it_wants_to_know_and_none_waits_for_another() {
    let directory = tempfile::tempdir().unwrap();
    let team = Double::start(|_, _| Reply::status(200)).await;
    // Nobody answers there.
    let silent = Double::start(|_, _| Reply::silent()).await;
    let url = |server: &Double, name: &str| source(&directory, name, &server.url());
    let all = &NoticeKind::ALL;
    let subscribers = vec![
        subscriber("silent", url(&silent, "silent"), all),
        subscriber(
            "team",
            url(&team, "team"),
            &[NoticeKind::RolledBack, NoticeKind::GateFailed],
        ),
    ];
    let (notices, waiting) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let patience = Patience {
        total: LONG,
        timing: QUICK,
    };
    let running = tokio::spawn(run_patiently(
        "pi-01".to_owned(),
        subscribers,
        patience,
        waiting,
        stop.clone(),
    ));
    notices
        .send(notice(NoticeKind::DeployFailed, "shop: it is Degraded"))
        .await
        .unwrap();
    notices
        .send(notice(
            NoticeKind::RolledBack,
            "shop: the node rolled back by itself",
        ))
        .await
        .unwrap();
    let told = seen(&team, 1).await;
    let body = told[0].json();
    assert_eq!(
        body["title"],
        "shop: the node rolled back by itself on pi-01"
    );
    assert_eq!(
        (&body["outcome"], &body["where"]),
        (&json!("succeeded"), &json!("pi-01"))
    );
    assert_eq!(body["who"], "pi-01, by itself");

    // More than there is room for is left out, and nothing stands still for it.
    for number in 0..200 {
        notices
            .send(notice(NoticeKind::DeployFailed, &number.to_string()))
            .await
            .unwrap();
    }
    notices
        .send(notice(NoticeKind::GateFailed, "gate"))
        .await
        .unwrap();
    assert_eq!(seen(&team, 2).await[1].json()["title"], "gate on pi-01");
    assert_eq!(silent.seen().len(), 1);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_notice_outlives_a_line_that_is_down_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let server = Double::start(|_, count| Reply::status(if count < 5 { 503 } else { 200 })).await;
    let url = source(&directory, "url", &server.url());
    let (notices, waiting) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let patience = Patience {
        total: LONG,
        timing: QUICK,
    };
    let subscribers = vec![subscriber("team", url, &NoticeKind::ALL)];
    let running = tokio::spawn(run_patiently(
        "pi-01".to_owned(),
        subscribers,
        patience,
        waiting,
        stop.clone(),
    ));
    notices
        .send(notice(NoticeKind::Command, "shop: rollout failed"))
        .await
        .unwrap();
    seen(&server, 6).await;
    // Without the supervisor it does not end by itself: that would count as a fault.
    drop(notices);
    tokio::task::yield_now().await;
    assert!(!running.is_finished());
    stop.cancel();
    running.await.unwrap();
}
