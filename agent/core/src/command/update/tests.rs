use super::*;
use crate::command::envelope::countersign;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

/// A keyring with root keys of these seeds and one command key.
fn text(version: u64, threshold: usize, roots: &[u8], command_key: u8) -> String {
    let mut text = format!("version = {version}\nroot_threshold = {threshold}\n");
    for seed in roots {
        text.push_str(&format!(
            "[[root]]\nid = \"root-{seed}\"\npublic = \"{}\"\n",
            key(*seed).public_base64()
        ));
    }
    text.push_str(&format!(
        "[[key]]\nid = \"ci\"\npublic = \"{}\"\nallow = [\"ping\"]\n",
        key(command_key).public_base64()
    ));
    text
}

fn current() -> Keyring {
    Keyring::parse(&text(3, 2, &[1, 2, 3], 9)).unwrap()
}

fn update(text: &str, signers: &[u8]) -> Vec<u8> {
    let names: Vec<String> = signers.iter().map(|seed| format!("root-{seed}")).collect();
    let keys: Vec<SigningKey> = signers.iter().map(|seed| key(*seed)).collect();
    let signers: Vec<(&str, &SigningKey)> =
        names.iter().map(String::as_str).zip(keys.iter()).collect();
    seal_update("u1", &["pi-01".to_owned()], text, &signers).unwrap()
}

fn refusal(bytes: &[u8]) -> RefusalCode {
    verify_update(bytes, &current()).unwrap_err().refusal().code
}

#[test]
fn enough_root_keys_of_both_keyrings_replace_it() {
    let new = text(4, 2, &[1, 2, 3], 8);
    let taken = verify_update(&update(&new, &[3, 1]), &current()).unwrap();
    assert_eq!(taken.root_ids(), ["root-1", "root-3"]);
    assert_eq!((taken.id(), taken.keyring().version()), ("u1", 4));
    assert_eq!(taken.text(), new);
    let (here, there) = (
        NodeName::new("pi-01").unwrap(),
        NodeName::new("pi-02").unwrap(),
    );
    assert!(taken.is_for(&here) && !taken.is_for(&there));

    // All root keys change hands: two of the old and two of the new.
    let rotated = text(4, 2, &[4, 5], 8);
    assert!(verify_update(&update(&rotated, &[1, 2, 4, 5]), &current()).is_ok());
}

#[test]
fn the_signatures_may_come_one_by_one() {
    let new = text(4, 2, &[1, 2, 3], 8);
    let one = update(&new, &[1]);
    assert_eq!(refusal(&one), RefusalCode::ThresholdNotMet);
    let two = countersign(&one, "root-2", &key(2)).unwrap();
    assert!(verify_update(&two, &current()).is_ok());
    // The same key once more counts once.
    let again = countersign(&one, "other-name", &key(1)).unwrap();
    assert_eq!(refusal(&again), RefusalCode::ThresholdNotMet);
}

#[test]
fn each_side_keeps_the_other_out() {
    // Enough of the new, not of the old; enough of the old, not of the new; none of the old.
    for (roots, signers, code) in [
        (&[1, 4, 5][..], &[1, 4, 5][..], RefusalCode::ThresholdNotMet),
        (&[4, 5], &[1, 2, 4], RefusalCode::ThresholdNotMet),
        (&[4, 5], &[4, 5], RefusalCode::UnknownKey),
        // A key that may order commands is no root key.
        (&[1, 2], &[9], RefusalCode::UnknownKey),
    ] {
        assert_eq!(refusal(&update(&text(4, 2, roots, 8), signers)), code);
    }
    let unsigned = verify_update(&update(&text(4, 1, &[4], 8), &[4]), &Keyring::empty());
    assert!(matches!(unsigned, Err(NotVerified::Unauthenticated(_))));
}

#[test]
fn the_version_never_goes_back() {
    for version in [1, 2] {
        let older = text(version, 2, &[1, 2, 3], 9);
        assert_eq!(refusal(&update(&older, &[1, 2])), RefusalCode::Replayed);
    }
    let changed = text(3, 2, &[1, 2, 3], 8);
    assert_eq!(refusal(&update(&changed, &[1, 2])), RefusalCode::Replayed);
    // The very keyring that is in force: delivered again, after it was installed.
    let same = text(3, 2, &[1, 2, 3], 9);
    let same = verify_update(&update(&same, &[1, 2]), &current()).unwrap();
    assert_eq!(*same.keyring(), current());
}

#[test]
fn what_is_wrong_with_it_is_answered_to_who_signed() {
    let sign = |payload: &str| {
        let (one, two) = (key(1), key(2));
        seal(
            KEYRING_TYPE,
            payload.as_bytes(),
            &[("root-1", &one), ("root-2", &two)],
        )
    };
    for (payload, wanted) in [
        (
            r#"{"v":1,"id":"u1","aud":["a"],"keyring":"version ="}"#,
            "not TOML",
        ),
        (
            r#"{"v":1,"id":"u1","aud":["a"],"keyring":""}"#,
            "no `[[root]]`",
        ),
        (r#"{"v":2,"id":"u1","aud":["a"],"keyring":""}"#, "`v` is 1"),
        (r#"{"v":1,"id":"u1","aud":[],"keyring":""}"#, "`aud` names"),
        (r#"{"v":1,"id":"u1","aud":["a/b"],"keyring":""}"#, "no node"),
    ] {
        let error = verify_update(&sign(payload), &current()).unwrap_err();
        let NotVerified::Refused(refused) = error else {
            panic!("{payload}: {error:?}")
        };
        assert_eq!(
            (refused.id.as_str(), refused.cmd.as_deref()),
            ("u1", Some("keyring"))
        );
        assert!(refused.refusal.message.contains(wanted), "{refused:?}");
    }
    for payload in [
        r#"{"v":1,"id":"u1","aud":["a"],"keyring":"","more":1}"#,
        r#"{"v":1,"id":"u1","id":"u2","aud":["a"],"keyring":""}"#,
        r#"{"v":1,"id":"a b","aud":["a"],"keyring":""}"#,
        r#"[1,"u1",["a"],""]"#,
    ] {
        let error = verify_update(&sign(payload), &current()).unwrap_err();
        assert!(
            matches!(error, NotVerified::Unauthenticated(_)),
            "{payload}"
        );
    }
}

#[test]
fn a_command_is_no_update_and_an_update_no_command() {
    let new = text(4, 2, &[1, 2, 3], 8);
    let bytes = String::from_utf8(update(&new, &[1, 2])).unwrap();
    let other = bytes.replace(KEYRING_TYPE, crate::command::envelope::COMMAND_TYPE);
    assert_eq!(refusal(other.as_bytes()), RefusalCode::UnsupportedType);
    let error = crate::command::envelope::verify(
        bytes.as_bytes(),
        &current(),
        std::time::Duration::from_secs(60),
        jiff::Timestamp::UNIX_EPOCH,
    )
    .unwrap_err();
    assert_eq!(error.refusal().code, RefusalCode::UnsupportedType);
}

#[test]
fn what_no_node_would_take_is_not_sealed() {
    let seal = |audience: &[String], text: &str| {
        seal_update("u1", audience, text, &[("root-1", &key(1))])
            .unwrap_err()
            .message
    };
    let everyone = [EVERY_NODE.to_owned()];
    let new = text(4, 1, &[1], 8);
    assert!(seal(&[], &new).contains("`aud`"));
    assert!(seal(&everyone, "version = 0").contains("`version`"));
    let long = format!("{new}#{}\n", "x".repeat(4096));
    assert!(seal(&everyone, &long).contains("take the comments out"));
}
