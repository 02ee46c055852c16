//! The real Prometheus scrapes a real agent: its metrics hold, the rules alert, and every query of the
//! dashboard means something.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{LIMIT, program, run};
use crate::agent::Setup;
use crate::broker::Broker;
use crate::source::Hosted;
use crate::support::cluster::{ApplicationSpec, Behaviour, Commit, Pace, sha};
use crate::{Args, fence, figure, wait};

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/dashboards");

const RULES: &str = "edge-agent.rules.yml";

/// Kinds of panels that Grafana has; its SDK takes any word for one.
const PANELS: [&str; 5] = ["row", "stat", "state-timeline", "table", "timeseries"];

pub(super) fn suite(_: &Args) {
    let prometheus = program("prometheus");
    let grafana = program("grafana");
    let pictures = std::env::var_os("EDGE_AGENT_PICTURES").map(PathBuf::from);
    let artist = pictures.map(|folder| Artist {
        modules: program("node"),
        picture: folder.join("grafana.png"),
    });
    fence::fenced("dashboards_prometheus", || {
        scraped(&prometheus, &grafana, artist.as_ref());
    });
}

fn scraped(prometheus: &Path, grafana: &Path, artist: Option<&Artist>) {
    let promtool = prometheus.join("usr/bin/promtool");
    let holds = |arguments: &[&str], input: &[u8]| {
        let (held, said) = run(&promtool, arguments, input);
        assert!(held, "promtool {arguments:?}: {said}");
    };
    let shipped = |name: &str| format!("{CONFIG}/prometheus/{name}");
    holds(&["check", "config", &shipped("prometheus.yml")], b"");
    holds(&["test", "rules", &shipped("edge-agent.tests.yml")], b"");
    every_alert_is_tested();

    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::plain(dir.path(), "");
    let cluster = Hosted::start(dir.path(), Pace::fast());
    let spec = ApplicationSpec::automated(Commit::new(sha(1), Behaviour::Healthy));
    cluster.double.create_application("argocd", "shop", spec);
    let port = crate::support::port::reserve();
    let mut setup = Setup::new(dir.path(), broker.port);
    setup.kubeconfig = Some(cluster.kubeconfig());
    setup.listen_metrics(port);
    let mut agent = setup.start();
    agent.wait_up(LIMIT);
    let metrics = wait(LIMIT, "the metrics to tell of an application", || {
        let metrics = agent.get_at(port, "/metrics")?;
        let told = ["edge_agent_application_state", "edge_agent_health_status"];
        told.iter()
            .all(|name| metrics.contains(name))
            .then_some(metrics)
    });
    holds(&["check", "metrics"], metrics.as_bytes());
    figure("series of a node with one application", series(&metrics));

    let server = Server::start(prometheus, &dir.path().join("prometheus"), port);
    server.wait_for("up{job=\"edge-agent\",instance=\"localhost\"} == 1");
    server.wait_for("job_state:edge_agent_applications:count{state=\"Healthy\"} == 1");
    every_query_means_something(&server, &metrics);
    let board = format!("{CONFIG}/grafana/edge-agent.json");
    let (held, said) = run(&grafana.join("check"), &[&board], b"");
    assert!(held, "{said}");

    let bad = Commit::new(sha(2), Behaviour::Degraded);
    cluster.double.push_commit("argocd", "shop", bad);
    let firing = |name: &str| format!("ALERTS{{alertname=\"{name}\",alertstate=\"firing\"}}");
    server.wait_for(&firing("EdgeAgentDeployFailed"));
    if let Some(artist) = artist {
        artist.draw(&server);
    }
    agent.kill();
    server.wait_for(&firing("EdgeAgentNodeDown"));
}

fn series(metrics: &str) -> usize {
    metrics
        .lines()
        .filter(|line| !line.starts_with('#'))
        .count()
}

fn every_alert_is_tested() {
    let read = |name: &str| fs::read_to_string(format!("{CONFIG}/prometheus/{name}")).unwrap();
    let rules = read(RULES);
    let names = |key: &str| -> Vec<String> {
        let lines = rules
            .lines()
            .filter_map(|line| line.trim().strip_prefix(key));
        lines.map(str::to_owned).collect()
    };
    let (alerts, records) = (names("- alert: "), names("- record: "));
    assert!(
        alerts.len() >= 10 && !records.is_empty(),
        "{alerts:?} {records:?}"
    );
    let tests = read("edge-agent.tests.yml");
    for alert in &alerts {
        let of = tests.split(&format!("alertname: {alert}\n")).nth(1);
        assert!(
            of.is_some_and(|test| test.contains("exp_labels")),
            "{alert} is not seen to fire"
        );
        let quiet = tests.contains(&format!("alertname: {alert}, eval_time"));
        assert!(quiet, "{alert} is not seen to wait");
    }
    for record in &records {
        assert!(
            tests.contains(&format!("expr: {record}\n")),
            "{record} is not tested"
        );
    }
}

/// Runs what the dashboard asks for. What is about readings that this machine has must have an answer.
fn every_query_means_something(server: &Server, metrics: &str) {
    let text = fs::read_to_string(format!("{CONFIG}/grafana/edge-agent.json")).unwrap();
    let board: Value = serde_json::from_str(&text).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let variables: BTreeSet<&str> = board["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert_eq!(variables, BTreeSet::from(["datasource", "instance", "job"]));
    let mut queries = 0;
    for panel in panels {
        let kind = panel["type"].as_str().unwrap();
        assert!(PANELS.contains(&kind), "{kind}");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            let asked = query
                .replace("$job", "edge-agent")
                .replace("$instance", "localhost")
                .replace("$__rate_interval", "10s");
            assert!(!asked.contains('$'), "{query}");
            // Nothing is refused, nothing lost and nothing alerted here.
            let may_be_empty =
                asked.ends_with("> 0") || asked.contains("!=") || asked.contains("dropped");
            let known = names(query).all(|name| metrics.contains(name));
            if known && !may_be_empty {
                server.wait_for(&asked);
            } else {
                server.ask(&asked);
            }
            queries += 1;
        }
    }
    figure("queries of the dashboard", queries);
    assert!(queries > 25);
}

/// Makes the picture of the guide.
struct Artist {
    /// What it draws with.
    modules: PathBuf,
    picture: PathBuf,
}

impl Artist {
    /// Draws the answers to what the dashboard asks, of a minute.
    fn draw(&self, server: &Server) {
        server.wait_for("count_over_time(up[1m]) > 50");
        let script = format!("{}/draw.mjs", super::HERE);
        let board = format!("{CONFIG}/grafana/edge-agent.json");
        let url = format!("http://127.0.0.1:{}", server.port);
        let [modules, picture] = [&self.modules, &self.picture].map(|it| it.to_str().unwrap());
        let arguments = [&script, modules, &board, &url, "60", picture];
        let (drawn, said) = run(Path::new("node"), &arguments, b"");
        assert!(drawn, "{said}");
    }
}

/// The metrics that a query names.
fn names(query: &str) -> impl Iterator<Item = &str> {
    query
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("edge_agent_"))
}

/// A Prometheus. Dropping it kills it.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// As it is shipped, but that it scrapes this port, and that nobody has to wait.
    fn start(program: &Path, directory: &Path, scraped: u16) -> Self {
        fs::create_dir_all(directory).unwrap();
        let changed = |name: &str, changes: &[(&str, &str)]| {
            let mut text = fs::read_to_string(format!("{CONFIG}/prometheus/{name}")).unwrap();
            for (from, to) in changes {
                assert!(text.contains(from), "{name} has no {from:?} any more");
                text = text.replace(from, to);
            }
            fs::write(directory.join(name), text).unwrap();
        };
        changed(
            "prometheus.yml",
            &[
                ("_interval: 30s", "_interval: 1s"),
                ("scrape_timeout: 10s", "scrape_timeout: 1s"),
                ("pi-01.lan:9751", &format!("localhost:{scraped}")),
                ("          - pi-02.lan:9751\n", ""),
            ],
        );
        changed(RULES, &[("for: 5m", "for: 1s")]);
        let port = crate::support::port::reserve();
        let log = File::create(directory.join("log")).unwrap();
        let child = Command::new(program.join("usr/bin/prometheus"))
            .arg(format!(
                "--config.file={}/prometheus.yml",
                directory.display()
            ))
            .arg(format!("--storage.tsdb.path={}/data", directory.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, port }
    }

    /// What it answers to a query, which must be one.
    fn ask(&self, query: &str) -> Value {
        let answer = self.try_ask(query).unwrap();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].clone()
    }

    fn try_ask(&self, query: &str) -> Option<Value> {
        let url = format!("http://127.0.0.1:{}/api/v1/query", self.port);
        let query = format!("query={query}");
        let arguments = [
            "-s",
            "-G",
            "--max-time",
            "10",
            "--data-urlencode",
            &query,
            &url,
        ];
        let (_, said) = run(Path::new("curl"), &arguments, b"");
        serde_json::from_str(&said).ok()
    }

    /// Waits until a query has an answer.
    fn wait_for(&self, query: &str) {
        wait(LIMIT, query, || {
            let answer = self.try_ask(query)?;
            assert_ne!(answer["status"], "error", "{query}: {answer}");
            let found = answer["data"]["result"].as_array()?;
            (!found.is_empty()).then_some(())
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
