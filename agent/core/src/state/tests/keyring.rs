use super::*;
use crate::command::RefusalCode;
use crate::command::update::{KeyringUpdate, seal_update, verify_update};
use crate::event::KeyringFault;
use crate::wire::ResultState;

fn root() -> SigningKey {
    SigningKey::from_seed(&[9; 32]).unwrap()
}

/// A keyring with one root key and the keys of these ids and seeds.
fn text(version: u64, keys: &[(&str, u8)]) -> String {
    let mut text = format!(
        "version = {version}\n[[root]]\nid = \"root\"\npublic = \"{}\"\n",
        root().public_base64()
    );
    for (id, seed) in keys {
        let key = SigningKey::from_seed(&[*seed; 32]).unwrap();
        text.push_str(&format!(
            "[[key]]\nid = \"{id}\"\npublic = \"{}\"\nallow = [\"ping\"]\n",
            key.public_base64()
        ));
    }
    text
}

fn update(audience: &str, keys: &[(&str, u8)]) -> Box<KeyringUpdate> {
    let current = Keyring::parse(&text(1, &[("ci", 7)])).unwrap();
    let bytes = seal_update(
        "u1",
        &[audience.to_owned()],
        &text(2, keys),
        &[("root", &root())],
    )
    .unwrap();
    Box::new(verify_update(&bytes, &current).unwrap())
}

fn installed(update: Box<KeyringUpdate>, result: Result<(), KeyringFault>) -> Event {
    Event::KeyringInstalled {
        delivery: 4,
        update,
        result,
    }
}

#[test]
fn it_is_written_down_before_it_is_acknowledged_and_answered() {
    let mut state = started();
    let new = update("*", &[("ci", 7)]);
    let event = Event::KeyringReceived {
        delivery: 4,
        update: new.clone(),
    };
    let effects = state.apply(at(1.0), event);
    let [
        Effect::InstallKeyring {
            delivery: 4,
            update,
        },
    ] = &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!(*update, new);
    let effects = state.apply(at(1.1), installed(new, Ok(())));
    let result = answers(&effects)[0];
    assert_eq!(
        (result.command.as_str(), result.state),
        ("u1", ResultState::Succeeded)
    );
    assert!(result.message.contains("version 2"), "{}", result.message);
    assert_eq!(facts(&effects), [("edge.command.result", "u1")]);
    let later = stored(&mut state, at(1.2), &effects);
    assert_eq!(later, [Effect::Acknowledge(4)]);
    let report = &state.snapshot(at(2.0)).commands[0];
    assert_eq!(
        (report.cmd.as_deref(), &report.keys[..]),
        (Some("keyring"), &["root".to_owned()][..])
    );
}

#[test]
fn one_for_another_node_is_refused_and_one_that_is_not_written_has_failed() {
    let mut state = started();
    let event = Event::KeyringReceived {
        delivery: 4,
        update: update("pi-02", &[("ci", 7)]),
    };
    let effects = state.apply(at(1.0), event);
    assert_eq!(
        answers(&effects)[0].reason,
        Some(RefusalCode::WrongAudience)
    );
    let fault = KeyringFault::NotWritten("no space left on device".to_owned());
    let effects = state.apply(at(2.0), installed(update("*", &[("ci", 7)]), Err(fault)));
    assert_eq!(answers(&effects)[0].state, ResultState::Failed);
    let refusal = crate::command::Refusal::new(RefusalCode::Replayed, "version 2");
    let fault = KeyringFault::Refused(refusal);
    let effects = state.apply(at(3.0), installed(update("*", &[("ci", 7)]), Err(fault)));
    assert_eq!(answers(&effects)[0].reason, Some(RefusalCode::Replayed));
}

#[test]
fn what_a_revoked_key_ordered_before_the_clock_was_right_is_not_done() {
    let unsynchronized = Now {
        synchronized: false,
        ..at(2.0)
    };
    // Kept: the same key. Revoked: its id now belongs to another key.
    for (seed, refused) in [(7, false), (8, true)] {
        let mut state = started();
        state.apply(unsynchronized, received(1, json!({})));
        let effects = state.apply(at(3.0), installed(update("*", &[("ci", seed)]), Ok(())));
        let reasons: Vec<_> = answers(&effects)
            .iter()
            .filter_map(|result| result.reason)
            .collect();
        let wanted = if refused {
            vec![RefusalCode::UnknownKey]
        } else {
            vec![]
        };
        assert_eq!(reasons, wanted);
        let effects = state.apply(at(4.0), Event::Sampled(Box::new(sample())));
        let admits = effects
            .iter()
            .any(|effect| matches!(effect, Effect::Admit { .. }));
        assert_eq!(admits, !refused);
    }
}
