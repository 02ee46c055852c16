//! A new keyring over the air, by nothing but the command line: who may change it, and what holds
//! afterwards.

use std::fs;

use serde_json::Value;

use super::fleet::{Fleet, LIMIT};
use super::{Args, Suite};

pub(crate) const SUITES: &[Suite] = &[("keyring_over_the_air", over_the_air)];

/// A desk with keys and one node, and how to reach it.
struct Desk {
    fleet: Fleet,
    broker: String,
}

impl Desk {
    fn set() -> Self {
        let mut fleet = Fleet::set(&["pi-01"]);
        fleet.types("DIRECTORY=certificates config/mosquitto/make-certificates client drone");
        let broker = format!(
            "--broker mqtts://localhost:{} --ca-file certificates/ca.crt --cert-file \
             certificates/drone.crt --key-file certificates/drone.key",
            fleet.broker.port
        );
        let root = fleet.types("edge-agent keygen --root --out root-1.key --id root-1");
        let key = fleet.types("edge-agent keygen --out drone.key --id drone-2026");
        let shipped = fs::read_to_string(&fleet.nodes[0].keyring).unwrap();
        let text = format!("version = 1\n{shipped}\n{root}\n{key}");
        fs::write(&fleet.nodes[0].keyring, &text).unwrap();
        fs::write(fleet.desk.join("keyring.toml"), text).unwrap();
        fleet.start_all();
        let identity = fleet.wait_told("pi-01", "identity", |value| value["key"].is_string());
        let key = identity.json()["key"].as_str().unwrap().to_owned();
        let broker = format!("{broker} --node-key {key}");
        Self { fleet, broker }
    }

    /// A key of this name; returns its public half.
    fn make(&self, options: &str, name: &str) -> String {
        let line = format!("edge-agent keygen {options} --out {name}.key --id {name}");
        let made = self.fleet.types(&line);
        let public = made.lines().find_map(|line| line.strip_prefix("public = "));
        public.unwrap().trim_matches('"').to_owned()
    }

    /// Sends an envelope to the node, which is to end so.
    fn send(&self, file: &str, code: i32) -> String {
        let line = format!(
            "edge-agent send --envelope {file} --node pi-01 --wait-timeout 5s {}",
            self.broker
        );
        self.fleet.types_in_vain(&line, code)
    }

    fn ping(&self, key: &str, id: &str, code: i32) -> String {
        let line = format!(
            "edge-agent send --key {key} --key-id {id} --node pi-01 --cmd ping --wait-timeout 5s {}",
            self.broker
        );
        self.fleet.types_in_vain(&line, code)
    }

    /// What the node obeys.
    fn in_force(&self) -> String {
        let settings = self.fleet.nodes[0].settings();
        self.fleet
            .types(&format!("edge-agent keyring show --config {settings:?}"))
    }
}

fn over_the_air(_: &Args) {
    let mut desk = Desk::set();
    desk.ping("drone.key", "drone-2026", 0);
    let new_key = desk.make("", "drone-2027");
    let new_root = desk.make("--root", "root-2");
    for line in [
        format!(
            "edge-agent keyring add keyring.toml --id drone-2027 --public {new_key} --application '*'"
        ),
        "edge-agent keyring revoke keyring.toml drone-2026".to_owned(),
        format!("edge-agent keyring add keyring.toml --root --id root-2 --public {new_root}"),
        "edge-agent keyring revoke keyring.toml root-1".to_owned(),
    ] {
        desk.fleet.types(&line);
    }
    let fleet = &desk.fleet;
    assert!(
        fleet
            .types("edge-agent keyring show keyring.toml")
            .contains("version 5")
    );

    // By the new root key alone, to whom the node listens as little as to anybody.
    fleet.types("edge-agent keyring sign keyring.toml --id by-new --key root-2.key --key-id root-2 > by-new.json");
    desk.send("by-new.json", 3);
    // By the old one alone: nobody is to be locked out of the keyring that they hand over.
    fleet.types("edge-agent keyring sign keyring.toml --id change --key root-1.key --key-id root-1 > by-old.json");
    let refused = desk.send("by-old.json", 4);
    assert!(refused.contains("threshold_not_met"), "{refused}");
    assert!(desk.in_force().contains("version 1"));
    // By both; the node verifies it, and signs what it answers.
    fleet.types("edge-agent keyring sign keyring.toml --id both --key root-1.key --key-id root-1 > one.json");
    fleet.types(
        "edge-agent sign --add-signature one.json --key root-2.key --key-id root-2 > both.json",
    );
    let done = desk.send("both.json", 0);
    assert!(done.contains("version 5"), "{done}");
    let now = desk.in_force();
    assert!(
        now.contains("version 5") && now.contains("state/keyring.toml"),
        "{now}"
    );

    let result = fleet.wait_told("pi-01", "result/both", |envelope| {
        envelope["payload"].is_string()
    });
    fs::write(fleet.desk.join("result.json"), &result.payload).unwrap();
    let identity = fleet.wait_told("pi-01", "identity", |value| value["key"].is_string());
    let key = identity.json()["key"].as_str().unwrap().to_owned();
    let verified = fleet.types(&format!("edge-agent verify --node-key {key} result.json"));
    assert!(verified.contains("succeeded"), "{verified}");
    fleet.types_in_vain(
        &format!("edge-agent verify --node-key {new_key} result.json"),
        1,
    );

    holds_afterwards(&desk);
    // And after a restart, although the file of the settings has the old key.
    desk.fleet.nodes[0].stop();
    desk.fleet.nodes[0].start();
    assert!(desk.in_force().contains("version 5"));
    holds_afterwards(&desk);
    not_greater(&desk);
}

fn holds_afterwards(desk: &Desk) {
    desk.ping("drone.key", "drone-2026", 3);
    let answered = desk.ping("drone-2027.key", "drone-2027", 0);
    assert!(answered.contains("succeeded"), "{answered}");
}

/// Versions that are not above that in force, each well signed.
fn not_greater(desk: &Desk) {
    let text = fs::read_to_string(desk.fleet.desk.join("keyring.toml")).unwrap();
    let other = text.replace("applications = [\"*\"]", "applications = [\"shop\"]");
    assert_ne!(text, other);
    for (name, text) in [
        ("same", other.clone()),
        ("older", other.replace("version = 5", "version = 4")),
    ] {
        fs::write(desk.fleet.desk.join(format!("{name}.toml")), text).unwrap();
        let sign = format!(
            "edge-agent keyring sign {name}.toml --key root-2.key --key-id root-2 > {name}.json"
        );
        desk.fleet.types(&sign);
        let refused = desk.send(&format!("{name}.json"), 4);
        assert!(refused.contains("replayed"), "{refused}");
    }
    // The very same once more changes nothing, and is no fault.
    let sign = "edge-agent keyring sign keyring.toml --key root-2.key --key-id root-2 > again.json";
    desk.fleet.types(sign);
    desk.send("again.json", 0);
    assert!(desk.in_force().contains("version 5"));
    // What it obeys is told by the node itself as well.
    let is_known = |value: &Value| value["refused"]["unknown_key"].as_u64() >= Some(1);
    let node = &desk.fleet.nodes[0];
    super::wait(LIMIT, "the refusals to be counted", || {
        let status = node.agent.as_ref()?.status()?;
        is_known(&status).then_some(())
    });
}
