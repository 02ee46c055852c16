//! How long a command takes to the API server, and a change there to the broker, over loopback. Run
//! it with `cargo bench --bench latency`; it prints the median and the 99th percentile of each.
#![allow(clippy::print_stdout)] // The figures are what this is for.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on ends")]
#![allow(dead_code, reason = "the fleet has more than is measured here")]

#[path = "../drone/fleet.rs"]
mod fleet;
#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use edge_agent_core::command::envelope::{COMMAND_TYPE, SigningKey, seal};
use edge_agent_core::command::payload::{Action, Command};
use rumqttc::{AsyncClient, MqttOptions, PublishOptions, QoS};
use serde_json::json;

use fleet::{Fleet, LIMIT, states};
use support::broker::topic;

const REPETITIONS: u32 = 1000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let fleet = Fleet::start(&["pi-01"]).await;
        report("PUBLISH of a command to the patch", commands(&fleet).await);
        report("Application change to PUBLISH", changes(&fleet).await);
    });
}

fn report(what: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
    println!(
        "{what:<36} median {:>9.3?}   99th percentile {:>9.3?}   of {}",
        at(50),
        at(99),
        took.len()
    );
}

/// A client that is connected already, so that only the way through the broker is measured.
fn client(fleet: &Fleet) -> AsyncClient {
    let options = MqttOptions::new("bench", ("127.0.0.1", fleet.broker.port()));
    let (client, mut event_loop) = AsyncClient::builder(options).capacity(8).build();
    tokio::spawn(async move { while event_loop.poll().await.is_ok() {} });
    client
}

async fn commands(fleet: &Fleet) -> Vec<Duration> {
    let key = SigningKey::from_seed(&[41; 32]).unwrap();
    let client = client(fleet);
    let cluster = fleet.cluster("pi-01");
    let mut results = fleet.broker.record("edge/v1/pi-01/result/#").await;
    let mut took = Vec::new();
    for number in 0..REPETITIONS {
        let id = format!("bench-{number}");
        let now = edge_agent::clock::now().wall;
        let command = Command {
            id: id.clone(),
            audience: vec!["pi-01".to_owned()],
            sequence: now.as_millisecond().unsigned_abs(),
            issued_at: now.as_second(),
            // Short, so that the ledger forgets it before it is full.
            expires_at: now.as_second() + 4,
            action: Action::Refresh {
                application: "shop".to_owned(),
                hard: false,
            },
        };
        let envelope = seal(COMMAND_TYPE, &command.to_json(), &[("drone", &key)]);
        cluster.forget_requests();
        let began = Instant::now();
        let options = PublishOptions::new(QoS::AtLeastOnce);
        client
            .publish("edge/v1/pi-01/command", envelope, options)
            .await
            .unwrap();
        cluster
            .wait_for_request(|it| it.method == "PATCH", LIMIT)
            .await;
        took.push(began.elapsed());
        let ended = |seen: &[rumqttc::Publish]| {
            let newest = seen.last().filter(|it| topic(it).ends_with(&id));
            newest.is_some_and(|it| states(std::slice::from_ref(it)) == ["succeeded"])
        };
        results.until("the refresh ends", ended).await;
        // The ledger keeps a result until it is surely with the outbox, and has room for 64.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    took
}

async fn changes(fleet: &Fleet) -> Vec<Duration> {
    let mut recorder = fleet.broker.record("edge/v1/pi-01/app/shop").await;
    let cluster = fleet.cluster("pi-01");
    let mut took = Vec::new();
    for number in 0..REPETITIONS {
        let image = format!("registry.example/shop:{number}");
        let images = json!({"status": {"summary": {"images": [image]}}});
        let began = Instant::now();
        cluster.merge("argocd", "shop", &images);
        let said = |payload: &[u8]| {
            payload
                .windows(image.len())
                .any(|it| it == image.as_bytes())
        };
        let arrived = |seen: &[rumqttc::Publish]| {
            let mut newest = seen.iter().rev().take(8);
            newest.any(|it| topic(it).ends_with("/shop") && said(&it.payload))
        };
        recorder.until("the change arrives", arrived).await;
        took.push(began.elapsed());
    }
    took
}
