use super::*;
use crate::config;
use crate::store::outbox::record::NewRecord;
use edge_agent_core::event::Fact;
use edge_agent_core::retention::Class;
use jiff::Timestamp;
use std::cell::RefCell;
use tokio::sync::oneshot;

/// A broker that answers when the test says so.
#[derive(Default)]
struct Port {
    sent: RefCell<Vec<(Message, Option<oneshot::Sender<Answer>>)>>,
    /// Answers of topics that are given at once.
    refuses: RefCell<Vec<String>>,
    accepts: bool,
}

impl Publish for Port {
    fn publish(&self, message: Message) -> BoxFuture<'static, Answer> {
        let (sender, receiver) = oneshot::channel();
        let refused = self.refuses.borrow().contains(&message.topic);
        let mut sent = self.sent.borrow_mut();
        if refused {
            sent.push((message, None));
            return std::future::ready(Answer::Refused("NotAuthorized".to_owned())).boxed();
        }
        if self.accepts {
            sent.push((message, None));
            return std::future::ready(Answer::Accepted { anyone: true }).boxed();
        }
        sent.push((message, Some(sender)));
        async { receiver.await.unwrap_or(Answer::Lost) }.boxed()
    }
}

impl Port {
    fn accepting() -> Self {
        Self {
            accepts: true,
            ..Self::default()
        }
    }

    fn topics(&self) -> Vec<String> {
        let sent = self.sent.borrow();
        sent.iter()
            .map(|(message, _)| message.topic.clone())
            .collect()
    }

    /// The sequences of the events that were sent, in order.
    fn sequences(&self) -> Vec<u64> {
        let sent = self.sent.borrow();
        sent.iter()
            .filter_map(|(message, _)| sequence(message))
            .collect()
    }

    fn answer(&self, index: usize, answer: Answer) {
        let sender = self.sent.borrow_mut()[index].1.take().unwrap();
        sender.send(answer).unwrap();
    }
}

fn sequence(message: &Message) -> Option<u64> {
    let event: serde_json::Value = serde_json::from_slice(&message.payload).ok()?;
    event["sequence"].as_str()?.parse().ok()
}

fn event(n: usize) -> NewRecord {
    NewRecord::event(Fact {
        class: Class::Agent,
        kind: "edge.test".into(),
        subject: n.to_string(),
        at: Timestamp::UNIX_EPOCH,
        data: serde_json::Value::Null,
    })
}

fn result(command: &str) -> NewRecord {
    NewRecord::Result {
        command: command.to_owned(),
        envelope: b"{}".to_vec(),
        at: Timestamp::UNIX_EPOCH,
    }
}

struct Bench {
    _dir: tempfile::TempDir,
    sources: Sources,
    events: mpsc::Receiver<Event>,
    stop: CancellationToken,
}

fn bench(records: &[NewRecord]) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeName::new("pi").unwrap();
    let limits = config::Outbox {
        max_bytes: 1 << 20,
        max_records: 1000,
        reserve_bytes: 0,
    };
    let opened = Outbox::open(&dir.path().join("outbox"), &node, &limits).unwrap();
    opened.outbox.append(records).unwrap();
    let (events, received) = mpsc::channel(16);
    Bench {
        _dir: dir,
        sources: Sources {
            node,
            outbox: opened.outbox,
            retained: Retained::default(),
            events,
            refusals: Refusals::new(Duration::from_millis(5), Duration::from_millis(20)),
        },
        events: received,
        stop: CancellationToken::new(),
    }
}

/// Runs the publisher until `done` says that what the test is about has happened.
async fn run_until(port: &Port, bench: &mut Bench, done: impl Fn(&Port, &Outbox) -> bool) {
    let outbox = bench.sources.outbox.clone();
    let mut publisher = Publisher::new(port, &mut bench.sources, "edge/v1/pi/presence".to_owned());
    let run = publisher.run(&bench.stop, Duration::from_secs(5));
    let watch = async {
        while !done(port, &outbox) {
            tokio::task::yield_now().await;
        }
    };
    let both = async {
        tokio::select! {
            () = run => panic!("the publisher ended"),
            () = watch => {}
        }
    };
    tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .expect("in time");
}

#[tokio::test]
async fn a_window_is_in_flight_in_order_and_only_what_is_acknowledged_leaves() {
    let records: Vec<_> = (0..40).map(event).collect();
    let mut bench = bench(&records);
    let port = Port::default();
    run_until(&port, &mut bench, |port, _| {
        port.sequences().len() == WINDOW
    })
    .await;
    assert_eq!(port.sequences(), (1..=16).collect::<Vec<_>>());
    assert_eq!(bench.sources.outbox.status().records, 40);
}

#[tokio::test]
async fn the_outbox_is_emptied_in_order_and_each_once() {
    let records: Vec<_> = (0..100).map(event).collect();
    let mut bench = bench(&records);
    let port = Port::accepting();
    run_until(&port, &mut bench, |_, outbox| outbox.status().records == 0).await;
    assert_eq!(port.sequences(), (1..=100).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_was_lost_is_sent_again_over_the_next_connection() {
    let mut bench = bench(&[event(1), event(2), event(3)]);
    let port = Port::default();
    let answered = RefCell::new(false);
    run_until(&port, &mut bench, |port, outbox| {
        if port.sequences().len() == 3 && !answered.replace(true) {
            port.answer(1, Answer::Accepted { anyone: false });
        }
        outbox.status().records == 2
    })
    .await;
    let port = Port::accepting();
    run_until(&port, &mut bench, |_, outbox| outbox.status().records == 0).await;
    assert_eq!(port.sequences(), [1, 3]);
}

#[tokio::test]
async fn what_is_lost_while_the_connection_lives_stays_and_is_sent_again() {
    let mut bench = bench(&[event(1), event(2)]);
    let port = Port::default();
    let lost = RefCell::new(false);
    run_until(&port, &mut bench, |port, _| {
        if port.sequences().len() == 2 && !lost.replace(true) {
            port.answer(0, Answer::Lost);
        }
        port.sequences().len() == 3
    })
    .await;
    assert_eq!(port.sequences(), [1, 2, 1]);
    assert_eq!(bench.sources.outbox.status().records, 2);
}

#[tokio::test]
async fn a_refused_topic_is_told_kept_and_tried_again_and_blocks_no_other() {
    let mut bench = bench(&[event(1), result("c1"), event(2), result("c2")]);
    let port = Port::accepting();
    port.refuses
        .borrow_mut()
        .push("edge/v1/pi/event".to_owned());
    run_until(&port, &mut bench, |port, outbox| {
        // Refused, tried again, and the results have left meanwhile.
        port.sequences().len() >= 4 && outbox.status().records == 2
    })
    .await;
    // It was refused twice, so it has been told by now.
    let Some(Event::Impaired { part, fault }) = bench.events.recv().await else {
        panic!("an impairment is told");
    };
    let fault = fault.unwrap();
    assert_eq!(part, "broker");
    assert!(
        fault.contains("edge/v1/pi/event (NotAuthorized)"),
        "{fault}"
    );
    assert!(port.topics().contains(&"edge/v1/pi/result/c2".to_owned()));

    // The access list is mended: everything leaves, in order, and the fault is taken back.
    let port = Port::accepting();
    let events = bench.sources.events.clone();
    run_until(&port, &mut bench, |_, outbox| {
        outbox.status().records == 0 && events.capacity() < events.max_capacity()
    })
    .await;
    assert_eq!(port.sequences(), [1, 3]);
    assert!(matches!(
        bench.events.recv().await,
        Some(Event::Impaired { fault: None, .. })
    ));
}

#[tokio::test]
async fn a_refusal_is_not_answered_with_a_spin() {
    let mut bench = bench(&[event(1)]);
    bench.sources.refusals = Refusals::new(Duration::from_secs(60), Duration::from_secs(60));
    let port = Port::accepting();
    port.refuses
        .borrow_mut()
        .push("edge/v1/pi/event".to_owned());
    bench.sources.outbox.append(&[result("c1")]).unwrap();
    run_until(&port, &mut bench, |_, outbox| outbox.status().records == 1).await;
    for n in 0..50 {
        bench
            .sources
            .outbox
            .append(&[result(&n.to_string())])
            .unwrap();
    }
    run_until(&port, &mut bench, |_, outbox| outbox.status().records == 1).await;
    assert_eq!(
        port.sequences(),
        [1],
        "tried once, whatever else there is to send"
    );
}

#[tokio::test]
async fn what_is_refused_as_the_hold_on_its_topic_ends_is_looked_at_again() {
    let mut bench = bench(&[event(1)]);
    // Every hold has ended before anybody can look at it.
    bench.sources.refusals = Refusals::new(Duration::ZERO, Duration::ZERO);
    let port = Port::accepting();
    let presence = "edge/v1/pi/presence".to_owned();
    let mut publisher = Publisher::new(&port, &mut bench.sources, presence);
    let refused = Answer::Refused("NotAuthorized".to_owned());
    publisher.settle_record(1, "edge/v1/pi/event", refused);
    assert!(publisher.next_wake().is_some());
}

#[tokio::test]
async fn results_are_retained_and_expire_and_events_are_neither() {
    let mut bench = bench(&[result("c1"), event(1)]);
    let port = Port::accepting();
    run_until(&port, &mut bench, |_, outbox| outbox.status().records == 0).await;
    let sent = port.sent.borrow();
    assert_eq!(sent[0].0.topic, "edge/v1/pi/result/c1");
    assert_eq!(
        (sent[0].0.retain, sent[0].0.expiry_seconds),
        (true, Some(86_400))
    );
    assert_eq!((sent[1].0.retain, sent[1].0.expiry_seconds), (false, None));
    assert_eq!(sent[1].0.content_type, Some("application/cloudevents+json"));
}

#[tokio::test]
async fn presence_comes_first_and_a_newer_value_follows_the_one_in_flight() {
    let mut bench = bench(&[event(1)]);
    let retained = bench.sources.retained.clone();
    retained.set("edge/v1/pi/health".into(), b"1".to_vec());
    retained.set("edge/v1/pi/presence".into(), b"on".to_vec());
    let port = Port::default();
    run_until(&port, &mut bench, |port, _| port.topics().len() == 3).await;
    assert_eq!(
        port.topics(),
        [
            "edge/v1/pi/presence",
            "edge/v1/pi/health",
            "edge/v1/pi/event"
        ]
    );

    let port = Port::default();
    let changed = RefCell::new(false);
    run_until(&port, &mut bench, |port, _| {
        let topics = port.topics();
        if topics.len() == 3 && !changed.replace(true) {
            retained.set("edge/v1/pi/health".into(), b"2".to_vec());
            port.answer(1, Answer::Accepted { anyone: true });
        }
        topics.len() == 4
    })
    .await;
    assert_eq!(port.sent.borrow()[3].0.payload, b"2");
}

#[tokio::test]
async fn at_the_end_what_is_left_is_sent_first() {
    let records: Vec<_> = (0..50).map(event).collect();
    let mut bench = bench(&records);
    bench.stop.cancel();
    let port = Port::accepting();
    let mut publisher = Publisher::new(&port, &mut bench.sources, "edge/v1/pi/presence".to_owned());
    publisher.run(&bench.stop, Duration::from_secs(5)).await;
    publisher
        .say_goodbye(b"off".to_vec(), Duration::from_secs(1))
        .await;
    assert_eq!(port.sequences().len(), 50);
    assert_eq!(port.topics().last().unwrap(), "edge/v1/pi/presence");
    assert_eq!(bench.sources.outbox.status().records, 0);
}

#[tokio::test]
async fn what_was_stored_together_with_the_end_is_sent_too() {
    let mut bench = bench(&[]);
    let (outbox, stop) = (bench.sources.outbox.clone(), bench.stop.clone());
    let port = Port::accepting();
    let mut publisher = Publisher::new(&port, &mut bench.sources, "edge/v1/pi/presence".to_owned());
    {
        let run = publisher.run(&stop, Duration::from_secs(5));
        tokio::pin!(run);
        // It has found nothing to send, and waits.
        let idle = tokio::time::timeout(Duration::from_millis(50), &mut run).await;
        assert!(idle.is_err());
        outbox.append(&[event(0)]).unwrap();
        stop.cancel();
        run.await;
    }
    assert_eq!(port.sequences().len(), 1);
}

#[tokio::test]
async fn the_end_does_not_wait_for_a_broker_that_does_not_answer() {
    let mut bench = bench(&[event(1)]);
    bench.stop.cancel();
    let port = Port::default();
    let mut publisher = Publisher::new(&port, &mut bench.sources, "edge/v1/pi/presence".to_owned());
    publisher.run(&bench.stop, Duration::from_millis(20)).await;
    assert_eq!(bench.sources.outbox.status().records, 1);
}
