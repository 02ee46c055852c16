//! Trust that holds on the device: keyrings that change while the agent runs, floods, and kills.

mod flood;
mod killed;

use edge_agent_core::command::envelope::{COMMAND_TYPE, SigningKey, Unverified, seal};
use edge_agent_core::command::payload::{Action, Command};
use edge_agent_core::command::update::seal_update;
use edge_agent_core::wire::CommandResult;
use rumqttc::Publish;

use crate::drone::fleet::{Fleet, root_key};
use crate::support::broker::Recorder;

const COMMAND: &str = "edge/v1/pi-01/command";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

/// A keyring of a version in which only this key may command.
fn keyring(version: u64, seed: u8) -> String {
    format!(
        "version = {version}\n[[root]]\nid = \"root\"\npublic = \"{}\"\n[[key]]\nid = \"drone\"\n\
         public = \"{}\"\nallow = [\"ping\"]\n",
        root_key().public_base64(),
        key(seed).public_base64()
    )
}

fn ping(id: &str, seed: u8) -> Vec<u8> {
    let now = edge_agent::clock::now().wall;
    let command = Command {
        id: id.to_owned(),
        audience: vec!["pi-01".to_owned()],
        sequence: now.as_millisecond().unsigned_abs(),
        issued_at: now.as_second(),
        expires_at: now.as_second() + 600,
        action: Action::Ping,
    };
    seal(COMMAND_TYPE, &command.to_json(), &[("drone", &key(seed))])
}

fn results(seen: &[Publish]) -> Vec<CommandResult> {
    let envelopes = seen
        .iter()
        .filter_map(|it| Unverified::read(&it.payload).ok());
    envelopes
        .filter_map(|envelope| serde_json::from_slice(&envelope.payload).ok())
        .collect()
}

/// Waits for the final result of a command.
async fn end_of(recorder: &mut Recorder, id: &str) -> CommandResult {
    let is_it = |it: &CommandResult| it.command == id && it.state.is_final();
    recorder
        .until(&format!("the end of {id}"), |seen| {
            results(seen).iter().any(is_it)
        })
        .await;
    results(recorder.seen()).into_iter().find(is_it).unwrap()
}

#[tokio::test]
async fn a_key_is_revoked_over_the_air_and_stays_revoked() {
    let mut fleet = Fleet::start(&["pi-01"]).await;
    let mut recorder = fleet.broker.record("edge/v1/pi-01/result/#").await;
    fleet.say(COMMAND, ping("before", 41)).await;
    assert_eq!(
        end_of(&mut recorder, "before").await.state.as_str(),
        "succeeded"
    );

    let update = |id: &str, version, seed| {
        let everyone = ["*".to_owned()];
        let root = root_key();
        seal_update(id, &everyone, &keyring(version, seed), &[("root", &root)]).unwrap()
    };
    fleet.say(COMMAND, update("second", 2, 51)).await;
    let installed = end_of(&mut recorder, "second").await;
    assert_eq!(installed.state.as_str(), "succeeded");
    assert!(
        installed.message.contains("version 2"),
        "{}",
        installed.message
    );

    // The old key is nobody now, and gets no answer; the new one, under the same id, starts anew.
    fleet.say(COMMAND, ping("revoked", 41)).await;
    fleet.say(COMMAND, ping("after", 51)).await;
    assert_eq!(
        end_of(&mut recorder, "after").await.state.as_str(),
        "succeeded"
    );
    assert!(
        !results(recorder.seen())
            .iter()
            .any(|it| it.command == "revoked")
    );

    // Not after a restart either, although the configured file still has the old key.
    fleet.stop("pi-01").await;
    fleet.start_again("pi-01").await;
    fleet.say(COMMAND, ping("revoked-2", 41)).await;
    fleet.say(COMMAND, update("older", 1, 41)).await;
    let refused = end_of(&mut recorder, "older").await;
    assert_eq!(refused.reason.map(|it| it.as_str()), Some("replayed"));
    fleet.say(COMMAND, ping("again", 51)).await;
    assert_eq!(
        end_of(&mut recorder, "again").await.state.as_str(),
        "succeeded"
    );
    assert!(
        !results(recorder.seen())
            .iter()
            .any(|it| it.command.starts_with("revoked"))
    );
}
