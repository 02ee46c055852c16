//! Mosquitto as the project ships it with a listener for browsers, nodes, a desk that commands them, and the page.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use clap::Parser;
use edge_agent::cli::send::BrokerArgs;

use super::browser::{Browser, programs};
use crate::broker::make_certificate;
use crate::fleet::Fleet;
use crate::load::{self, Plan, Shape};
use crate::mqtt::Connection;

pub(super) const PAGE: &str = "config/dashboards/fleet";
pub(super) const NODES: [&str; 2] = ["pi-01", "pi-02"];
/// The one of `config/mosquitto/fleet-page.conf`: behind the fence it is nobody else's.
const PORT: u16 = 9001;
const PASSWORD: &str = "to be changed";
/// What may write what every node may: the load generator, and whoever is wicked.
const EVERYBODY: &str = "fleet";

pub(super) const LIMIT: Duration = Duration::from_secs(60);

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

pub(super) struct Stage {
    pub(super) fleet: Fleet,
    /// How `edge-agent send` reaches the broker, and what it signs with.
    send: String,
}

impl Stage {
    /// The nodes run, and the page is served.
    pub(super) fn set() -> Self {
        let mut fleet = Fleet::set(&NODES);
        let folder = fleet.broker.file("page");
        build(&folder);
        listen(&mut fleet, &folder.join("dist"));
        fleet.types("DIRECTORY=certificates config/mosquitto/make-certificates client drone");
        let key = fleet.types("edge-agent keygen --out drone.key --id drone-2026");
        for node in &fleet.nodes {
            let shipped = fs::read_to_string(&node.keyring).unwrap();
            fs::write(&node.keyring, format!("{shipped}\n{key}")).unwrap();
        }
        fleet.start_all();
        let send = format!(
            "edge-agent send --key drone.key --key-id drone-2026 --broker mqtts://localhost:{} --ca-file \
             certificates/ca.crt --cert-file certificates/drone.crt --key-file certificates/drone.key",
            fleet.broker.port
        );
        Self { fleet, send }
    }

    /// Gives a node a command, and waits until it is done.
    pub(super) fn command(&self, node: &str, words: &str) {
        let key = self.key(node);
        self.fleet.types(&format!(
            "{} --node {node} --node-key {key} --cmd {words}",
            self.send
        ));
    }

    /// The public key of a node, as it says itself.
    pub(super) fn key(&self, node: &str) -> String {
        let told = |value: &serde_json::Value| value["key"].is_string();
        let identity = self.fleet.wait_told(node, "identity", told);
        identity.json()["key"].as_str().unwrap().to_owned()
    }

    /// Somebody who may write on the topics of every node.
    pub(super) fn everybody(&self) -> Connection {
        Connection::open(&self.fleet.broker.login(EVERYBODY)).unwrap()
    }

    /// The page in a new browser, before anybody has signed in.
    pub(super) fn browser() -> Browser {
        Browser::open(&address(""))
    }

    /// A fleet that is made up, until it is ended.
    pub(super) fn load(&self, nodes: usize) -> Load {
        let broker = &self.fleet.broker;
        let file = |name: &str| broker.file(name).display().to_string();
        let address = format!("mqtts://localhost:{}", broker.port);
        let (certificate, key) = (format!("{EVERYBODY}.crt"), format!("{EVERYBODY}.key"));
        let target = Target::parse_from([
            "load",
            "--broker",
            &address,
            "--ca-file",
            &file("ca.crt"),
            "--cert-file",
            &file(&certificate),
            "--key-file",
            &file(&key),
        ]);
        let mqtt = target.broker.resolve(None).unwrap();
        let plan = Plan {
            shape: Shape {
                nodes,
                prefix: "fleet".to_owned(),
                seed: 1,
                started: jiff::Timestamp::now(),
            },
            connections: 10,
            speed: 1.0,
            duration: None,
            keep: false,
        };
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let stopped = async { drop(stopped.await) };
            let run = load::run(&mqtt, &plan, stopped, |reason| panic!("the load: {reason}"));
            runtime.block_on(run).unwrap().cleared
        });
        Load { stop, thread }
    }
}

/// The broker of the load, as the load generator is told of it.
#[derive(Parser)]
struct Target {
    #[command(flatten)]
    broker: BrokerArgs,
}

/// A fleet that runs.
pub(super) struct Load {
    stop: tokio::sync::oneshot::Sender<()>,
    thread: JoinHandle<Option<usize>>,
}

impl Load {
    /// It withdraws what it has told.
    pub(super) fn end(self) {
        drop(self.stop);
        let cleared = self.thread.join().unwrap().unwrap();
        crate::figure("retained topics of the load", cleared);
    }
}

/// The page at a place in it.
pub(super) fn address(place: &str) -> String {
    format!("http://localhost:{PORT}/{place}")
}

/// Signs in as the person who looks.
pub(super) fn sign_in(browser: &mut Browser) {
    browser.fill("#user", "dashboard");
    browser.fill("#password", PASSWORD);
    browser.push("Sign in");
}

/// Builds the page as its reader does, and runs its own tests.
fn build(folder: &Path) {
    fs::create_dir(folder).unwrap();
    for name in ["src", "tests", "build.mjs", "tsconfig.json", "package.json"] {
        let from = Path::new(ROOT).join(PAGE).join(name);
        let copied = Command::new("cp").arg("-r").arg(from).arg(folder).status();
        assert!(copied.unwrap().success(), "{name}");
    }
    let modules = programs(PAGE).join("node_modules");
    std::os::unix::fs::symlink(modules, folder.join("node_modules")).unwrap();
    // The tests first: a build begins with an empty folder.
    for script in ["test", "build"] {
        let output = Command::new("npm")
            .args(["run", "--silent", script])
            .current_dir(folder)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "npm run {script}: {told}{complained}"
        );
    }
    let size = fs::metadata(folder.join("dist/page.js")).unwrap().len();
    crate::figure("the script of the page", format!("{size} bytes"));
}

/// Adds `config/mosquitto/fleet-page.conf` to the broker, and users.
fn listen(fleet: &mut Fleet, page: &Path) {
    let broker = &mut fleet.broker;
    broker.stop();
    let here = broker.file("ca.crt").parent().unwrap().to_owned();
    make_certificate(&here, &["client", EVERYBODY]);
    let shipped = fs::read_to_string(format!("{ROOT}/config/mosquitto/fleet-page.conf")).unwrap();
    let places = [
        ("/etc/mosquitto/edge-agent", &*here),
        ("/usr/share/edge-agent/fleet", page),
    ];
    let listener = places.into_iter().fold(shipped, |text, (from, to)| {
        assert!(text.contains(from), "fleet-page.conf has no {from:?}");
        text.replace(from, &to.display().to_string())
    });
    append(&broker.file("mosquitto.conf"), &listener);
    let rights = format!("\nuser {EVERYBODY}\ntopic write edge/v1/#\n");
    append(&broker.file("acl"), &rights);
    let made = Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(broker.file("passwords"))
        .args(["dashboard", PASSWORD])
        .status();
    assert!(made.unwrap().success(), "mosquitto_passwd");
    let before = fleet.recorder.subscriptions();
    broker.start();
    fleet.recorder.wait_subscribed(before);
}

fn append(file: &Path, text: &str) {
    let mut file = File::options().append(true).open(file).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
