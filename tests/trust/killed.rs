//! The agent is killed again and again while commands come in: every one that the broker was told to
//! drop is answered in the end.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::flood::{broker_settings, one};
use super::{COMMAND, end_of, key, ping, results};
use crate::drone::fleet::is_online;
use crate::support::broker::Broker;
use edge_agent::cli::send::{Outcome, send_envelope};
use rumqttc::{PublishOptions, QoS};

/// How often it is killed.
const KILLS: u32 = 6;

/// Commands before each kill.
const COMMANDS: u32 = 8;

fn settings(broker: &Broker, directory: &Path) {
    let public = key(41).public_base64();
    let keyring = format!(
        "version = 1\n[[key]]\nid = \"drone\"\npublic = \"{public}\"\nallow = [\"ping\"]\n"
    );
    std::fs::write(directory.join("keyring.toml"), keyring).unwrap();
    let text = format!(
        "node = \"pi-01\"\n[mqtt]\nurl = \"{}\"\n[cluster]\nenabled = false\n[commands]\n\
         trust_clock = true\n\
         keyring = \"{}\"\n[http]\nlisten = \"\"\n[outbox]\nreserve_bytes = 0\n",
        broker.url(),
        directory.join("keyring.toml").display(),
    );
    std::fs::write(directory.join("agent.toml"), text).unwrap();
}

fn start(directory: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_edge-agent"))
        .args(["run", "--config"])
        .arg(directory.join("agent.toml"))
        .env_clear()
        .env("HOME", directory)
        .env("STATE_DIRECTORY", directory.join("state"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn every_command_is_answered_although_the_agent_is_killed() {
    let broker = Broker::start().await;
    let directory = tempfile::tempdir().unwrap();
    settings(&broker, directory.path());
    let mut answers = broker.record("edge/v1/pi-01/result/#").await;
    let mut ids = Vec::new();
    let mut agent = start(directory.path());
    // From now on the broker keeps for it what comes while it is away.
    let first = one(ping("first", 41), Duration::from_secs(30));
    let settings = broker_settings(&broker);
    let outcome = send_envelope(&settings, first, &mut |_| {}).await.unwrap();
    assert_eq!(outcome, Outcome::Succeeded);
    for kill in 0..=KILLS {
        let commands: Vec<String> = (0..COMMANDS).map(|it| format!("c-{kill}-{it}")).collect();
        for id in &commands {
            let options = PublishOptions::new(QoS::AtLeastOnce);
            // One after the other, as the sequence of each is the time in milliseconds.
            broker.publish(COMMAND, ping(id, 41), options).await;
            // Killed when another number of them is through, at another moment each time.
            if kill < KILLS && id.ends_with(&format!("-{}", kill % COMMANDS)) {
                let moment = Duration::from_millis(u64::from(kill) * 7);
                tokio::time::timeout(moment, std::future::pending::<()>())
                    .await
                    .unwrap_err();
                agent.kill().unwrap();
            }
        }
        ids.extend(commands);
        if kill == KILLS {
            for id in &ids {
                end_of(&mut answers, id).await;
            }
        }
        agent.kill().unwrap();
        agent.wait().unwrap();
        if kill < KILLS {
            let mut presence = broker.record("edge/v1/pi-01/presence").await;
            presence
                .until("the last one is known", |seen| !seen.is_empty())
                .await;
            let before = presence.seen()[0].payload.clone();
            agent = start(directory.path());
            presence
                .until("it is online again", |seen| {
                    is_online(seen) && seen.iter().any(|it| it.payload != before)
                })
                .await;
        }
    }
    // A reader who comes late finds the last word of each.
    let mut late = broker.record("edge/v1/pi-01/result/#").await;
    for id in &ids {
        let result = end_of(&mut late, id).await;
        let last = results(late.seen());
        let last = last.iter().rfind(|it| it.command == *id).unwrap();
        assert_eq!((last.n, last.state), (result.n, result.state), "{id}");
    }
}
