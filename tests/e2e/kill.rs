//! The agent is killed again and again, at random moments, with its broker there or not.

use std::time::Duration;

use super::agent::Setup;
use super::broker::Broker;
use super::mqtt::Login;
use super::proxy::{Mode, Proxy};
use super::record::Events;
use super::recorder::Recorder;
use super::source::Source;
use super::{Args, Suite, figure};

pub(crate) const SUITES: &[Suite] = &[("kill", kills_lose_nothing)];

fn kills_lose_nothing(args: &Args) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::plain(dir.path(), "");
    let recorder = Recorder::start(Login::plain(broker.port, "recorder"));
    recorder.wait_subscribed(0);
    let proxy = Proxy::start(broker.port);
    let mut source = Source::start(dir.path());
    let mut setup = Setup::new(dir.path(), proxy.port);
    setup.kubeconfig = Some(source.kubeconfig());

    source.run(100);
    for kill in 0..args.kills() as u64 {
        // A third of the lives is spent without a broker, so that there is something in the outbox.
        proxy.set(if kill % 3 == 0 {
            Mode::Closed
        } else {
            Mode::Open
        });
        let mut agent = setup.start();
        std::thread::sleep(Duration::from_millis(20 + (kill * 379) % 700));
        assert!(
            agent.child.try_wait().unwrap().is_none(),
            "it lived until it was killed"
        );
        agent.kill();
    }
    let failures = source.pause();
    proxy.set(Mode::Open);
    let mut agent = setup.start();
    agent.wait_up(Duration::from_secs(60));
    // What the cluster shows in the end has been told, whatever was missed in between.
    for (application, revision) in source.last_revisions() {
        recorder.wait(Duration::from_secs(60), &application, |messages| {
            let told = Events::of(messages).revisions(&application);
            (told.last() == Some(&revision)).then_some(())
        });
    }
    agent.wait_status(Duration::from_secs(60), "an empty outbox", |status| {
        (status["outbox"]["records"] == 0).then_some(())
    });
    agent.terminate(Duration::from_secs(10));
    // The broker has it then, and tells the recorder in its own time.
    recorder.wait_message("event", Duration::from_secs(60), |event| {
        event["type"] == "edge.agent.stopped"
    });
    let events = Events::of(&recorder.messages());
    assert_complete(&events, &setup.log());
    figure("kills", args.kills());
    figure("changes in the cluster", failures);
    figure("events stored", events.range().1);
    figure("events lost", 0);
    figure("deliveries repeated", events.repeated);
}

/// What was stored, by the agent's own account, is in the record, once and in order.
fn assert_complete(events: &Events, log: &str) {
    let claimed = log
        .lines()
        .filter(|line| line.contains("events are on the medium"))
        .filter_map(|line| line.split("last=").nth(1)?.trim().parse::<u64>().ok())
        .max()
        .unwrap();
    events.assert_complete();
    events.assert_ordered();
    let (first, last) = events.range();
    assert_eq!(first, 1);
    assert_eq!(last, claimed, "the last event that was stored has arrived");
    assert!(
        !log.contains("could not be read"),
        "a kill damages no store"
    );
    assert!(!events.types().contains("edge.outbox.dropped"));
    for index in 0..10 {
        let told = events.revisions(&format!("app-{index}"));
        assert!(told.is_sorted(), "app-{index}: {told:?}");
        let mut once = told.clone();
        once.dedup();
        assert_eq!(once, told, "app-{index} was told twice of one revision");
    }
}
