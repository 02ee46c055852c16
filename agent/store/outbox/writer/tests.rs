use super::*;
use crate::config;
use edge_agent_core::retention::Class;
use edge_agent_core::topic::NodeName;
use std::path::Path;
use std::sync::{Arc, Mutex};

fn fact(subject: &str) -> Fact {
    Fact {
        class: Class::Agent,
        kind: "edge.test".into(),
        subject: subject.to_owned(),
        at: "2026-11-24T20:31:28Z".parse().unwrap(),
        data: serde_json::Value::Null,
    }
}

fn open(dir: &Path, max_records: u64, reserve_bytes: u64) -> Outbox {
    let limits = config::Outbox {
        max_bytes: 1 << 20,
        max_records,
        reserve_bytes,
    };
    let node = NodeName::new("pi-01").unwrap();
    Outbox::open(&dir.join("state/outbox"), &node, &limits)
        .unwrap()
        .outbox
}

fn kinds(outbox: &Outbox) -> Vec<(String, String)> {
    outbox
        .peek(0, 1000)
        .unwrap()
        .iter()
        .map(|record| {
            let event: serde_json::Value = serde_json::from_slice(&record.payload).unwrap();
            let text = |key: &str| event[key].as_str().unwrap().to_owned();
            (text("type"), text("subject"))
        })
        .collect()
}

#[tokio::test]
async fn a_burst_costs_few_syncs_and_keeps_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path(), 1000, 0);
    let (events, mut received) = mpsc::channel(64);
    let groups = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&groups);
    let (sender, writer) = writer(outbox.clone(), events, move |_, size| {
        seen.lock().unwrap().push(size);
    });
    let feed = async move {
        for i in 0..100 {
            sender.record(fact(&format!("{i:03}"))).await;
        }
    };
    tokio::join!(feed, writer.run()).1.unwrap();

    let subjects: Vec<String> = kinds(&outbox).into_iter().map(|(_, it)| it).collect();
    let wanted: Vec<String> = (0..100).map(|i| format!("{i:03}")).collect();
    assert_eq!(subjects, wanted);
    let groups = groups.lock().unwrap().clone();
    assert_eq!(groups.iter().sum::<usize>(), 100);
    assert!(groups.len() < 20, "{groups:?}");
    assert!(
        matches!(received.recv().await, Some(Event::OutboxChanged(status)) if status.records > 0)
    );
}

#[tokio::test]
async fn a_full_disk_is_told_and_the_records_stay_in_order() {
    let dir = tempfile::tempdir().unwrap();
    // More free space than any disk has is to be left to others.
    let outbox = open(dir.path(), 1000, u64::MAX);
    let (events, mut received) = mpsc::channel(64);
    let (sender, writer) = writer(outbox.clone(), events, |_, _| {});
    let feed = async move {
        sender.record(fact("a")).await;
        let Some(Event::Impaired { part, fault }) = received.recv().await else {
            panic!("an impairment comes first");
        };
        assert_eq!(part, "outbox");
        assert!(fault.unwrap().contains("outbox.reserve_bytes"));
        sender.record(fact("b")).await;
    };
    // The end does not hang on a disk that never comes back.
    tokio::join!(feed, writer.run()).1.unwrap();
    assert_eq!(outbox.status().records, 0);
}

#[tokio::test]
async fn what_waited_is_written_when_the_disk_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path(), 1000, 0);
    // The store is gone, and a file stands where the directory around it belongs.
    let path = dir.path().join("state");
    outbox.fail_for_test();
    std::fs::rename(&path, dir.path().join("elsewhere")).unwrap();
    std::fs::write(&path, b"").unwrap();
    let (events, mut received) = mpsc::channel(64);
    let (sender, writer) = writer(outbox.clone(), events, |_, _| {});
    let feed = async move {
        sender.record(fact("a")).await;
        sender.record(fact("b")).await;
        let first = received.recv().await;
        assert!(
            matches!(&first, Some(Event::Impaired { fault: Some(_), .. })),
            "{first:?}"
        );
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(dir.path().join("elsewhere"), &path).unwrap();
        loop {
            match received.recv().await.unwrap() {
                Event::Impaired { fault: None, .. } => break,
                Event::Impaired { .. } | Event::OutboxChanged(_) => {}
                other => panic!("{other:?}"),
            }
        }
        dir
    };
    let (_dir, ended) = tokio::join!(feed, writer.run());
    ended.unwrap();
    let subjects: Vec<String> = kinds(&outbox).into_iter().map(|(_, it)| it).collect();
    assert_eq!(subjects, ["a", "b"]);
}

#[tokio::test]
async fn what_is_dropped_becomes_an_event_once() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path(), 3, 0);
    let (events, _received) = mpsc::channel(64);
    let (sender, writer) = writer(outbox.clone(), events, |_, _| {});
    let feed = async move {
        for i in 0..20 {
            sender.record(fact(&format!("{i:03}"))).await;
        }
    };
    tokio::join!(feed, writer.run()).1.unwrap();
    let kept = kinds(&outbox);
    assert_eq!(kept.len(), 3);
    let drops = kept
        .iter()
        .filter(|(kind, _)| kind == "edge.outbox.dropped");
    assert!(drops.count() >= 1, "{kept:?}");
    assert!(outbox.status().dropped >= 17);
}

/// The next thing that is said of whether the disk can be written.
async fn next_fault(received: &mut mpsc::Receiver<Event>) -> Option<String> {
    loop {
        match received.recv().await.unwrap() {
            Event::Impaired { part, fault } => {
                assert_eq!(part, "outbox");
                return fault;
            }
            Event::OutboxChanged(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_hangs_is_told_and_nothing_is_lost_when_it_returns() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path(), 1000, 0);
    let (events, mut received) = mpsc::channel(64);
    let (sender, writer) = writer(outbox.clone(), events, |_, _| {});
    let hanging = outbox.hang_for_test();
    let feed = async move {
        sender.record(fact("a")).await;
        // The clock stands still for as long as a write is on its way.
        tokio::task::yield_now().await;
        tokio::time::advance(SLOW.checked_sub(Duration::from_millis(2)).unwrap()).await;
        assert!(received.try_recv().is_err(), "not yet");
        tokio::time::advance(Duration::from_millis(4)).await;
        let fault = next_fault(&mut received).await.unwrap();
        assert!(fault.contains("has not returned for 15 s"), "{fault}");
        sender.record(fact("b")).await;
        drop(hanging);
        assert_eq!(next_fault(&mut received).await, None);
    };
    tokio::join!(feed, writer.run()).1.unwrap();
    let subjects: Vec<String> = kinds(&outbox).into_iter().map(|(_, it)| it).collect();
    assert_eq!(subjects, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_never_returns_ends_the_process_instead_of_waiting_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path(), 1000, 0);
    let (events, _received) = mpsc::channel(64);
    let (sender, writer) = writer(outbox.clone(), events, |_, _| {});
    let hanging = outbox.hang_for_test();
    let feed = async {
        sender.record(fact("a")).await;
        tokio::task::yield_now().await;
        sender.record(fact("b")).await;
        tokio::task::yield_now().await;
        tokio::time::advance(HUNG + Duration::from_millis(2)).await;
    };
    let error = tokio::join!(feed, writer.run()).1.unwrap_err();
    assert!(error.to_string().contains("60 s"), "{error}");
    drop(hanging);

    // The next life has both: what the write had that hung, and what waited behind it.
    let (events, _received) = mpsc::channel(64);
    let (sender, next) = super::writer(outbox.clone(), events, |_, _| {});
    drop(sender);
    next.run().await.unwrap();
    let mut subjects: Vec<String> = kinds(&outbox).into_iter().map(|(_, it)| it).collect();
    // "a" may have come to the medium after all; it has the same id then.
    subjects.dedup();
    assert!(
        subjects.ends_with(&["a".to_owned(), "b".to_owned()]),
        "{subjects:?}"
    );
    let ids = |subject: &str| -> std::collections::BTreeSet<String> {
        let records = outbox.peek(0, 1000).unwrap();
        let events = records
            .iter()
            .map(|it| serde_json::from_slice(&it.payload).unwrap());
        let of = events.filter(|event: &serde_json::Value| event["subject"] == subject);
        of.map(|event| event["id"].to_string()).collect()
    };
    assert_eq!((ids("a").len(), ids("b").len()), (1, 1));
    assert!(!outbox.has_set_aside());
}

#[tokio::test]
async fn an_answer_is_told_once_it_is_on_the_medium() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path(), 1000, 0);
    let (events, mut received) = mpsc::channel(64);
    let (sender, writer) = writer(outbox.clone(), events, |_, _| {});
    let at = "2026-11-24T20:31:28Z".parse().unwrap();
    let feed = async move {
        sender.answer("c1".to_owned(), b"{}".to_vec(), at).await;
        sender.record(fact("between")).await;
        sender.answer("c1".to_owned(), b"{}".to_vec(), at).await;
        let mut told = Vec::new();
        while told.len() < 2 {
            if let Some(Event::AnswersStored(commands)) = received.recv().await {
                assert!(outbox.peek(0, 10).unwrap().len() > told.len());
                told.extend(commands);
            }
        }
        told
    };
    let (told, ended) = tokio::join!(feed, writer.run());
    ended.unwrap();
    assert_eq!(told, ["c1", "c1"]);
}

#[tokio::test(start_paused = true)]
async fn hours_without_a_write_are_no_write_that_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path(), 1000, 0);
    let (events, _received) = mpsc::channel(64);
    let (sender, writer) = writer(outbox.clone(), events, |_, _| {});
    let feed = async move {
        tokio::time::sleep(Duration::from_secs(3 * 3600)).await;
        sender.record(fact("at last")).await;
    };
    tokio::join!(feed, writer.run()).1.unwrap();
    assert_eq!(kinds(&outbox).len(), 1);
}
