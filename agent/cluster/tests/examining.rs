use edge_agent_core::application::ApplicationKey;
use edge_agent_core::application::workload::{Complaint, Suspect, Workload};
use edge_agent_core::event::{Event, Examination};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::fake::{Fake, unreachable};
use super::super::{ClusterError, Examiner};

fn examination(number: u64, names: &[&str]) -> Examination {
    let suspects = names.iter().map(|name| Suspect {
        workload: Workload::Deployment,
        namespace: "shop".to_owned(),
        name: (*name).to_owned(),
    });
    Examination {
        number,
        application: ApplicationKey::parse("shop", "argocd").unwrap(),
        suspects: suspects.collect(),
    }
}

fn complaint(text: &str, failed: bool) -> Result<Complaint, ClusterError> {
    let text = text.to_owned();
    Ok(Complaint { text, failed })
}

/// Which workload is named for each.
async fn named(fake: &Fake, examinations: Vec<Examination>) -> Vec<Option<String>> {
    let (sender, receiver) = mpsc::channel(10);
    let (events, mut said) = mpsc::channel(10);
    let stop = CancellationToken::new();
    let examiner = Examiner::new(fake.clone()).run(receiver, events, stop.clone());
    let asking = async {
        let mut named = Vec::new();
        for examination in examinations {
            let number = examination.number;
            sender.send(examination).await.unwrap();
            let Some(Event::Examined {
                number: answered,
                culprit,
                ..
            }) = said.recv().await
            else {
                panic!("no answer");
            };
            assert_eq!(answered, number);
            named.push(culprit.map(|culprit| format!("{}: {}", culprit.name, culprit.message)));
        }
        stop.cancel();
        named
    };
    let (named, ended) = tokio::join!(asking, examiner);
    ended.unwrap();
    named
}

#[tokio::test]
async fn the_one_that_has_failed_is_named_and_the_others_are_not_asked() {
    let fake = Fake::default();
    fake.script().complaints.extend([
        ("slow".to_owned(), complaint("too few pods", false)),
        ("bad".to_owned(), complaint("timed out", true)),
    ]);
    let names = ["fine", "slow", "bad", "more"];
    let named = named(&fake, vec![examination(1, &names)]).await;
    assert_eq!(named, [Some("bad: timed out".to_owned())]);
    assert_eq!(fake.script().asked, ["fine", "slow", "bad"]);
}

#[tokio::test]
async fn one_with_too_few_pods_is_better_than_none() {
    let fake = Fake::default();
    let slow = ("slow".to_owned(), complaint("too few pods", false));
    fake.script().complaints.extend([slow]);
    let named = named(
        &fake,
        vec![examination(1, &["fine", "slow"]), examination(2, &["fine"])],
    );
    assert_eq!(named.await, [Some("slow: too few pods".to_owned()), None]);
}

#[tokio::test]
async fn without_the_right_or_the_server_nothing_is_named_and_nothing_asked_again() {
    let fake = Fake::default();
    fake.script().complaints.extend([
        (
            "secret".to_owned(),
            Err(ClusterError::Forbidden("no".to_owned())),
        ),
        ("away".to_owned(), Err(unreachable())),
        ("gone".to_owned(), Err(ClusterError::NotFound)),
        ("bad".to_owned(), complaint("timed out", true)),
    ]);
    let asked = vec![
        examination(1, &["secret", "bad"]),
        examination(2, &["away", "bad"]),
        // One that was deleted meanwhile is no reason to give up.
        examination(3, &["gone", "bad"]),
    ];
    let named = named(&fake, asked).await;
    assert_eq!(named, [None, None, Some("bad: timed out".to_owned())]);
    assert_eq!(fake.script().asked, ["secret", "away", "gone", "bad"]);
}

#[tokio::test]
async fn who_may_read_jobs_only_is_told_of_jobs() {
    let fake = Fake::default();
    fake.script().complaints.extend([
        (
            "web".to_owned(),
            Err(ClusterError::Forbidden("no".to_owned())),
        ),
        ("load".to_owned(), complaint("backoff limit", true)),
    ]);
    let mut examination = examination(1, &["web", "cache", "load"]);
    examination.suspects[2].workload = Workload::Job;
    let named = named(&fake, vec![examination]).await;
    assert_eq!(named, [Some("load: backoff limit".to_owned())]);
    assert_eq!(fake.script().asked, ["web", "load"]);
}
