//! Nothing grows: 50 events a second, and a broker that goes away every few seconds.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::agent::Setup;
use super::broker::Broker;
use super::image::Mount;
use super::proxy::{Mode, Proxy};
use super::record::Events;
use super::recorder::Recorder;
use super::source::Source;
use super::{Args, Suite, figure};

pub(crate) const SUITES: &[Suite] = &[("soak", soak), ("idle", idle)];

const LIMIT: Duration = Duration::from_secs(60);

/// What is measured, while the broker is there and the outbox is empty.
#[derive(Debug, Clone, Copy)]
struct Measure {
    descriptors: usize,
    resident: u64,
    directory: u64,
}

fn soak(args: &Args) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::recommended(dir.path());
    let recorder = Recorder::start(broker.login("dashboard"));
    recorder.wait_subscribed(0);
    let proxy = Proxy::start(broker.port);
    let mut source = Source::start(dir.path());
    let mut setup = Setup::new(dir.path(), proxy.port);
    setup.mqtt = broker.settings(proxy.port);
    setup.kubeconfig = Some(source.kubeconfig());
    let mut agent = setup.start();
    agent.wait_up(LIMIT);
    source.run(50);

    let begun = Instant::now();
    let mut measures: Vec<Measure> = Vec::new();
    let mut outages = 0;
    while begun.elapsed() < args.soak() {
        std::thread::sleep(Duration::from_secs(3));
        proxy.set(Mode::Closed);
        agent.wait_down(LIMIT, &[]);
        std::thread::sleep(Duration::from_secs(2));
        proxy.set(Mode::Open);
        outages += 1;
        agent.wait_up(Duration::from_secs(150));
        agent.wait_status(LIMIT, "the outbox to be nearly empty", |status| {
            (status["outbox"]["records"].as_u64()? < 10).then_some(())
        });
        measures.push(Measure {
            descriptors: agent.descriptors(),
            resident: agent.resident_bytes(),
            directory: directory_bytes(&setup.state),
        });
    }
    let failures = source.pause();
    agent.wait_status(LIMIT, "an empty outbox", |status| {
        (status["outbox"]["records"] == 0).then_some(())
    });
    agent.terminate(Duration::from_secs(10));
    recorder.wait_message("event", LIMIT, |event| {
        event["type"] == "edge.agent.stopped"
    });
    let events = Events::of(&recorder.messages());
    events.assert_complete();
    events.assert_ordered();
    figure("outages", outages);
    figure("changes in the cluster", failures);
    figure("events, none lost", events.by_sequence.len());
    figure("deliveries repeated", events.repeated);
    assert_flat(&measures, args.soak() >= WARM * 3);
}

/// For so long the outages grow, as the agent waits longer and longer before it comes back, and with
/// them what one of them leaves in the outbox.
const WARM: Duration = Duration::from_secs(200);

/// The last third holds no more than the second: the first is for warming up. A soak that is over
/// before it is warm shows only that all is within bounds.
fn assert_flat(measures: &[Measure], warm: bool) {
    type Of = fn(&Measure) -> u64;
    let third = measures.len() / 3;
    assert!(third > 0, "the soak is too short: {measures:?}");
    let most = |measures: &[Measure], of: Of| measures.iter().map(of).max().unwrap();
    // By how much each may grow from the first measure on; and from the second third to the last.
    let series: [(&str, Of, u64, u64); 3] = [
        ("descriptors", |it| it.descriptors as u64, 4, 2),
        ("resident bytes", |it| it.resident, 16 << 20, 2 << 20),
        // The outbox makes its file smaller when 16 MiB of it are of no use.
        (
            "bytes of the state directory",
            |it| it.directory,
            16 << 20,
            1 << 20,
        ),
    ];
    for (name, of, bound, slack) in series {
        let (first, second) = (of(&measures[0]), most(&measures[third..2 * third], of));
        let last = most(&measures[2 * third..], of);
        figure(
            name,
            format!("{first} at first, {second} in the middle, {last} at the end"),
        );
        assert!(
            last.max(second) <= first + bound,
            "{name}: too much, {measures:?}"
        );
        assert!(
            !warm || last <= second + second / 20 + slack,
            "{name} grows: {measures:?}"
        );
    }
}

/// What a directory takes on the medium.
fn directory_bytes(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else {
        return 0;
    };
    let entries = entries.filter_map(Result::ok);
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => directory_bytes(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            // Gone in the meantime.
            Err(_) => 0,
        })
        .sum()
}

/// Online and idle, nothing is written; and after a restart nothing is told again.
fn idle(args: &Args) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::plain(dir.path(), "");
    let recorder = Recorder::start(broker.login("recorder"));
    recorder.wait_subscribed(0);
    let source = Source::start(dir.path());
    // As on every system with systemd: what is in it is not on the medium.
    let _runtime = Mount::memory(4, &dir.path().join("run"));
    let mut setup = Setup::new(dir.path(), broker.port);
    setup.kubeconfig = Some(source.kubeconfig());
    setup.more += "[health]\ninterval_seconds = 1\nreport_seconds = 10\n";
    for _ in 0..10 {
        source.fail_once();
    }
    let mut agent = setup.start();
    let told = |messages: &[super::recorder::Message]| {
        let events = Events::of(messages);
        let states = events
            .in_order
            .iter()
            .filter(|event| event["type"] == "edge.app.state");
        states.count()
    };
    recorder.wait(LIMIT, "ten states", |messages| {
        (told(messages) == 10).then_some(())
    });
    agent.wait_status(LIMIT, "an empty outbox", |status| {
        (status["outbox"]["records"] == 0).then_some(())
    });
    // What was acknowledged last is taken out.
    std::thread::sleep(Duration::from_secs(2));
    let seconds = if args.long { 120 } else { 15 };
    let before = agent.written_bytes();
    std::thread::sleep(Duration::from_secs(seconds));
    let written = agent.written_bytes() - before;
    figure(
        "bytes written to the medium while idle",
        format!("{written} in {seconds} s"),
    );
    assert_eq!(written, 0, "an idle agent writes");

    agent.kill();
    let mut agent = setup.start();
    agent.wait_up(LIMIT);
    let (application, _) = source.fail_once();
    recorder.wait(LIMIT, "the eleventh state", |messages| {
        (told(messages) >= 11).then_some(())
    });
    agent.terminate(Duration::from_secs(10));
    recorder.wait_message("event", LIMIT, |event| {
        event["type"] == "edge.agent.stopped"
    });
    let events = Events::of(&recorder.messages());
    assert_eq!(told(&recorder.messages()), 11, "nothing is told twice");
    assert_eq!(events.revisions(&application).len(), 2);
}
