use std::time::Duration;

use edge_agent_core::application::{Application, ApplicationKey, COMMAND_ANNOTATION};
use edge_agent_core::command::RefusalCode;
use edge_agent_core::command::payload::{HoldMode, RollbackTarget};
use edge_agent_core::event::Event;
use edge_agent_core::rollout::{Order, OrderKind, Outcome};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::super::fake::{Fake, Fate, touch, unreachable};
use super::super::{ClusterError, Executor};
use super::{fixture, settings};

const GOOD: &str = "634681676a472a6d48c997a5ba2f5b2b1d2b0bb2";

/// The second deploy of the real run, before it was rolled back.
fn deployed() -> Value {
    let mut object = fixture("pinned-healthy");
    object["spec"]["source"]["targetRevision"] = json!("main");
    object["status"]["history"]
        .as_array_mut()
        .unwrap()
        .truncate(2);
    let bad = object["status"]["history"][1]["revision"].clone();
    object["status"]["operationState"]["syncResult"]["revision"] = bad;
    object["metadata"]["annotations"] = json!({});
    object
}

fn order(kind: OrderKind) -> Order {
    Order {
        command: "cmd-1".to_owned(),
        application: ApplicationKey::parse("web", "argocd").unwrap(),
        kind,
        at: "2026-11-24T19:30:50Z".parse().unwrap(),
        cause: None,
    }
}

fn rollback(hold: Option<HoldMode>) -> Order {
    order(OrderKind::Rollback {
        to: RollbackTarget::Previous,
        hold,
        prune: false,
        allow_managed: false,
        seen_healthy: Vec::new(),
    })
}

/// Gives orders and waits for what comes of them, in the order in which they end.
async fn executed(fake: &Fake, given: Vec<Order>) -> Vec<Outcome> {
    let (sender, orders) = mpsc::channel(100);
    let (events, mut said) = mpsc::channel(100);
    let count = given.len();
    for order in given {
        sender.send(order).await.unwrap();
    }
    let stop = CancellationToken::new();
    let executor = Executor::new(fake.clone(), &settings(&["argocd"]), "pi-01");
    let run = executor.run(orders, events, stop.clone());
    let (done, outcomes) = futures::join!(run, async {
        let mut outcomes = Vec::new();
        while outcomes.len() < count {
            match said.recv().await.unwrap() {
                Event::Executed { command, outcome } => {
                    assert_eq!(command, "cmd-1");
                    outcomes.push(outcome);
                }
                other => panic!("{other:?}"),
            }
        }
        stop.cancel();
        outcomes
    });
    done.unwrap();
    outcomes
}

async fn one(fake: &Fake, order: Order) -> Outcome {
    executed(fake, vec![order]).await.remove(0)
}

fn refusal(outcome: Outcome) -> (RefusalCode, String) {
    match outcome {
        Outcome::Refused(refusal) => (refusal.code, refusal.message),
        other => panic!("{other:?}"),
    }
}

fn is_pinned(outcome: &Outcome, fake: &Fake) {
    let Outcome::Applied(applied) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(applied.revision.as_deref(), Some(GOOD));
    assert_eq!(applied.hold, Some(HoldMode::Pin));
    let script = fake.script();
    assert_eq!(script.writes.len(), 1);
    let app = Application::from_value(script.object.as_ref().unwrap()).unwrap();
    assert_eq!(app.hold.unwrap().to, GOOD);
    assert_eq!(app.last_command.as_deref(), Some("cmd-1"));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_is_one_patch() {
    let fake = Fake::holding(deployed());
    is_pinned(&one(&fake, rollback(None)).await, &fake);
    assert_eq!(fake.script().get_calls, 1);
    // The same command again finds itself, and writes nothing.
    is_pinned(&one(&fake, rollback(None)).await, &fake);
}

#[tokio::test(start_paused = true)]
async fn who_is_overtaken_reads_again() {
    let fake = Fake::holding(deployed());
    let fates = [Fate::Overtaken, Fate::Failed(ClusterError::Conflict)];
    fake.script().fates.extend(fates);
    is_pinned(&one(&fake, rollback(None)).await, &fake);
    assert_eq!(fake.script().get_calls, 3);

    let fake = Fake::holding(deployed());
    fake.script().fates.extend((0..99).map(|_| Fate::Overtaken));
    let started = Instant::now();
    let (code, message) = refusal(one(&fake, rollback(None)).await);
    assert_eq!(code, RefusalCode::Conflict);
    assert!(message.contains("argocd/web"), "{message}");
    assert!((15..17).contains(&started.elapsed().as_secs()));
    assert!((20..200).contains(&fake.script().write_calls));
    // Twenty in a row are no reason to give up.
    let fake = Fake::holding(deployed());
    fake.script().fates.extend((0..20).map(|_| Fate::Overtaken));
    is_pinned(&one(&fake, rollback(None)).await, &fake);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_not_valid_is_not_tried_for_long() {
    let fake = Fake::holding(deployed());
    let invalid = || Fate::Failed(ClusterError::Invalid("not that".to_owned()));
    fake.script().fates.extend((0..99).map(|_| invalid()));
    let (code, message) = refusal(one(&fake, rollback(None)).await);
    assert_eq!(code, RefusalCode::Conflict);
    assert!(message.contains("not that"), "{message}");
    assert_eq!(fake.script().write_calls, 1);
}

#[tokio::test(start_paused = true)]
async fn a_patch_whose_answer_is_lost_is_looked_up_and_not_repeated() {
    let fake = Fake::holding(deployed());
    fake.script().fates.push_back(Fate::LostAfter);
    is_pinned(&one(&fake, rollback(None)).await, &fake);
    assert_eq!(fake.script().write_calls, 1);
    // One that has never arrived is written again.
    let fake = Fake::holding(deployed());
    fake.script().fates.push_back(Fate::LostBefore);
    is_pinned(&one(&fake, rollback(None)).await, &fake);
    assert_eq!(fake.script().write_calls, 2);
    // What is known of a rollout is more than its annotation tells.
    let fake = Fake::holding(deployed());
    fake.script().fates.push_back(Fate::LostAfter);
    let revision = "f".repeat(40);
    let outcome = one(
        &fake,
        order(OrderKind::Rollout {
            revision: revision.clone(),
        }),
    )
    .await;
    assert!(matches!(outcome, Outcome::Applied(applied) if applied.revision == Some(revision)));
}

#[tokio::test(start_paused = true)]
async fn who_cannot_tell_does_not_say_refused() {
    let fake = Fake::holding(deployed());
    fake.script().fates.push_back(Fate::LostAfter);
    fake.script().gone_after_loss = true;
    let started = Instant::now();
    assert_eq!(one(&fake, rollback(None)).await, Outcome::NoTrace);
    let waited = started.elapsed();
    assert!((100..=120).contains(&waited.as_secs()), "{waited:?}");
    assert_eq!(fake.script().write_calls, 1);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_gets_half_a_minute() {
    let fake = Fake::holding(deployed());
    fake.script().gets.extend([unreachable(), unreachable()]);
    is_pinned(&one(&fake, rollback(None)).await, &fake);

    let fake = Fake::holding(deployed());
    fake.script().gets.extend((0..999).map(|_| unreachable()));
    let started = Instant::now();
    let (code, message) = refusal(one(&fake, rollback(None)).await);
    assert_eq!(code, RefusalCode::ApiUnreachable);
    assert_eq!(message, "cannot reach the API server: connection refused");
    assert!(started.elapsed() <= Duration::from_secs(31));
    assert_eq!(fake.script().write_calls, 0);
}

#[tokio::test(start_paused = true)]
async fn what_waiting_does_not_change_is_refused_at_once() {
    let (code, message) = refusal(one(&Fake::default(), rollback(None)).await);
    assert_eq!(code, RefusalCode::ApplicationNotFound);
    assert!(message.contains("argocd/web"));
    let fake = Fake::holding(deployed());
    let forbidden = ClusterError::Forbidden("cannot patch".to_owned());
    fake.script().fates.push_back(Fate::Failed(forbidden));
    let (code, message) = refusal(one(&fake, rollback(None)).await);
    assert_eq!(code, RefusalCode::ApiUnreachable);
    assert!(message.contains("Role") && message.contains("cannot patch"));
    assert_eq!(fake.script().write_calls, 1);
}

#[tokio::test(start_paused = true)]
async fn a_lookup_writes_nothing_and_has_time() {
    let lookup = || order(OrderKind::Lookup);
    let fake = Fake::holding(deployed());
    assert_eq!(one(&fake, lookup()).await, Outcome::NoTrace);
    assert_eq!(one(&Fake::default(), lookup()).await, Outcome::NoTrace);
    one(&fake, rollback(None)).await;
    // K3s comes up minutes after the agent.
    fake.script().gets.extend((0..60).map(|_| unreachable()));
    is_pinned(&one(&fake, lookup()).await, &fake);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_annotates() {
    let fake = Fake::holding(deployed());
    let outcome = one(&fake, order(OrderKind::Refresh { hard: false })).await;
    assert!(matches!(outcome, Outcome::Applied(_)));
    let script = fake.script();
    let annotations = &script.object.as_ref().unwrap()["metadata"]["annotations"];
    assert_eq!(annotations["argocd.argoproj.io/refresh"], "normal");
    assert_eq!(annotations[COMMAND_ANNOTATION], "cmd-1");
}

fn running() -> Value {
    let mut object = deployed();
    object["status"]["operationState"]["phase"] = json!("Running");
    object["operation"] = json!({});
    object
}

#[tokio::test(start_paused = true)]
async fn a_pause_waits_for_the_operation_that_it_ends() {
    let fake = Fake::holding(running());
    let controller = async {
        loop {
            sleep(Duration::from_millis(100)).await;
            let mut script = fake.script();
            let object = script.object.as_mut().unwrap();
            if object["status"]["operationState"]["phase"] == "Terminating" {
                object["status"]["operationState"]["phase"] = json!("Failed");
                object.as_object_mut().unwrap().remove("operation");
                touch(object);
                return;
            }
        }
    };
    let (outcome, ()) = futures::join!(one(&fake, rollback(Some(HoldMode::Pause))), controller);
    assert!(matches!(outcome, Outcome::Applied(a) if a.hold == Some(HoldMode::Pause)));
    assert_eq!(fake.script().writes.len(), 2);
    let object = fake.script().object.take().unwrap();
    assert_eq!(object["operation"]["sync"]["revision"], GOOD);

    // One that does not end is left at that.
    let fake = Fake::holding(running());
    let (code, message) = refusal(one(&fake, rollback(Some(HoldMode::Pause))).await);
    assert_eq!(code, RefusalCode::Conflict);
    assert!(message.contains("30 s"), "{message}");
    assert_eq!(fake.script().writes.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn four_orders_at_once() {
    let fake = Fake::holding(deployed());
    let started = Instant::now();
    let orders = (0..8).map(|_| order(OrderKind::Lookup)).collect();
    assert_eq!(executed(&fake, orders).await.len(), 8);
    assert_eq!(started.elapsed(), Duration::from_millis(20));
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_short_work_end_and_cuts_off_long() {
    let fake = Fake::holding(deployed());
    fake.script().gets.extend((0..999).map(|_| unreachable()));
    let (sender, orders) = mpsc::channel(1);
    let (events, mut said) = mpsc::channel(1);
    sender.send(rollback(None)).await.unwrap();
    let stop = CancellationToken::new();
    let executor = Executor::new(fake.clone(), &settings(&["argocd"]), "pi-01");
    let started = Instant::now();
    let (done, ()) = futures::join!(executor.run(orders, events, stop.clone()), async {
        sleep(Duration::from_secs(1)).await;
        stop.cancel();
    });
    done.unwrap();
    assert_eq!(started.elapsed(), Duration::from_secs(6));
    assert!(said.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_pin_looks_after_the_operation_that_it_ends() {
    // Argo CD has the state of the operation in hand, and writes it over the request to end it.
    let mut hangs = running();
    hangs["status"]["operationState"]["finishedAt"] = serde_json::Value::Null;
    let fake = Fake::holding(hangs.clone());
    let fates = [Fate::Overwritten, Fate::Overwritten];
    fake.script().fates.extend(fates);
    let controller = async {
        sleep(Duration::from_secs(5)).await;
        let mut script = fake.script();
        let object = script.object.as_mut().unwrap();
        let state = &mut object["status"]["operationState"];
        assert_eq!(state["phase"], "Terminating", "it was asked for again");
        state["phase"] = json!("Failed");
        object.as_object_mut().unwrap().remove("operation");
        super::super::fake::touch(object);
    };
    let (outcome, ()) = futures::join!(one(&fake, rollback(None)), controller);
    let Outcome::Applied(applied) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(applied.revision.as_deref(), Some(GOOD));
    assert_eq!(fake.script().writes.len(), 3);
    // One that does not end at all is in the cluster all the same.
    let fake = Fake::holding(hangs);
    let outcome = one(&fake, rollback(None)).await;
    assert!(matches!(outcome, Outcome::Applied(_)), "{outcome:?}");
    assert_eq!(fake.script().writes.len(), 1);
}
