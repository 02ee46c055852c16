use super::*;
use crate::command::payload::HoldMode;
use crate::command::{Refusal, RefusalCode};
use crate::indication::Indication;
use crate::rollout::{Applied, OrderKind, Outcome};
use crate::wire::ResultState;

fn applied(revision: &str) -> Outcome {
    Outcome::Applied(Applied {
        revision: Some(revision.into()),
        from: Some(BAD.into()),
        hold: Some(HoldMode::Pin),
    })
}

fn executed(id: &str, outcome: Outcome) -> Event {
    Event::Executed {
        command: id.into(),
        outcome,
    }
}

fn states(effects: &[Effect]) -> Vec<(&str, ResultState)> {
    answers(effects)
        .iter()
        .map(|result| (result.command.as_str(), result.state))
        .collect()
}

fn has_order(effects: &[Effect]) -> bool {
    effects
        .iter()
        .any(|effect| matches!(effect, Effect::Execute(_)))
}

/// The application after the pin: on the good revision, held by our annotation.
fn pinned(health: &str) -> Event {
    application("shop", GOOD, health, |object| {
        object["spec"]["source"]["targetRevision"] = GOOD.into();
        let hold = json!({"mode": "pin", "from": BAD, "to": GOOD, "command": "c1"});
        object["metadata"]["annotations"] = json!({
            "edge-agent.io/hold": hold.to_string(),
            "edge-agent.io/command": "c1",
        });
    })
}

#[test]
fn a_rollback_is_written_down_acknowledged_executed_and_followed_to_its_end() {
    let mut state = started();
    state.apply(at(1.0), application("shop", BAD, "Degraded", |_| {}));
    let effects = state.apply(at(2.0), received(5, json!({})));
    assert!(matches!(&effects[..], [Effect::Admit { command, .. }] if command == "c1"));

    let effects = state.apply(at(2.1), admitted("c1"));
    let position = |wanted: fn(&Effect) -> bool| effects.iter().position(wanted).unwrap();
    let acknowledged = position(|effect| matches!(effect, Effect::Acknowledge(5)));
    let ordered = position(|effect| matches!(effect, Effect::Execute(_)));
    assert!(acknowledged < ordered, "acknowledged before it is executed");
    assert_eq!(states(&effects), [("c1", ResultState::Accepted)]);
    assert_eq!(state.indication(), Indication::DeployFailed);

    let effects = state.apply(at(2.5), executed("c1", applied(GOOD)));
    assert_eq!(states(&effects), [("c1", ResultState::Executing)]);
    state.apply(at(3.0), pinned("Progressing"));
    assert_eq!(state.indication(), Indication::RollingOut);
    state.apply(at(4.0), pinned("Healthy"));
    assert!(
        state.has_active_commands(),
        "it must stay healthy for a while"
    );
    let effects = state.apply(at(14.5), Event::Tick);
    assert_eq!(states(&effects), [("c1", ResultState::Succeeded)]);
    assert_eq!(state.indication(), Indication::Held);
    let result = answers(&effects)[0];
    assert_eq!((result.n, result.revision.as_deref()), (3, Some(GOOD)));
    assert!(
        result
            .digest
            .as_deref()
            .is_some_and(|digest| digest.starts_with("sha256:"))
    );
    assert!(facts(&effects).contains(&("edge.command.result", "c1")));
    assert!(!state.has_active_commands());
}

#[test]
fn the_same_command_again_is_answered_not_executed() {
    let mut state = started();
    state.apply(at(2.0), received(1, json!({"cmd": "ping", "args": {}})));
    let effects = state.apply(at(2.1), admitted("c1"));
    assert_eq!(
        states(&effects),
        [
            ("c1", ResultState::Accepted),
            ("c1", ResultState::Succeeded)
        ]
    );
    // Its answer is on its way already, so that is what the broker's second delivery waits for.
    let again = || received(2, json!({"cmd": "ping", "args": {}}));
    assert_eq!(state.apply(at(2.2), again()), []);
    let effects = stored(&mut state, at(2.3), &effects);
    assert!(effects.contains(&Effect::Acknowledge(2)));
    assert!(ledger_of(&effects).unwrap().entries[0].told);

    let effects = state.apply(at(3.0), again());
    assert_eq!(states(&effects), [("c1", ResultState::Succeeded)]);
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::Admit { .. } | Effect::Acknowledge(_)))
    );
    let effects = stored(&mut state, at(3.1), &effects);
    assert_eq!(effects, [Effect::Acknowledge(2)]);
}

#[test]
fn a_delivery_repeated_before_the_ledger_is_written_moves_only_the_acknowledgement() {
    let mut state = started();
    state.apply(at(2.0), received(1, json!({})));
    assert_eq!(state.apply(at(2.0), received(2, json!({}))), []);
    let effects = state.apply(at(2.1), admitted("c1"));
    assert!(effects.contains(&Effect::Acknowledge(2)));
    assert!(!effects.contains(&Effect::Acknowledge(1)));
}

#[test]
fn a_known_id_with_other_bytes_is_refused_and_leaves_the_result_alone() {
    let mut state = started();
    state.apply(at(2.0), received(1, json!({"cmd": "ping", "args": {}})));
    state.apply(at(2.1), admitted("c1"));
    let effects = state.apply(at(3.0), received(2, json!({"seq": 9})));
    assert_eq!(answers(&effects), Vec::<&wire::CommandResult>::new());
    assert_eq!(facts(&effects), [("edge.command.refused", "id_reused")]);
}

#[test]
fn a_ledger_that_cannot_be_written_refuses_the_command() {
    let mut state = started();
    state.apply(at(2.0), received(1, json!({})));
    let result = Err("no space left on device".to_owned());
    let effects = state.apply(
        at(2.1),
        Event::Admitted {
            command: "c1".into(),
            result,
        },
    );
    assert_eq!(
        answers(&effects)[0].reason,
        Some(RefusalCode::LedgerUnavailable)
    );
    assert!(!has_order(&effects));
}

#[test]
fn without_a_ledger_every_command_is_refused() {
    let mut state = State::new(settings(), None, Remembered::default(), at(0.0));
    let effects = state.apply(at(2.0), received(1, json!({})));
    assert_eq!(
        answers(&effects)[0].reason,
        Some(RefusalCode::LedgerUnavailable)
    );
    assert!(!effects.contains(&Effect::Acknowledge(1)));
    let effects = stored(&mut state, at(2.1), &effects);
    assert_eq!(effects, [Effect::Acknowledge(1)]);
}

#[test]
fn one_command_an_application_but_a_rollback_takes_the_place_of_what_runs() {
    let mut state = started();
    let rollout = json!({"cmd": "rollout", "args": {"application": "shop", "revision": BAD}});
    state.apply(at(2.0), received(1, rollout));
    assert!(has_order(&state.apply(at(2.1), admitted("c1"))));

    let resume = json!({"id": "c2", "seq": 2, "cmd": "resume", "args": {"application": "shop"}});
    state.apply(at(3.0), received(2, resume));
    let effects = state.apply(at(3.1), admitted("c2"));
    let last = answers(&effects).into_iter().last().unwrap();
    assert_eq!(
        (last.state, last.reason),
        (ResultState::Rejected, Some(RefusalCode::Busy))
    );

    state.apply(at(4.0), received(3, json!({"id": "c3", "seq": 3})));
    let effects = state.apply(at(4.1), admitted("c3"));
    assert_eq!(
        states(&effects),
        [
            ("c3", ResultState::Accepted),
            ("c1", ResultState::Superseded)
        ]
    );
    assert!(has_order(&effects));
}

#[test]
fn identify_blinks_for_as_long_as_it_was_told() {
    let mut state = started();
    let identify = json!({"cmd": "identify", "args": {"seconds": 30}});
    state.apply(at(2.0), received(1, identify));
    state.apply(at(3.0), admitted("c1"));
    assert_eq!(state.indication(), Indication::Identify);
    assert_eq!(state.next_deadline(), Some(Duration::from_secs(33)));
    state.apply(at(33.0), Event::Tick);
    assert_eq!(state.indication(), Indication::Healthy);
}

#[test]
fn a_command_waits_for_the_clock_and_is_refused_when_it_does_not_come() {
    let unsynchronized = |seconds| Now {
        synchronized: false,
        ..at(seconds)
    };
    let mut state = started();
    assert_eq!(state.apply(unsynchronized(2.0), received(1, json!({}))), []);
    let effects = state.apply(at(30.0), Event::Sampled(Box::new(sample())));
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Admit { .. }))
    );

    let mut state = started();
    state.apply(unsynchronized(2.0), received(1, json!({})));
    assert_eq!(state.next_deadline(), Some(Duration::from_secs(602)));
    let effects = state.apply(unsynchronized(602.0), Event::Tick);
    assert_eq!(
        answers(&effects)[0].reason,
        Some(RefusalCode::ClockUnsynchronized)
    );
    // A crash now must not lose the answer, so the broker keeps the command until it is stored.
    assert!(!effects.contains(&Effect::Acknowledge(1)));
    let effects = stored(&mut state, unsynchronized(602.1), &effects);
    assert!(effects.contains(&Effect::Acknowledge(1)));
}

#[test]
fn an_order_that_takes_too_long_times_out_and_rolls_back_if_told_to() {
    let mut state = started();
    state.apply(at(0.5), application("shop", GOOD, "Healthy", |_| {}));
    state.apply(at(1.5), Event::Tick);
    let args = json!({
        "application": "shop", "revision": BAD, "timeout_s": 60, "on_failure": "rollback",
    });
    state.apply(
        at(2.0),
        received(1, json!({"cmd": "rollout", "args": args})),
    );
    state.apply(at(2.0), admitted("c1"));
    state.apply(at(3.0), executed("c1", applied(BAD)));
    state.apply(at(4.0), application("shop", BAD, "Progressing", |_| {}));
    let effects = state.apply(at(62.0), Event::Tick);
    assert!(states(&effects).contains(&("c1", ResultState::TimedOut)));
    let said = &answers(&effects)[0].message;
    assert!(said.contains("has not shown the order yet"), "{said}");
    let effects = written(&mut state, at(62.1), &effects);
    let order = effects.iter().find_map(|effect| match effect {
        Effect::Execute(order) => Some(&order.kind),
        _ => None,
    });
    assert!(
        matches!(order, Some(OrderKind::Rollback { .. })),
        "{order:?}"
    );
}

#[test]
fn what_was_under_way_at_a_crash_is_looked_up_never_run_again() {
    let mut before = started();
    let effects = before.apply(at(2.0), received(1, json!({})));
    let [Effect::Admit { record, .. }] = &effects[..] else {
        panic!("{effects:?}")
    };
    let ledger = Ledger::restore(*record.clone(), "2026-01-01T00:00:00Z".parse().unwrap());

    let mut state = State::new(settings(), Some(ledger), Remembered::default(), at(5.0));
    let effects = state.start(at(5.0));
    let orders: Vec<&OrderKind> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Execute(order) => Some(&order.kind),
            _ => None,
        })
        .collect();
    assert_eq!(orders, [&OrderKind::Lookup]);
    let effects = state.apply(at(6.0), executed("c1", Outcome::NoTrace));
    assert_eq!(states(&effects), [("c1", ResultState::Interrupted)]);
    stored(&mut state, at(6.5), &effects);
    let effects = state.apply(at(7.0), received(2, json!({})));
    assert_eq!(states(&effects), [("c1", ResultState::Interrupted)]);
    assert!(!has_order(&effects));
}

#[test]
fn refusals_are_counted_and_told_at_a_bounded_rate() {
    let mut state = started();
    let junk = |delivery| Event::CommandUnauthenticated {
        delivery,
        refusal: Refusal::new(RefusalCode::Malformed, "not JSON"),
    };
    let mut told = 0;
    for delivery in 1..=1000 {
        told += facts(&state.apply(at(1.0), junk(delivery))).len();
    }
    assert_eq!(told, 1);
    assert_eq!(state.snapshot(at(1.0)).refused["malformed"], 1000);
    let effects = state.apply(at(61.0), Event::Tick);
    let Some(Effect::Record(fact)) = effects.first() else {
        panic!("{effects:?}")
    };
    assert_eq!(fact.data["count"], 999);
}

#[test]
fn an_application_deleted_under_a_command_ends_it() {
    let mut state = started();
    state.apply(at(1.0), application("shop", BAD, "Degraded", |_| {}));
    state.apply(at(2.0), received(1, json!({})));
    state.apply(at(2.1), admitted("c1"));
    let effects = state.apply(at(3.0), Event::ApplicationDeleted(key("shop")));
    assert_eq!(states(&effects), [("c1", ResultState::Failed)]);
}

#[test]
fn one_command_after_the_other_does_not_fill_the_ledger() {
    let mut state = started();
    for number in 1..=400_u32 {
        let seconds = f64::from(number);
        let id = format!("c-{number}");
        let issued = at(seconds).unix_seconds();
        let ping = json!({
            "id": id, "seq": number, "cmd": "ping", "args": {}, "iat": issued, "exp": issued + 2,
        });
        state.apply(at(seconds), received(u64::from(number), ping));
        let effects = state.apply(at(seconds), admitted(&id));
        let ends = states(&effects).last().map(|(_, state)| *state);
        assert_eq!(ends, Some(ResultState::Succeeded), "{number}");
        stored(&mut state, at(seconds + 0.5), &effects);
    }
}

#[test]
fn what_was_rejected_for_want_of_a_clock_stays_rejected_when_it_is_delivered_again() {
    let unsynchronized = |seconds| Now {
        synchronized: false,
        ..at(seconds)
    };
    let mut state = started();
    let patient = || json!({"exp": at(0.0).unix_seconds() + 80_000});
    state.apply(unsynchronized(2.0), received(1, patient()));
    let effects = state.apply(unsynchronized(602.0), Event::Tick);
    assert_eq!(
        answers(&effects)[0].reason,
        Some(RefusalCode::ClockUnsynchronized)
    );
    let ledger = ledger_of(&effects).unwrap();
    // The acknowledgement was lost with a crash, and now the clock is right.
    let ledger = Ledger::restore(ledger, "2026-01-01T00:00:00Z".parse().unwrap());
    let mut state = State::new(settings(), Some(ledger), Remembered::default(), at(700.0));
    let told = state.start(at(700.0));
    assert_eq!(states(&told), [("c1", ResultState::Rejected)]);
    stored(&mut state, at(700.5), &told);
    let effects = state.apply(at(701.0), received(2, patient()));
    assert_eq!(states(&effects), [("c1", ResultState::Rejected)]);
    assert!(!has_order(&effects));
    let effects = stored(&mut state, at(701.5), &effects);
    assert_eq!(effects, [Effect::Acknowledge(2)]);
}
