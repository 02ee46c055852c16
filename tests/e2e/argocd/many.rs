//! Many applications, and many rollbacks: what they cost.

use std::time::{Duration, Instant};

use edge_agent_core::wire::ResultState::{Accepted, Executing, Succeeded};
use serde_json::{Value, json};

use super::super::Args;
use super::stage::Stage;
use crate::scenarios::api::{APPLICATIONS, application_path};
use crate::scenarios::scene::{LIMIT, Scene as _};
use crate::scenarios::shop::{Shop, Sync};
use crate::scenarios::version::Version;
use crate::{figure, wait};

/// More than that for an application of 200 resources, and something is kept that need not be.
const BYTES_EACH: u64 = 40_000;

/// 500 applications with 200 resources each, written straight to the API server. Argo CD leaves them
/// alone, so that they cost nobody else anything.
pub(super) fn suite(args: &Args) {
    let stage = Stage::set(args);
    stage.wait_cluster_up(LIMIT);
    let mut resident = vec![(0, settled(&stage))];
    for (from, to) in [(0, 1), (1, 20), (20, 500)] {
        let begun = Instant::now();
        create(&stage, from, to);
        let wanted = usize::try_from(to).unwrap();
        wait(Duration::from_secs(60), "all of them to be told", || {
            let messages = stage.recorder.messages();
            let names: std::collections::BTreeSet<&str> = messages
                .iter()
                .map(|m| m.topic.as_str())
                .filter(|t| t.contains("/app/many-"))
                .collect();
            (names.len() >= wanted).then_some(())
        });
        figure(
            &format!("{to} applications told after"),
            format!("{:?}", begun.elapsed()),
        );
        resident.push((to, settled(&stage)));
    }
    for (count, bytes) in &resident {
        figure(
            &format!("resident with {count} applications"),
            format!("{:.1} MiB", mib(*bytes)),
        );
    }
    let (few, many) = (resident[2].1, resident[3].1);
    let each = many.saturating_sub(few) / 480;
    figure("memory for each application", format!("{each} bytes"));
    assert!(each < BYTES_EACH, "{each}");
    // The list is read in pages.
    stage.agent().kill();
    stage.start_agent();
    let begun = Instant::now();
    stage
        .agent()
        .wait_status(Duration::from_secs(60), "all to be on the page", |status| {
            (status["applications"].as_object()?.len() == 500).then_some(())
        });
    figure(
        "500 applications listed after a start within",
        format!("{:?}", begun.elapsed()),
    );
}

/// Writes them, four at a time.
fn create(stage: &Stage, from: u32, to: u32) {
    std::thread::scope(|scope| {
        for worker in 0..4 {
            scope.spawn(move || {
                for index in (from..to).filter(|index| index % 4 == worker) {
                    let object = synthetic(index);
                    stage
                        .lab
                        .api
                        .send("POST", APPLICATIONS, "application/json", &object);
                }
            });
        }
    });
}

#[allow(clippy::cast_precision_loss, reason = "for a person")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}

/// What is resident once nothing changes any more.
fn settled(stage: &Stage) -> u64 {
    std::thread::sleep(Duration::from_secs(3));
    stage.agent().resident_bytes()
}

fn synthetic(index: u32) -> Value {
    let revision = format!("{index:040x}");
    let resources: Vec<Value> = (0..200)
        .map(|resource| {
            json!({
                "group": "apps", "kind": "Deployment", "name": format!("part-{resource}"),
                "namespace": "many", "status": "Synced", "version": "v1",
            })
        })
        .collect();
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": format!("many-{index}"),
            "namespace": "argocd",
            "annotations": {"argocd.argoproj.io/skip-reconcile": "true"},
        },
        "spec": {
            "project": "default",
            "source": {"repoURL": "file:///nowhere", "path": "app", "targetRevision": "main"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "many"},
        },
        "status": {
            "sync": {
                "status": "Synced", "revision": revision,
                "comparedTo": {
                    "source": {"repoURL": "file:///nowhere"},
                    "destination": {},
                },
            },
            "health": {"status": "Healthy"},
            "resources": resources,
            "summary": {"images": [format!("example.test/web:{index}")]},
        },
    })
}

/// Rollbacks, and how long each of their steps takes.
pub(super) fn latency(args: &Args) {
    let stage = Stage::set(args);
    let rounds = if args.long { 100 } else { 12 };
    let (shop, first) = Shop::open(&stage, "latency", Sync::Auto);
    let second = shop.push(&Version::good("latency-2"));
    shop.wait_told(&second);
    let mut steps = [const { Vec::new() }; 4];
    for round in 0..rounds {
        let target = if round % 2 == 0 { &first } else { &second };
        let to = edge_agent_core::command::payload::RollbackTarget::Revision(target.clone());
        let before = stage.recorder.messages().len();
        let sent = Instant::now();
        let id = stage.order(shop.rollback(to, None));
        let (accepted, _) = stage.wait_answer(&id, Accepted);
        let (executing, _) = stage.wait_answer(&id, Executing);
        shop.wait_state("RolledBack", target);
        let topic = format!("edge/v1/{}/app/latency", super::super::agent::NODE);
        let messages = stage.recorder.messages();
        let healthy = messages[before..]
            .iter()
            .find(|m| {
                m.topic == topic
                    && m.json()["state"] == "RolledBack"
                    && m.json()["revision"] == **target
            })
            .map_or_else(Instant::now, |message| message.at);
        for (step, at) in steps.iter_mut().zip([accepted, executing, healthy]) {
            step.push(at.saturating_duration_since(sent));
        }
        if round + 1 == rounds {
            stage.expect(&id, Succeeded, LIMIT);
            steps[3].push(sent.elapsed());
        }
    }
    let names = [
        "to accepted",
        "to executing",
        "to Healthy on the broker",
        "to the result, settle window included",
    ];
    for (name, step) in names.iter().zip(&mut steps) {
        step.sort();
        let at = |share: usize| step[(step.len() * share / 100).min(step.len() - 1)];
        figure(
            &format!("a rollback, from its publication {name}"),
            format!(
                "median {:?}, 99th percentile {:?}, of {}",
                at(50),
                at(99),
                step.len()
            ),
        );
    }
    from_commit(&stage, &shop);
}

/// From a commit to the message that says Healthy, Argo CD's share and ours.
fn from_commit(stage: &Stage, shop: &Shop<'_>) {
    let id = stage.order(shop.resume());
    stage.expect(&id, Succeeded, LIMIT);
    let committed = Instant::now();
    let third = shop.push(&Version::good("latency-3"));
    shop.wait_state("Healthy", &third);
    let told = committed.elapsed();
    let observed = stage.observed.lock().unwrap().clone();
    let theirs = observed.iter().rev().find(|o| o.name == "latency").unwrap();
    let theirs = theirs.at.saturating_duration_since(committed);
    figure(
        "from a commit (with a refresh) to Healthy on the broker",
        format!("{told:?}, of which {theirs:?} are Argo CD's"),
    );
    assert!(stage.lab.api.find(&application_path("latency")).is_some());
}
