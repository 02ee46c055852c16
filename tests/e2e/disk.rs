//! A disk that is full, and one that has become read-only; both come back.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::agent::{Agent, Setup};
use super::broker::Broker;
use super::image::Mount;
use super::proxy::{Mode, Proxy};
use super::record::Events;
use super::recorder::Recorder;
use super::source::Source;
use super::{Args, Suite, figure, wait};

pub(crate) const SUITES: &[Suite] = &[
    ("disk_full", disk_full),
    ("disk_read_only", disk_read_only),
    ("disk_broken", disk_broken),
    ("disk_read_only_at_start", read_only_at_start),
    ("disk_hangs", disk_hangs),
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
    trouble(dir.path(), &mount.path.join("state"), |_| {
        fill(&mount);
        move || fs::remove_file(mount.path.join("filler")).unwrap()
    });
}

/// Every call that changes something fails, as after the kernel has made the file system read-only
/// because of an error: it cannot be asked to as long as files are open for writing.
fn disk_read_only(_: &Args) {
    failing_calls("EROFS");
}

fn disk_broken(_: &Args) {
    failing_calls("EIO");
}

fn failing_calls(error: &str) {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let lock = state.join("outbox.lock");
    trouble(dir.path(), &state.clone(), |agent| {
        let pid = agent.child.id();
        let calls = "pwrite64,fdatasync,fsync,ftruncate,mkdir,rename,renameat2,unlink,unlinkat";
        let mut strace = Command::new("strace")
            .args(["-f", "-q", "-o", "/dev/null", "-p", &pid.to_string()])
            .args(["-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:error={error}")])
            .spawn()
            .unwrap();
        let traced = || {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            (!status.contains("TracerPid:\t0\n")).then_some(())
        };
        wait(LIMIT, "strace to be there", traced);
        assert!(lock.exists());
        move || {
            // With its end the agent is free again.
            strace.kill().unwrap();
            strace.wait().unwrap();
        }
    });
}

/// Writes neither fail nor return, as with a card that has stopped answering; then it answers again.
fn disk_hangs(_: &Args) {
    let dir = tempfile::tempdir().unwrap();
    let mount = Mount::make(&dir.path().join("image"), 64, &dir.path().join("disk"));
    trouble(dir.path(), &mount.path.join("state"), |_| {
        let frozen = mount.freeze();
        move || drop(frozen)
    });
}

/// Takes the disk away from an agent that has no broker either, and gives both back.
fn trouble<E: FnOnce()>(dir: &Path, state: &Path, begin: impl FnOnce(&Agent) -> E) {
    let broker = Broker::plain(dir, "");
    let recorder = Recorder::start(broker.login("recorder"));
    recorder.wait_subscribed(0);
    let proxy = Proxy::start(broker.port);
    let source = Source::start(dir);
    let mut setup = Setup::new(dir, proxy.port);
    setup.state = state.to_owned();
    setup.kubeconfig = Some(source.kubeconfig());
    let mut agent = setup.start();
    agent.wait_up(LIMIT);
    let mut told = vec![source.fail_once()];
    proxy.set(Mode::Closed);
    agent.wait_down(LIMIT, &[]);
    let end = begin(&agent);
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
    // sled may wait for ever for a thread of its own whose write has failed. Then the agent sets aside
    // what waits and ends, and systemd starts it again.
    wait(Duration::from_secs(90), "the fault to be over", || {
        if let Some(ended) = agent.child.try_wait().unwrap() {
            figure("started again after", ended);
            assert_eq!(ended.code(), Some(70), "{}", setup.log());
            assert!(setup.log().contains("are set aside"), "{}", setup.log());
            agent = setup.start();
        }
        let status = agent.status()?;
        (status["v"] == 1 && status["faults"]["outbox"].is_null()).then_some(())
    });
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
    let events = Events::of_broken_disk(&recorder.messages());
    // A write that failed has used up its sequences, so there may be gaps.
    events.assert_ordered();
    assert!(
        !setup.log().contains("could not be read"),
        "a disk that comes back is no damage"
    );
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
    let wait_starts = |count: usize| {
        recorder.wait(LIMIT, "the start to be told", |messages| {
            let events = Events::of(messages);
            let started = |event: &&serde_json::Value| event["type"] == "edge.agent.started";
            (events.in_order.iter().filter(started).count() == count).then_some(())
        });
    };
    // Once before, so that there is a key and a store. Killed when its start is told: before that it may
    // not have come to the medium.
    let mut first = setup.start();
    first.wait_up(LIMIT);
    wait_starts(1);
    drop(first);
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
    wait_starts(2);
}
