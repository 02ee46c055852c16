//! A disk that is full, and one that has become read-only; both come back.

use std::fs::{self, File};
use std::io::Write as _;
use std::time::Duration;

use super::agent::Setup;
use super::broker::Broker;
use super::image::Mount;
use super::proxy::{Mode, Proxy};
use super::record::Events;
use super::recorder::Recorder;
use super::source::Source;
use super::{Args, Suite, figure};

pub(crate) const SUITES: &[Suite] = &[
    ("disk_full", disk_full),
    ("disk_read_only", disk_read_only),
    ("disk_read_only_at_start", read_only_at_start),
];

const LIMIT: Duration = Duration::from_secs(60);

/// Fills the file system to its last byte.
fn fill(mount: &Mount) {
    let mut file = File::create(mount.path.join("filler")).unwrap();
    let chunk = vec![0; 64 * 1024];
    while file.write_all(&chunk).is_ok() {}
    while file.write_all(&[0; 512]).is_ok() {}
    let _ = file.sync_all();
}

fn disk_full(_: &Args) {
    let dir = tempfile::tempdir().unwrap();
    let mount = Mount::memory(12, &dir.path().join("disk"));
    trouble(
        dir.path(),
        &mount,
        || fill(&mount),
        || {
            fs::remove_file(mount.path.join("filler")).unwrap();
        },
    );
}

fn disk_read_only(_: &Args) {
    let dir = tempfile::tempdir().unwrap();
    let mount = Mount::make(&dir.path().join("image"), 64, &dir.path().join("disk"));
    trouble(
        dir.path(),
        &mount,
        || mount.set_read_only(true),
        || mount.set_read_only(false),
    );
}

/// Takes the disk away from an agent that has no broker either, and gives both back.
fn trouble(dir: &std::path::Path, mount: &Mount, begin: impl FnOnce(), end: impl FnOnce()) {
    let broker = Broker::plain(dir, "");
    let recorder = Recorder::start(broker.login("recorder"));
    recorder.wait_subscribed(0);
    let proxy = Proxy::start(broker.port);
    let source = Source::start(dir);
    let mut setup = Setup::new(dir, proxy.port);
    setup.state = mount.path.join("state");
    setup.kubeconfig = Some(source.kubeconfig());
    let mut agent = setup.start();
    agent.wait_up(LIMIT);
    let mut told = vec![source.fail_once()];
    proxy.set(Mode::Closed);
    agent.wait_down(LIMIT, &[]);
    begin();
    told.extend((0..50).map(|_| source.fail_once()));
    let fault = agent.wait_status(LIMIT, "the outbox to be impaired", |status| {
        status["faults"]["outbox"].as_str().map(str::to_owned)
    });
    figure("said", &fault);
    assert!(fault.contains("wait in memory"), "{fault}");
    let indication = agent.status().unwrap()["indication"]["indication"].clone();
    assert_eq!(indication, "fault");
    // It lives on like this.
    std::thread::sleep(Duration::from_secs(3));
    assert!(agent.status().is_some());
    end();
    agent.wait_status(LIMIT, "the fault to be over", |status| {
        (status["v"] == 1 && status["faults"]["outbox"].is_null()).then_some(())
    });
    proxy.set(Mode::Open);
    agent.wait_up(Duration::from_secs(150));
    agent.wait_status(LIMIT, "an empty outbox", |status| {
        (status["outbox"]["records"] == 0).then_some(())
    });
    let (status, _) = agent.terminate(Duration::from_secs(10));
    assert!(status.success(), "{status}");
    recorder.wait_message("event", LIMIT, |event| {
        event["type"] == "edge.agent.stopped"
    });
    let events = Events::of(&recorder.messages());
    events.assert_complete();
    events.assert_ordered();
    assert!(!events.types().contains("edge.outbox.dropped"));
    for (application, revision) in told {
        let revisions = events.revisions(&application);
        assert!(
            revisions.contains(&revision),
            "{application} at {revision} was not told"
        );
    }
    figure("events, none lost", events.by_sequence.len());
}

fn read_only_at_start(_: &Args) {
    let dir = tempfile::tempdir().unwrap();
    let mount = Mount::make(&dir.path().join("image"), 64, &dir.path().join("disk"));
    let broker = Broker::plain(dir.path(), "");
    let recorder = Recorder::start(broker.login("recorder"));
    recorder.wait_subscribed(0);
    let mut setup = Setup::new(dir.path(), broker.port);
    setup.state = mount.path.join("state");
    // Once before, so that there is a key and a store.
    setup.start().wait_up(LIMIT);
    mount.set_read_only(true);
    let mut agent = setup.start();
    agent.wait_up(LIMIT);
    agent.wait_status(LIMIT, "the outbox to be impaired", |status| {
        status["faults"]["outbox"].as_str().map(str::to_owned)
    });
    mount.set_read_only(false);
    agent.wait_status(LIMIT, "the fault to be over", |status| {
        (status["v"] == 1 && status["faults"]["outbox"].is_null()).then_some(())
    });
    recorder.wait(LIMIT, "the second start to be told", |messages| {
        let events = Events::of(messages);
        let starts = events
            .in_order
            .iter()
            .filter(|event| event["type"] == "edge.agent.started");
        (starts.count() == 2).then_some(())
    });
}
