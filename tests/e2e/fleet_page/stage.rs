//! Mosquitto as the project ships it with a listener for browsers, nodes, a desk that commands them, and the page.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::browser::{Browser, programs};
use crate::broker::make_certificate;
use crate::fleet::Fleet;
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
        let program = Path::new(env!("CARGO_BIN_EXE_edge-agent")).with_file_name("examples/fleet");
        let told = File::create(broker.file("load.log")).unwrap();
        let child = Command::new(program)
            .args(["--nodes", &nodes.to_string()])
            .args(["--broker", &format!("mqtts://localhost:{}", broker.port)])
            .arg("--ca-file")
            .arg(broker.file("ca.crt"))
            .arg("--cert-file")
            .arg(broker.file(&format!("{EVERYBODY}.crt")))
            .arg("--key-file")
            .arg(broker.file(&format!("{EVERYBODY}.key")))
            .stdin(Stdio::null())
            .stdout(told.try_clone().unwrap())
            .stderr(told)
            .spawn()
            .unwrap();
        Load(child)
    }
}

/// The load generator.
pub(super) struct Load(Child);

impl Load {
    /// It withdraws what it has told.
    pub(super) fn end(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        let status = crate::wait(LIMIT * 2, "the load to end", || self.0.try_wait().unwrap());
        assert!(status.success(), "the load: {status}");
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
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
