//! How fast what has waited goes out, beside mosquitto's own client with the same bytes.

use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::agent::Setup;
use super::broker::Broker;
use super::recorder::{Message, Recorder};
use super::{Args, Suite, figure, writer};

pub(crate) const SUITES: &[Suite] = &[("drain", drain)];

const EVENTS: u32 = 5000;

fn drain(_: &Args) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::plain(dir.path(), "");
    let recorder = Recorder::start(broker.login("recorder"));
    recorder.wait_subscribed(0);
    let setup = Setup::new(dir.path(), broker.port);
    std::fs::create_dir_all(&setup.state).unwrap();
    writer::fill(&setup.state.join("outbox"), u64::from(EVENTS));

    let all = usize::try_from(EVENTS).unwrap();
    let is_event = |message: &&Message| message.topic.ends_with("/event");
    let mut agent = setup.start();
    let wait = |count: usize| {
        recorder.wait(Duration::from_secs(120), "all of it", |messages| {
            (messages.iter().filter(is_event).count() >= count).then(Instant::now)
        })
    };
    let first = wait(1);
    let ours = f64::from(EVENTS) / (wait(all) - first).as_secs_f64();
    agent.terminate(Duration::from_secs(10));

    let payload = recorder
        .messages()
        .into_iter()
        .find(|it| is_event(&it))
        .unwrap()
        .payload;
    let lines = dir.path().join("lines");
    let mut file = File::create(&lines).unwrap();
    for _ in 0..EVENTS {
        file.write_all(&payload).unwrap();
        file.write_all(b"\n").unwrap();
    }
    let before = recorder.messages().len();
    let begun = Instant::now();
    let published = Command::new("mosquitto_pub")
        .args(["-V", "mqttv5", "-q", "1", "-l", "-t", "edge/v1/other/event"])
        .args(["-p", &broker.port.to_string()])
        .stdin(Stdio::from(File::open(&lines).unwrap()))
        .status()
        .unwrap();
    assert!(published.success());
    recorder.wait(Duration::from_secs(120), "all of it", |messages| {
        (messages.len() >= before + all).then_some(())
    });
    let theirs = f64::from(EVENTS) / begun.elapsed().as_secs_f64();
    figure("events drained a second", format!("{ours:.0}"));
    figure("mosquitto_pub -l", format!("{theirs:.0} a second"));
    figure("ratio", format!("{:.2}", ours / theirs));
}
