//! The agent's own notices.

use edge_agent_core::notice::{Notice, NoticeKind};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
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

/// A running task: the way in, and how to end it.
struct Running {
    notices: mpsc::Sender<Notice>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(subscribers: Vec<Subscriber>) -> Self {
        let (notices, waiting) = mpsc::channel(64);
        let stop = CancellationToken::new();
        let patience = Patience {
            total: LONG,
            timing: QUICK,
        };
        let node = "pi-01".to_owned();
        let run = run_patiently(node, subscribers, patience, waiting, stop.clone());
        Self {
            notices,
            stop,
            task: tokio::spawn(run),
        }
    }

    async fn send(&self, kind: NoticeKind, title: &str) {
        self.notices.send(notice(kind, title)).await.unwrap();
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
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
    use NoticeKind::{DeployFailed, GateFailed, RolledBack};
    let directory = tempfile::tempdir().unwrap();
    let team = Double::start(|_, _| Reply::status(200)).await;
    // Nobody answers there.
    let silent = Double::start(|_, _| Reply::silent()).await;
    let url = |server: &Double, name: &str| source(&directory, name, &server.url());
    let running = Running::start(vec![
        subscriber("silent", url(&silent, "silent"), &NoticeKind::ALL),
        subscriber("team", url(&team, "team"), &[RolledBack, GateFailed]),
    ]);
    running.send(DeployFailed, "shop: it is Degraded").await;
    let title = "shop: the node rolled back by itself";
    running.send(RolledBack, title).await;
    let body = seen(&team, 1).await[0].json();
    assert_eq!(body["title"], format!("{title} on pi-01"));
    assert_eq!(
        (&body["outcome"], &body["where"], &body["who"]),
        (
            &json!("succeeded"),
            &json!("pi-01"),
            &json!("pi-01, by itself")
        )
    );

    // More than there is room for is left out, and nothing stands still for it.
    for number in 0..200 {
        running.send(DeployFailed, &number.to_string()).await;
    }
    running.send(GateFailed, "gate").await;
    assert_eq!(seen(&team, 2).await[1].json()["title"], "gate on pi-01");
    assert!(silent.seen().len() <= 1, "one after the other");
    running.end().await;
}

#[tokio::test]
async fn a_notice_outlives_a_line_that_is_down_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let server = Double::start(|_, count| Reply::status(if count < 5 { 503 } else { 200 })).await;
    let url = source(&directory, "url", &server.url());
    let running = Running::start(vec![subscriber("team", url, &NoticeKind::ALL)]);
    running
        .send(NoticeKind::Command, "shop: rollout failed")
        .await;
    seen(&server, 6).await;
    running.end().await;
}

#[tokio::test]
async fn without_the_supervisor_it_does_not_end_by_itself() {
    // That would count as a fault.
    let Running {
        notices,
        stop,
        task,
    } = Running::start(Vec::new());
    drop(notices);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!task.is_finished());
    stop.cancel();
    task.await.unwrap();
}
