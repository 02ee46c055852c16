use proptest::prelude::*;

use super::*;
use crate::command::key::tests::{key_a, key_b};
use crate::command::payload::Action;

mod vectors;

const MAX_TTL: Duration = Duration::from_secs(86_400);

fn today() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn keyring() -> Keyring {
    Keyring::parse_allowing_test_keys(
        r#"
        [[key]]
        id = "a"
        public = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
        allow = ["resume", "ping", "identify"]
        applications = ["shop", "prod"]
        not_after = 2027-12-31

        [[key]]
        id = "b"
        public = "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw="
        allow = ["resume", "rollback"]
        applications = ["prod"]

        [[threshold]]
        cmd = "resume"
        applications = ["prod"]
        signatures = 2
        "#,
    )
    .unwrap()
}

fn command(action: Action) -> Command {
    let now = today().as_second();
    Command {
        id: "id-1".to_owned(),
        audience: vec!["pi-01".to_owned()],
        sequence: 1,
        issued_at: now,
        expires_at: now + 600,
        action,
    }
}

fn resume(application: &str) -> Command {
    command(Action::Resume {
        application: application.to_owned(),
    })
}

fn sealed(command: &Command, signers: &[(&str, &SigningKey)]) -> Vec<u8> {
    seal(COMMAND_TYPE, &command.to_json(), signers)
}

fn check(bytes: &[u8]) -> Result<VerifiedCommand, NotVerified> {
    verify(bytes, &keyring(), MAX_TTL, today())
}

fn unauthenticated(bytes: &[u8]) -> RefusalCode {
    match check(bytes) {
        Err(NotVerified::Unauthenticated(refusal)) => refusal.code,
        other => panic!("{other:?}"),
    }
}

fn refused(bytes: &[u8]) -> RefusedCommand {
    match check(bytes) {
        Err(NotVerified::Refused(refused)) => *refused,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_signed_command_is_verified() {
    let command = resume("shop");
    let bytes = sealed(&command, &[("a", &key_a())]);
    let verified = check(&bytes).unwrap();
    assert_eq!(verified.command(), &command);
    assert_eq!(verified.key_ids(), ["a"]);
    assert_eq!(verified.digest(), sha256(&command.to_json()));
    assert!(verified.digest_text().starts_with("sha256:"));
    assert_eq!(verified.sequence_horizon(), command.issued_at + 86_400);
}

#[test]
fn key_ids_are_hints_and_unknown_fields_are_ignored() {
    let command = command(Action::Ping);
    for hint in ["a", "b", "elsewhere", ""] {
        let bytes = sealed(&command, &[(hint, &key_a())]);
        assert_eq!(check(&bytes).unwrap().key_ids(), ["a"], "hint {hint:?}");
    }
    let text = String::from_utf8(sealed(&command, &[("a", &key_a())])).unwrap();
    let extended = text
        .replacen('{', r#"{"later":{"payload":1},"#, 1)
        .replacen(r#""keyid":"a""#, r#""keyid":null,"cert":[]"#, 1);
    assert_ne!(text, extended);
    assert!(check(extended.as_bytes()).is_ok());
    // Neither does the other alphabet change anything, nor does padding.
    let other = text.replace('+', "-").replace('/', "_").replace('=', "");
    let other = other
        .replace("application_vnd", "application/vnd")
        .replace("v1-json", "v1+json");
    assert!(check(other.as_bytes()).is_ok(), "{other}");
}

#[test]
fn what_nobody_known_has_signed_is_not_answered() {
    use RefusalCode::{BadSignature, Malformed, TooLarge, UnknownKey, UnsupportedType};
    let command = command(Action::Ping);
    let good = String::from_utf8(sealed(&command, &[("a", &key_a())])).unwrap();
    let stranger = SigningKey::from_seed(&[5; 32]).unwrap();
    assert_eq!(
        unauthenticated(&sealed(&command, &[("x", &stranger)])),
        UnknownKey
    );
    assert_eq!(
        unauthenticated(&sealed(&command, &[("", &stranger)])),
        UnknownKey
    );
    assert_eq!(
        unauthenticated(&sealed(&command, &[("a", &stranger)])),
        BadSignature
    );
    let swapped = seal(RESULT_TYPE, &command.to_json(), &[("a", &key_a())]);
    assert_eq!(unauthenticated(&swapped), UnsupportedType);
    let renamed = good.replace("command.v1", "command.v2");
    assert_eq!(unauthenticated(renamed.as_bytes()), UnsupportedType);
    let relabelled = String::from_utf8(swapped)
        .unwrap()
        .replace("result.v1", "command.v1");
    assert_eq!(unauthenticated(relabelled.as_bytes()), BadSignature);
    let a = key_a();
    assert_eq!(
        unauthenticated(&sealed(&command, &[("a", &a); 5])),
        TooLarge
    );
    assert_eq!(unauthenticated(&seal(COMMAND_TYPE, b"{}", &[])), Malformed);
    assert_eq!(unauthenticated(&[b' '; MAX_ENVELOPE_BYTES + 1]), TooLarge);
    let large = seal(
        COMMAND_TYPE,
        &[b' '; MAX_PAYLOAD_BYTES + 1],
        &[("a", &key_a())],
    );
    assert!(large.len() <= MAX_ENVELOPE_BYTES);
    assert_eq!(unauthenticated(&large), TooLarge);
    for text in [
        "",
        "null",
        "[]",
        "{}",
        r#"["","",[]]"#,
        r#"{"payload":"","payloadType":"","signatures":[["a","b"]]}"#,
        &good.replacen(r#""payloadType""#, r#""payload":"","payloadType""#, 1),
        &good.replacen(r#""sig":""#, r#""sig":"!"#, 1),
        &good.replacen(r#""payload":""#, r#""payload":"!"#, 1),
        &format!("{good}{good}"),
    ] {
        assert_eq!(unauthenticated(text.as_bytes()), Malformed, "{text}");
    }
    // By a known key, but without an id there is nothing to answer to.
    let nameless = seal(COMMAND_TYPE, br#"{"v":1}"#, &[("a", &key_a())]);
    assert_eq!(unauthenticated(&nameless), Malformed);
    let twice = br#"{"v":1,"id":"x","id":"y"}"#;
    assert_eq!(
        unauthenticated(&seal(COMMAND_TYPE, twice, &[("a", &key_a())])),
        Malformed
    );
}

#[test]
fn what_a_known_key_may_not_order_is_answered() {
    use RefusalCode::{InvalidArguments, Malformed, NotPermitted, UnknownCommand};
    let by_a = |command: &Command| refused(&sealed(command, &[("a", &key_a())]));
    let told = by_a(&resume("other"));
    assert_eq!(told.refusal.code, NotPermitted);
    assert_eq!(told.id, "id-1");
    assert_eq!(told.key_ids, ["a"]);
    assert_eq!(told.cmd.as_deref(), Some("resume"));
    assert_eq!(told.application.as_deref(), Some("other"));
    assert!(
        told.refusal.message.contains("`resume` for `other`"),
        "{}",
        told.refusal
    );
    let refresh = Action::Refresh {
        application: "shop".to_owned(),
        hard: false,
    };
    assert_eq!(by_a(&command(refresh)).refusal.code, NotPermitted);

    let mut long = command(Action::Ping);
    long.expires_at = long.issued_at + 86_401;
    assert_eq!(by_a(&long).refusal.code, InvalidArguments);
    long.expires_at -= 1;
    assert!(check(&sealed(&long, &[("a", &key_a())])).is_ok());

    for (payload, code) in [
        (r#"{"v":1,"id":"x"}"#, Malformed),
        (
            r#"{"v":1,"id":"x","aud":["n"],"seq":1,"iat":1,"exp":2,"cmd":"halt","args":{}}"#,
            UnknownCommand,
        ),
        (
            r#"{"v":1,"id":"x","aud":["n"],"seq":1,"iat":1,"exp":2,"cmd":"ping","args":{"a":1}}"#,
            InvalidArguments,
        ),
    ] {
        let told = refused(&seal(COMMAND_TYPE, payload.as_bytes(), &[("a", &key_a())]));
        assert_eq!(told.refusal.code, code, "{payload}");
        assert_eq!(told.id, "x");
        assert_eq!(told.digest, sha256(payload.as_bytes()));
    }
}

#[test]
fn a_threshold_counts_different_keys_that_may_order_it() {
    use RefusalCode::ThresholdNotMet;
    let (a, b) = (key_a(), key_b());
    let prod = resume("prod");
    let both = check(&sealed(&prod, &[("b", &b), ("a", &a)])).unwrap();
    assert_eq!(both.key_ids(), ["a", "b"]);
    let once = refused(&sealed(&prod, &[("a", &a)]));
    assert_eq!(once.refusal.code, ThresholdNotMet);
    assert_eq!(once.key_ids, ["a"]);
    let twice = refused(&sealed(&prod, &[("a", &a), ("b", &a)]));
    assert_eq!(twice.refusal.code, ThresholdNotMet);
    // A signature that does not hold neither counts nor spoils the others.
    let stranger = SigningKey::from_seed(&[5; 32]).unwrap();
    let bytes = sealed(&prod, &[("x", &stranger), ("a", &a), ("b", &b)]);
    assert!(check(&bytes).is_ok());
    // b may not order this application: it stands by without counting.
    let shop = check(&sealed(&resume("shop"), &[("a", &a), ("b", &b)])).unwrap();
    assert_eq!(shop.key_ids(), ["a"]);
}

#[test]
fn a_second_signature_is_added_later() {
    let prod = resume("prod");
    let first = sealed(&prod, &[("a", &key_a())]);
    let second = countersign(&first, "b", &key_b()).unwrap();
    assert_eq!(check(&second).unwrap().key_ids(), ["a", "b"]);
    let again = countersign(&second, "b", &key_b()).unwrap();
    assert_eq!(again, second);
    assert_eq!(
        Unverified::read(&again)
            .unwrap()
            .key_hints()
            .collect::<Vec<_>>(),
        ["a", "b"]
    );
    let mut full = second;
    for id in ["c", "d"] {
        full = countersign(&full, id, &key_a()).unwrap();
    }
    let refusal = countersign(&full, "e", &key_a()).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::TooLarge);
    assert!(countersign(b"{}", "a", &key_a()).is_err());
}

#[test]
fn a_key_that_has_expired_is_no_key() {
    let later: Timestamp = "2028-01-01T00:00:00Z".parse().unwrap();
    let mut ping = command(Action::Ping);
    ping.issued_at = later.as_second();
    ping.expires_at = ping.issued_at + 600;
    let bytes = sealed(&ping, &[("a", &key_a())]);
    match verify(&bytes, &keyring(), MAX_TTL, later) {
        Err(NotVerified::Unauthenticated(refusal)) => {
            assert_eq!(refusal.code, RefusalCode::UnknownKey);
            assert!(refusal.message.contains("no longer valid"), "{refusal}");
        }
        other => panic!("{other:?}"),
    }
    // With a clock that is behind, the command itself tells that its key was over.
    assert_eq!(refused(&bytes).refusal.code, RefusalCode::NotPermitted);
    ping.issued_at -= 1;
    assert!(check(&sealed(&ping, &[("a", &key_a())])).is_ok());
}

#[test]
fn an_empty_keyring_obeys_nobody() {
    let bytes = sealed(&command(Action::Ping), &[("a", &key_a())]);
    let error = verify(&bytes, &Keyring::empty(), MAX_TTL, today()).unwrap_err();
    assert_eq!(error.refusal().code, RefusalCode::UnknownKey);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = check(&bytes);
        let _ = countersign(&bytes, "a", &key_a());
        let _ = open_result(&bytes, &[key_a().public()]);
    }

    #[test]
    fn no_change_of_an_envelope_panics_or_changes_the_command(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let shop = resume("shop");
        let mut bytes = sealed(&shop, &[("a", &key_a())]);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(verified) = check(&bytes) {
            prop_assert_eq!(verified.command(), &shop);
        }
    }

    #[test]
    fn a_signature_is_for_these_bytes_only(
        payload in proptest::collection::vec(any::<u8>(), 0..100),
        kind in "[a-z/ 0-9]{0,20}",
        other in proptest::collection::vec(any::<u8>(), 0..100),
        other_kind in "[a-z/ 0-9]{0,20}",
    ) {
        let signature = key_a().sign(&pae(&kind, &payload));
        let message = pae(&other_kind, &other);
        let same = (&kind, &payload) == (&other_kind, &other);
        prop_assert_eq!(crate::command::key::verifies(&key_a().public(), &message, &signature), same);
        prop_assert!(!crate::command::key::verifies(&key_b().public(), &pae(&kind, &payload), &signature));
    }

    #[test]
    fn one_bit_breaks_a_signature(bit in 0_usize..512, payload_bit in 0_usize..80) {
        let mut payload = *b"0123456789";
        let mut signature = key_a().sign(&pae("t", &payload));
        signature[bit / 8] ^= 1 << (bit % 8);
        let message = pae("t", &payload);
        prop_assert!(!crate::command::key::verifies(&key_a().public(), &message, &signature));
        signature[bit / 8] ^= 1 << (bit % 8);
        payload[payload_bit / 8] ^= 1 << (payload_bit % 8);
        let message = pae("t", &payload);
        prop_assert!(!crate::command::key::verifies(&key_a().public(), &message, &signature));
    }
}
