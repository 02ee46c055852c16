//! `config/dashboards/node-red` in a real Node-RED with Dashboard 2, looked at in Chromium.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::broker::Broker;
use super::fence::fenced;
use super::fleet::Fleet;
use super::fleet_page::browser::{Browser, programs};
use super::support::cluster::sha;
use super::{Args, Suite};

pub(crate) const SUITES: &[Suite] = &[("dashboards_node_red", node_red)];

const FLOW: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/config/dashboards/node-red/flows.json"
);
const PROGRAM: &str = "tests/e2e/node_red";
const NODES: [&str; 2] = ["pi-01", "pi-02"];
/// Behind the fence it is nobody else's.
const PORT: u16 = 1880;
const LIMIT: Duration = Duration::from_secs(90);

fn node_red(_: &Args) {
    // Before the fence, behind which nothing can be got.
    programs(PROGRAM);
    programs("tests/e2e/fleet_page");
    fenced("dashboards_node_red", story);
}

fn story() {
    let mut fleet = Fleet::set(&NODES);
    fleet.start_all();
    let folder = fleet.desk.join("node-red");
    fs::create_dir(&folder).unwrap();
    let node_red = NodeRed::start(&folder);
    node_red.import(&flow(&fleet.broker));
    let mut page = Browser::open(&format!("http://localhost:{PORT}/dashboard/fleet"));
    shows_the_fleet(&mut fleet, &mut page);
    shows_one_node(&fleet, &mut page);
    let complaints = node_red.complaints();
    assert_eq!(complaints, [""; 0], "Node-RED: {complaints:?}");
}

/// The flow as it ships; what a person sets in the editor is set here.
fn flow(broker: &Broker) -> Value {
    let text = fs::read_to_string(FLOW).unwrap();
    let mut flow: Value = serde_json::from_str(&text).unwrap();
    let nodes = flow.as_array_mut().unwrap();
    let server = nodes.iter_mut().find(|node| node["type"] == "mqtt-broker");
    let server = server.unwrap();
    server["port"] = json!(broker.port.to_string());
    server["usetls"] = json!(true);
    server["tls"] = json!("tls");
    let file = |name: &str| broker.file(name).display().to_string();
    let (ca, certificate, key) = (file("ca.crt"), file("dashboard.crt"), file("dashboard.key"));
    nodes.push(json!({"id": "tls", "type": "tls-config", "name": "", "cert": certificate, "key": key, "ca": ca,
        "certname": "", "keyname": "", "caname": "", "servername": "", "verifyservercert": true, "alpnprotocol": ""}));
    flow
}

fn shows_the_fleet(fleet: &mut Fleet, page: &mut Browser) {
    let row = |words: &[&str]| {
        format!(
            "[...document.querySelectorAll('tr')].some((row) => {}.every((word) => row.textContent.includes(word)))",
            json!(words)
        )
    };
    let revision = &sha(1)[..8];
    for node in NODES {
        page.wait(LIMIT, &row(&[node, "online", "shop Healthy", revision]));
    }
    // Live, and by its will.
    fleet.nodes[1].agent.take().unwrap().kill();
    page.wait(LIMIT, &row(&["pi-02", "lost"]));
    assert_eq!(
        page.run("return document.querySelectorAll('tbody tr').length;"),
        NODES.len()
    );
    wicked(fleet, page);
    page.size(1200, 340);
    page.picture("node-red.png");
    page.size(1280, 800);
}

/// What an agent says is not put in as markup.
fn wicked(fleet: &Fleet, page: &mut Browser) {
    const WICKED: &str = "<img src=x onerror=\"document.title='owned'\">";
    let mut node = super::mqtt::Connection::open(&fleet.broker.login("pi-02")).unwrap();
    let message = json!({"v": 1, "state": WICKED, "revision": WICKED}).to_string();
    let topic = "edge/v1/pi-02/app/wicked";
    node.publish(topic, message.as_bytes(), 0, true).unwrap();
    page.wait(
        LIMIT,
        "document.querySelector('table').textContent.includes('<img src=x')",
    );
    let seen = page.run("return document.querySelectorAll('td img').length;");
    assert_eq!(seen, 0);
    node.publish(topic, b"", 0, true).unwrap();
    page.wait(
        LIMIT,
        "!document.querySelector('table').textContent.includes('<img src=x')",
    );
}

fn shows_one_node(fleet: &Fleet, page: &mut Browser) {
    // A row opens the page of its node.
    page.run("[...document.querySelectorAll('tbody tr')].find((row) => row.textContent.includes('pi-01')).click();");
    page.wait(LIMIT, "location.pathname === '/dashboard/node' && document.querySelector('.edge-agent-node h2')?.textContent === 'pi-01'");
    let revision = &sha(1)[..8];
    page.wait(LIMIT, &format!("['shop', 'Healthy', '{revision}', 'online'].every((word) => document.querySelector('.edge-agent-node').textContent.includes(word))"));
    let health = fleet.wait_told("pi-01", "health", |_| true).json();
    let status = health["status"].as_str().unwrap();
    page.wait(
        LIMIT,
        &format!(
            "document.querySelector('.edge-agent-node').textContent.includes('Health: {status}')"
        ),
    );
}

/// Node-RED. Dropping it ends it.
struct NodeRed {
    child: Child,
    log: std::path::PathBuf,
}

impl NodeRed {
    fn start(folder: &Path) -> Self {
        let program = programs(PROGRAM);
        let settings = format!(
            "module.exports = {{ uiHost: '127.0.0.1', uiPort: {PORT}, telemetry: {{ enabled: false }}, \
             nodesDir: [], editorTheme: {{ tours: false }} }};"
        );
        fs::write(folder.join("settings.js"), settings).unwrap();
        fs::write(folder.join("flows.json"), "[]").unwrap();
        // Where `Manage palette` puts what it installs.
        let package = json!({"name": "user", "version": "0.0.1", "dependencies": {"@flowfuse/node-red-dashboard": "*"}});
        fs::write(folder.join("package.json"), package.to_string()).unwrap();
        let modules = program.join("node_modules");
        std::os::unix::fs::symlink(&modules, folder.join("node_modules")).unwrap();
        let log = folder.join("log");
        let told = fs::File::create(&log).unwrap();
        let child = Command::new("node")
            .arg(modules.join("node-red/red.js"))
            .arg("--userDir")
            .arg(folder)
            .arg("flows.json")
            .stdin(Stdio::null())
            .stdout(told.try_clone().unwrap())
            .stderr(told)
            .spawn()
            .unwrap();
        let started = Self { child, log };
        super::wait(LIMIT, "Node-RED to start", || {
            started.text().contains("Started flows").then_some(())
        });
        started
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// As its editor deploys what was imported.
    fn import(&self, flow: &Value) {
        let body = flow.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", PORT)).unwrap();
        write!(
            stream,
            "POST /flows HTTP/1.1\r\nHost: localhost:{PORT}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Node-RED-API-Version: v1\r\nNode-RED-Deployment-Type: full\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.lines().next().unwrap_or_default();
        assert!(status.contains(" 204 "), "{answer}");
        super::wait(LIMIT, "Node-RED to connect", || {
            self.text().contains("Connected to broker").then_some(())
        });
    }

    /// What it complains of since the import: faults of nodes, types that it does not know.
    fn complaints(&self) -> Vec<String> {
        let words = ["[error]", "[warn]", "Waiting for missing types"];
        let text = self.text();
        let (_, since) = text.split_once("Updated flows").unwrap();
        let lines = since
            .lines()
            .filter(|line| words.iter().any(|word| line.contains(word)));
        lines.map(str::to_owned).collect()
    }
}

impl Drop for NodeRed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            super::figure("Node-RED", self.text());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
