//! A flood of forged commands: everything about them is right but the signature, so that
//! nothing but trying it can tell.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_agent::store::identity::write_private_key;
use edge_agent_core::command::envelope::{COMMAND_TYPE, SigningKey, seal};
use serde_json::Value;

use super::agent::{Agent, NODE, Setup};
use super::broker::Broker;
use super::mqtt::{Connection, Login, Packet};
use super::record::Events;
use super::recorder::{Message, Recorder};
use super::{Args, Suite, figure};

pub(crate) const SUITES: &[Suite] = &[("session_forged_commands", forged_commands)];

const LIMIT: Duration = Duration::from_secs(30);
const SEED: [u8; 32] = [61; 32];

/// How long each valid command is waited for: it is said again after 2, 6, 14 and 30 s.
const PATIENCE: &str = "40s";

/// Valid commands, one after the other, in the flood.
const COMMANDS: usize = 3;

/// Between two of them.
const PAUSE: Duration = Duration::from_millis(1500);

/// How many a second are sent to an agent that was built for debugging, on a machine that has other
/// work. What it cannot even read is dropped by the broker, commands with it.
const RATE: u64 = 2_000;

/// The same with `--long`, which wants a quiet machine and `--release`.
const RATE_LONG: u64 = 10_000;

/// How many of them under way at once.
const BURST: u64 = 20;

/// Makes envelopes, no two the same, that only differ from a good one in who signed.
struct Forger {
    seconds: i64,
    signature: Vec<u8>,
    number: u64,
}

impl Forger {
    fn new() -> Self {
        let stranger = SigningKey::from_seed(&[77; 32]).unwrap();
        let sealed = seal(COMMAND_TYPE, b"{}", &[("ci", &stranger)]);
        let sealed: Value = serde_json::from_slice(&sealed).unwrap();
        let signature = sealed["signatures"][0]["sig"].as_str().unwrap();
        Self {
            seconds: edge_agent::clock::now().unix_seconds(),
            signature: STANDARD.decode(signature).unwrap(),
            number: 0,
        }
    }

    fn next(&mut self) -> Vec<u8> {
        self.number += 1;
        let (number, now) = (self.number, self.seconds);
        let payload = format!(
            "{{\"v\":1,\"id\":\"forged-{number}\",\"aud\":[\"{NODE}\"],\"seq\":{number},\"iat\":{now},\
             \"exp\":{},\"cmd\":\"ping\",\"args\":{{}}}}",
            now + 600
        );
        // The first half is a point, of which any bytes may be one; the second, a number below the
        // order of the group, stays, or it would be refused before anything costs.
        self.signature[..8].copy_from_slice(&number.to_le_bytes());
        format!(
            "{{\"payload\":\"{}\",\"payloadType\":\"{COMMAND_TYPE}\",\"signatures\":[{{\"keyid\":\"ci\",\
             \"sig\":\"{}\"}}]}}",
            STANDARD.encode(payload),
            STANDARD.encode(&self.signature)
        )
        .into_bytes()
    }
}

/// The flood, in a thread of its own.
struct Flood {
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<f64>,
}

impl Flood {
    fn start(port: u16, wanted: u64) -> Self {
        let (sent, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let thread = std::thread::spawn({
            let (sent, stop) = (Arc::clone(&sent), Arc::clone(&stop));
            move || flood(port, wanted, &sent, &stop)
        });
        Self { sent, stop, thread }
    }

    /// How many it were, and how many a second.
    fn end(self) -> (u64, u64) {
        self.stop.store(true, Ordering::SeqCst);
        let seconds = self.thread.join().unwrap();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rate for people"
        )]
        let rate = (self.sent.load(Ordering::SeqCst) as f64 / seconds) as u64;
        (self.sent.load(Ordering::SeqCst), rate)
    }
}

/// With QoS 1, as what comes with QoS 0 is refused without a look at it.
fn flood(port: u16, wanted: u64, sent: &AtomicU64, stop: &AtomicBool) -> f64 {
    let mut thief = Connection::open(&Login::plain(port, "thief")).unwrap();
    let topic = format!("edge/v1/{NODE}/command");
    let mut forger = Forger::new();
    let begun = Instant::now();
    while !stop.load(Ordering::SeqCst) {
        // As many as the broker lets a client have under way.
        for _ in 0..BURST {
            thief.publish(&topic, &forger.next(), 1, false).unwrap();
        }
        let mut acknowledged = 0;
        while acknowledged < BURST {
            let packet = thief.read().unwrap();
            acknowledged += u64::from(matches!(packet, Some(Packet::PubAck { .. })));
        }
        let all = sent.fetch_add(BURST, Ordering::SeqCst) + BURST;
        let due = Duration::from_micros(all * 1_000_000 / wanted);
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    begun.elapsed().as_secs_f64()
}

/// Sends one valid command as a person does; returns how long it took to be answered, if it was.
fn ping(directory: &Path, port: u16) -> Option<Duration> {
    let began = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_edge-agent"))
        .args(["send", "--cmd", "ping", "--node", NODE, "--key-id", "ci"])
        .args(["--wait-timeout", PATIENCE, "--key"])
        .arg(directory.join("ci.key"))
        .args(["--broker", &format!("mqtt://127.0.0.1:{port}")])
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let answered = output.status.success() && text.contains("succeeded");
    answered.then(|| began.elapsed())
}

/// Asks its page whether its loop turns, until the end; returns the longest time of an answer.
fn watch(agent: &Agent, is_over: impl Fn() -> bool) -> (Duration, u64) {
    let (mut longest, mut most) = (Duration::ZERO, 0);
    while !is_over() {
        let asked = Instant::now();
        let health = agent.get("/healthz");
        longest = longest.max(asked.elapsed());
        assert_eq!(health.as_deref().map(str::trim), Some("ok"));
        most = most.max(agent.resident_bytes());
        std::thread::sleep(Duration::from_millis(50));
    }
    (longest, most)
}

fn forged_commands(args: &Args) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::plain(dir.path(), "max_queued_messages 1000\nset_tcp_nodelay true");
    let recorder = Recorder::start(Login::plain(broker.port, "recorder"));
    recorder.wait_subscribed(0);
    write_private_key(&dir.path().join("ci.key"), &SEED).unwrap();
    let keyring = dir.path().join("keyring.toml");
    let public = SigningKey::from_seed(&SEED).unwrap().public_base64();
    let text = format!("[[key]]\nid = \"ci\"\npublic = \"{public}\"\nallow = [\"ping\"]\n");
    fs::write(&keyring, text).unwrap();
    let mut setup = Setup::new(dir.path(), broker.port);
    setup.more += &format!("[commands]\nkeyring = {keyring:?}\ntrust_clock = true\n");
    let mut agent = setup.start();
    agent.wait_up(LIMIT);
    let alone = ping(dir.path(), broker.port).unwrap();
    figure(
        "answered without a flood",
        format!("{} ms", alone.as_millis()),
    );

    let (before, cpu) = (agent.resident_bytes(), agent.cpu_seconds());
    let begun = Instant::now();
    let wanted = if args.long { RATE_LONG } else { RATE };
    let flood = Flood::start(broker.port, wanted);
    let least = Duration::from_secs(if args.long { 60 } else { 8 });
    let (directory, port) = (dir.path().to_owned(), broker.port);
    let pings = std::thread::spawn(move || {
        let one = |_| {
            std::thread::sleep(PAUSE);
            ping(&directory, port)
        };
        (0..COMMANDS).map(one).collect::<Vec<_>>()
    });
    let (longest, most) = watch(&agent, || pings.is_finished() && begun.elapsed() > least);
    let flooded = begun.elapsed();
    let cpu = (agent.cpu_seconds() - cpu) / flooded.as_secs_f64();
    let (sent, rate) = flood.end();
    let answered = pings.join().unwrap();
    figure(
        "forged commands a second",
        format!("{rate}, for {:.1} s", flooded.as_secs_f64()),
    );
    assert!(rate > wanted * 9 / 10, "{rate}");
    figure(
        "valid commands in the flood answered after",
        format!("{answered:.1?}"),
    );
    assert!(answered.iter().all(Option::is_some), "{answered:?}");
    figure("processor of the agent", format!("{:.0} %", cpu * 100.0));
    figure("longest answer of /healthz", format!("{longest:.0?}"));
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    figure(
        "resident before and at most",
        format!("{} and {} KiB", before >> 10, most >> 10),
    );
    assert!(most < before + (16 << 20), "{before} {most}");
    let refused = agent.wait_status(LIMIT, "refusals to be counted", |status| {
        status["refused"]["bad_signature"].as_u64()
    });
    figure(
        "told of, of those sent",
        format!("{refused} of {sent}; the rest is only counted, or was dropped by the broker"),
    );
    // None gets an answer, whatever its key id says.
    let answered = recorder.messages();
    let of_forged = |message: &Message| message.topic.contains("/result/forged-");
    assert!(!answered.iter().any(of_forged));
    let (status, _) = agent.terminate(Duration::from_secs(10));
    assert!(status.success(), "{status}");
    recorder.wait_message("presence", LIMIT, |presence| {
        presence["reason"] == "stopped"
    });
    let events = Events::of(&recorder.messages());
    figure("events of it", events.by_sequence.len());
    assert!(
        events.by_sequence.len() < 20,
        "what anybody can cause is not an event each"
    );
}
