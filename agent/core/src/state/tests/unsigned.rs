use super::*;
use crate::command::unsigned::UnsignedCommand;
use crate::indication::Indication;
use crate::wire::ResultState;

fn unsigned(id: u32, node: &str, now: Now) -> Event {
    let iat = now.unix_seconds();
    let message = json!({
        "v": 1, "id": format!("unsigned-{id}"), "aud": [node], "seq": 1, "iat": iat, "exp": iat + 60,
        "cmd": "identify", "args": {"seconds": 20},
    });
    let allowed = ["identify".to_owned()];
    let command = UnsignedCommand::read(message.to_string().as_bytes(), &allowed).unwrap();
    Event::UnsignedReceived {
        delivery: id.into(),
        command: Box::new(command),
    }
}

fn acknowledged(effects: &[Effect]) -> Vec<u64> {
    let delivery = |effect: &Effect| match effect {
        Effect::Acknowledge(delivery) => Some(*delivery),
        _ => None,
    };
    effects.iter().filter_map(delivery).collect()
}

fn refused(state: &State, code: &str) -> Option<u64> {
    state.snapshot(at(0.0)).refused.get(code).copied()
}

#[test]
fn the_board_blinks_and_the_answer_is_stored_before_it_is_acknowledged() {
    let mut state = started();
    let effects = state.apply(at(1.0), unsigned(1, "pi-01", at(1.0)));
    assert_eq!(state.indication(), Indication::Identify);
    let answers = answers(&effects);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].command, "unsigned-1");
    assert_eq!(answers[0].state, ResultState::Succeeded);
    assert!(answers[0].digest.is_some());
    assert!(acknowledged(&effects).is_empty());
    let effects = stored(&mut state, at(1.1), &effects);
    assert_eq!(acknowledged(&effects), [1]);
    let writes = |effect: &Effect| matches!(effect, Effect::Admit { .. } | Effect::SaveLedger(_));
    assert!(!effects.iter().any(writes), "the ledger is for signed ones");
    let report = &state.snapshot(at(2.0)).commands[0];
    assert_eq!(report.keys, ["(unsigned)"]);
    state.apply(at(21.0), Event::Tick);
    assert_eq!(state.indication(), Indication::Healthy);
}

#[test]
fn a_flood_is_counted_and_neither_answered_nor_stored() {
    let mut state = started();
    let effects = state.apply(at(1.0), unsigned(1, "pi-01", at(1.0)));
    stored(&mut state, at(1.0), &effects);
    for id in 2..100 {
        let now = at(1.0 + f64::from(id) * 0.04);
        let effects = state.apply(now, unsigned(id, "pi-01", now));
        assert_eq!(answers(&effects).len(), 0);
        assert_eq!(acknowledged(&effects), [u64::from(id)]);
    }
    assert_eq!(refused(&state, "busy"), Some(98));
    let effects = state.apply(at(6.0), unsigned(100, "pi-01", at(6.0)));
    assert_eq!(answers(&effects).len(), 1);
}

#[test]
fn one_for_another_node_or_another_time_is_not_obeyed() {
    let mut state = started();
    for (event, code) in [
        (unsigned(1, "pi-02", at(0.0)), "wrong_audience"),
        (unsigned(2, "pi-01", at(0.0)), "expired"),
        (unsigned(3, "pi-01", at(1000.0)), "not_yet_valid"),
    ] {
        let now = if code == "expired" { at(61.0) } else { at(0.0) };
        let effects = state.apply(now, event);
        assert_eq!(answers(&effects).len(), 0);
        assert_eq!(refused(&state, code), Some(1), "{code}");
        if code == "expired" {
            state = started();
        }
    }
    assert_eq!(state.indication(), Indication::Healthy);
}

#[test]
fn without_a_ledger_nobody_knows_what_time_it_is() {
    let mut state = State::new(settings(), None, Remembered::default(), at(0.0));
    state.start(at(0.0));
    let effects = state.apply(at(1.0), unsigned(1, "pi-01", at(1.0)));
    assert_eq!(answers(&effects).len(), 0);
    assert_eq!(refused(&state, "ledger_unavailable"), Some(1));
}
