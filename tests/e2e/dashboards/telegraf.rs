//! The real Telegraf takes what an agent says from the broker, by the example as it is shipped.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{LIMIT, program, run};
use crate::agent::{NODE, Setup};
use crate::broker::Broker;
use crate::source::Hosted;
use crate::support::cluster::{ApplicationSpec, Behaviour, Commit, Pace, sha};
use crate::{Args, fence, wait};

const CONFIG: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/config/dashboards/telegraf/telegraf.conf"
);

pub(super) fn suite(_: &Args) {
    let telegraf = program("telegraf");
    fence::fenced("dashboards_telegraf", || {
        measured(&telegraf.join("telegraf"))
    });
}

/// Kills it when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measured(telegraf: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::recommended(dir.path());
    let cluster = Hosted::start(dir.path(), Pace::fast());
    let spec = ApplicationSpec::automated(Commit::new(sha(1), Behaviour::Healthy));
    cluster.double.create_application("argocd", "shop", spec);
    let mut setup = Setup::new(dir.path(), broker.port);
    setup.mqtt = broker.settings(broker.port);
    setup.kubeconfig = Some(cluster.kubeconfig());
    let mut agent = setup.start();
    agent.wait_up(LIMIT);

    let config = dir.path().join("telegraf.conf");
    let lines = dir.path().join("lines");
    fs::write(&config, adapted(&broker, dir.path(), &lines)).unwrap();
    let config = config.to_string_lossy().into_owned();
    let (held, said) = run(telegraf, &["config", "check", "--config", &config], b"");
    assert!(held, "{said}");
    let log = File::create(dir.path().join("telegraf.log")).unwrap();
    let _running = Running(
        Command::new(telegraf)
            .args(["--config", &config])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap(),
    );
    let has = |line: &str, words: &[&str]| words.iter().all(|word| line.contains(word));
    let application = format!("edge_app,application=shop,node={NODE} ");
    let presence = format!("edge_presence,node={NODE} ");
    let health = format!("edge_health,node={NODE} ");
    let expected: [&[&str]; 4] = [
        &[&presence, "online=true", "reason=\"started\""],
        &[
            &health,
            "status=\"",
            "memory_total_bytes=",
            "outbox_records=",
        ],
        &["edge_disk,mount=/", "total_bytes=", "available_bytes="],
        &[&application, "state=\"Healthy\"", "revision=\"1111"],
    ];
    let log = || fs::read_to_string(dir.path().join("telegraf.log")).unwrap();
    for words in expected {
        wait(LIMIT, &format!("{words:?}"), || {
            let told = fs::read_to_string(&lines).unwrap_or_default();
            let log = log();
            assert!(!log.contains(" E! "), "{log}");
            told.lines().any(|line| has(line, words)).then_some(())
        });
    }
    // What changes comes as it changes, and what goes ends nothing.
    let bad = Commit::new(sha(2), Behaviour::Degraded);
    cluster.double.push_commit("argocd", "shop", bad);
    wait(LIMIT, "the application to degrade", || {
        let told = fs::read_to_string(&lines).unwrap();
        let words = [application.as_str(), "state=\"Degraded\""];
        told.lines().any(|line| has(line, &words)).then_some(())
    });
    cluster.double.delete_application("argocd", "shop");
    agent.wait_status(LIMIT, "the application to be gone", |status| {
        status["applications"].as_object()?.is_empty().then_some(())
    });
    agent.terminate(LIMIT);
    wait(LIMIT, "the goodbye", || {
        let told = fs::read_to_string(&lines).unwrap();
        told.contains("reason=\"stopped\"").then_some(())
    });
    // It says once that what was emptied is no JSON.
    let log = log();
    let errors = log.lines().filter(|line| line.contains(" E! "));
    let errors: Vec<&str> = errors
        .filter(|line| !line.contains("invalid JSON provided"))
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
}

/// The example with the paths and addresses of this machine, and a file to write to.
fn adapted(broker: &Broker, directory: &Path, lines: &Path) -> String {
    let text = fs::read_to_string(CONFIG).unwrap();
    let output = text.find("[[outputs.influxdb_v2]]").unwrap();
    let after = text.find("# For VictoriaMetrics").unwrap();
    let text = format!(
        "{}[[outputs.file]]\n  files = [{lines:?}]\n  data_format = \"influx\"\n{}",
        &text[..output],
        &text[after..]
    );
    let changes = [
        ("broker.example:8883", format!("localhost:{}", broker.port)),
        ("/etc/telegraf", directory.display().to_string()),
        ("_interval = \"10s\"", "_interval = \"1s\"".to_owned()),
    ];
    changes.into_iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "the example has no {from:?} any more");
        text.replace(from, &to)
    })
}
