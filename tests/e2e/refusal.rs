//! What a broker refuses, and what arrives on the command topic: each with its own words.

use std::fs;
use std::time::{Duration, Instant};

use super::agent::Setup;
use super::broker::{Broker, make_certificate, make_certificate_for};
use super::mqtt::{Connection, Login, Packet};
use super::record::Events;
use super::recorder::Recorder;
use super::{Args, Suite, figure};

pub(crate) const SUITES: &[Suite] = &[
    ("session_wrong_password", wrong_password),
    ("session_certificates", certificates),
    ("session_name_does_not_resolve", name_does_not_resolve),
    ("session_denied_topics", denied_topics),
    ("session_junk_commands", junk_commands),
];

const LIMIT: Duration = Duration::from_secs(30);

/// The public half of a key that nobody uses.
const KEYRING: &str = "[[key]]\nid = \"ci\"\npublic = \"GrtrOzFSsxz2V8bbEZAvTFqaLuD+ZXpFY8P5GBpt3iA=\"\nallow = [\"ping\"]\napplications = [\"*\"]\n";

fn wrong_password(_: &Args) {
    let dir = tempfile::tempdir().unwrap();
    let passwords = dir.path().join("passwords");
    let made = std::process::Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(&passwords)
        .args(["pi-01", "right"])
        .status();
    assert!(made.unwrap().success());
    let broker = Broker::plain(
        dir.path(),
        &format!(
            "allow_anonymous false\npassword_file {}",
            passwords.display()
        ),
    );
    let password = dir.path().join("password");
    let write = |text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::write(&password, text).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("wrong");
    let mut setup = Setup::new(dir.path(), broker.port);
    setup.mqtt += &format!("username = \"pi-01\"\npassword_file = {password:?}\n");
    let mut agent = setup.start();
    // mosquitto 2 tells a wrong password from a missing right as little as MQTT 5 lets it.
    let reason = agent.wait_down(
        LIMIT,
        &["does not authorise this node", "mqtt.password_file"],
    );
    figure("said", &reason);
    assert!(
        !setup.log().contains("wrong"),
        "the password is not in the log"
    );
    // Read again for every connection: no restart is needed.
    write("right\n");
    agent.wait_up(LIMIT);
}

fn certificates(_: &Args) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::recommended(dir.path());
    let others = dir.path().join("others");
    make_certificate(&others, &["ca"]);
    make_certificate(&others, &["client", "pi-01"]);
    let expired = dir.path().join("expired");
    fs::create_dir(&expired).unwrap();
    for name in ["ca.key", "ca.crt"] {
        fs::copy(dir.path().join(name), expired.join(name)).unwrap();
    }
    make_certificate_for(&expired, "-1", &["client", "pi-01"]);

    let settings = broker.settings(broker.port);
    let own = |directory: &std::path::Path| {
        let (here, there) = (dir.path().display(), directory.display());
        settings.replace(&format!("{here}/pi-01"), &format!("{there}/pi-01"))
    };
    let cases = [
        (
            "an unknown CA of the broker",
            settings.replace("/ca.crt", "/others/ca.crt"),
            &["unknown CA", "mqtt.ca_file"],
        ),
        (
            "an expired certificate of the node",
            own(&expired),
            &["this node's certificate has expired", "mqtt.cert_file"],
        ),
        (
            "a certificate of another CA",
            own(&others),
            &["does not accept this node's certificate", "mqtt.cert_file"],
        ),
        (
            "plain text to a TLS port",
            format!(
                "url = \"mqtt://localhost:{}\"\nkeep_alive_seconds = 5\n",
                broker.port
            ),
            &["the broker", "closed the connection"],
        ),
    ];
    for (name, mqtt, words) in cases {
        let home = tempfile::tempdir().unwrap();
        let mut setup = Setup::new(home.path(), broker.port);
        setup.mqtt = mqtt;
        let reason = setup.start().wait_down(LIMIT, words);
        figure(name, reason);
    }
    // And with the right ones.
    let home = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(home.path(), broker.port);
    setup.mqtt = settings;
    setup.start().wait_up(LIMIT);
}

fn name_does_not_resolve(_: &Args) {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(dir.path(), 1);
    setup.mqtt = "url = \"mqtt://broker.invalid:1883\"\n".to_owned();
    let mut agent = setup.start();
    let reason = agent.wait_down(LIMIT, &["broker.invalid", "does not resolve"]);
    figure("said", reason);
    drop(agent);
    setup.mqtt = format!(
        "url = \"mqtt://127.0.0.1:{}\"\n",
        crate::support::port::reserve()
    );
    let reason = setup.start().wait_down(LIMIT, &["refuses connections"]);
    figure("said of a port without a broker", reason);
}

/// An access list that denies what the node publishes: told, kept, and in nobody's way.
fn denied_topics(_: &Args) {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::recommended(dir.path());
    let recorder = Recorder::start(broker.login("dashboard"));
    recorder.wait_subscribed(0);
    let acl = fs::read_to_string(broker.file("acl")).unwrap();
    let denied = acl.replace("pattern write edge/v1/%u/event\n", "");
    assert_ne!(acl, denied);
    fs::write(broker.file("acl"), denied).unwrap();
    let subscribed = recorder.subscriptions();
    broker.stop();
    broker.start();
    recorder.wait_subscribed(subscribed);

    let mut setup = Setup::new(dir.path(), broker.port);
    setup.mqtt = broker.settings(broker.port);
    let mut agent = setup.start();
    agent.wait_up(LIMIT);
    let fault = agent.wait_status(LIMIT, "the refusal to be told", |status| {
        status["faults"]["broker"].as_str().map(str::to_owned)
    });
    figure("said", &fault);
    assert!(
        fault.contains("edge/v1/pi-01/event") && fault.contains("access list"),
        "{fault}"
    );
    // Other topics go on.
    recorder.wait_message("health", LIMIT, |health| health["v"] == 1);
    assert!(agent.status().unwrap()["outbox"]["records"].as_u64() > Some(0));
    assert!(
        recorder
            .messages()
            .iter()
            .all(|message| !message.topic.ends_with("/event"))
    );

    fs::write(broker.file("acl"), acl).unwrap();
    let subscribed = recorder.subscriptions();
    broker.stop();
    broker.start();
    recorder.wait_subscribed(subscribed);
    agent.wait_status(LIMIT, "everything to be sent", |status| {
        (status["outbox"]["records"] == 0 && status["faults"]["broker"].is_null()).then_some(())
    });
    recorder.wait_message("event", LIMIT, |event| {
        event["type"] == "edge.agent.started"
    });
    let events = Events::of(&recorder.messages());
    events.assert_complete();
    assert_eq!(events.range().0, 1);
}

/// A retained message of 20 KiB on the command topic, and ten thousand junk commands a second.
fn junk_commands(args: &Args) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::plain(dir.path(), "max_queued_messages 1000");
    let recorder = Recorder::start(Login::plain(broker.port, "recorder"));
    recorder.wait_subscribed(0);
    let keyring = dir.path().join("keyring.toml");
    fs::write(&keyring, KEYRING).unwrap();
    let topic = format!("edge/v1/{}/command", super::agent::NODE);
    let mut drone = Connection::open(&Login::plain(broker.port, "drone")).unwrap();
    drone.publish(&topic, &[b'x'; 20 * 1024], 1, true).unwrap();
    wait_acknowledged(&mut drone);

    let mut setup = Setup::new(dir.path(), broker.port);
    setup.more += &format!("[commands]\nkeyring = {keyring:?}\ntrust_clock = true\n");
    let mut agent = setup.start();
    agent.wait_up(LIMIT);
    recorder.wait_message("health", LIMIT, |health| health["v"] == 1);
    drone.publish(&topic, &[b'y'; 20 * 1024], 1, false).unwrap();
    wait_acknowledged(&mut drone);

    let before = agent.resident_bytes();
    let seconds = if args.long { 60 } else { 5 };
    let rate = flood(&mut drone, &topic, seconds);
    figure("junk commands a second", rate);
    assert!(rate > 9000, "{rate}");
    let after = agent.resident_bytes();
    figure(
        "resident before and after",
        format!("{} and {} KiB", before >> 10, after >> 10),
    );
    assert!(after < before + (16 << 20), "{before} {after}");
    let refused = agent.wait_status(LIMIT, "refusals to be counted", |status| {
        let refused = status["refused"].as_object()?.clone();
        (!refused.is_empty()).then_some(refused)
    });
    figure("told of", serde_json::to_string(&refused).unwrap());
    // It has been alive all the time, and says goodbye.
    let (status, _) = agent.terminate(Duration::from_secs(10));
    assert!(status.success(), "{status}");
    recorder.wait_message("presence", LIMIT, |presence| {
        presence["reason"] == "stopped"
    });
    let events = Events::of(&recorder.messages());
    events.assert_complete();
    figure("events of it", events.by_sequence.len());
    assert!(
        events.by_sequence.len() < 20,
        "what anybody can cause is not an event each"
    );
}

/// Publishes ten thousand junk commands a second; returns how many it were.
fn flood(drone: &mut Connection, topic: &str, seconds: u64) -> u64 {
    let begun = Instant::now();
    let mut sent: u64 = 0;
    while begun.elapsed() < Duration::from_secs(seconds) {
        // In bursts of a hundredth of a second.
        for _ in 0..100 {
            drone
                .publish(
                    topic,
                    br#"{"payload":"AAAA","payloadType":"x","signatures":[]}"#,
                    0,
                    false,
                )
                .unwrap();
        }
        sent += 100;
        let due = Duration::from_micros(sent * 100);
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    sent / seconds
}

fn wait_acknowledged(connection: &mut Connection) {
    super::wait(LIMIT, "the broker to acknowledge", || {
        let packet = connection.read().unwrap();
        matches!(packet, Some(Packet::PubAck { .. })).then_some(())
    });
}
