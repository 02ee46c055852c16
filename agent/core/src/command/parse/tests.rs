use proptest::prelude::*;

use super::*;
use crate::command::payload::MAX_SEQUENCE;

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

fn payload(cmd: &str, args: &str) -> String {
    format!(
        r#"{{"v":1,"id":"01J0000000000000000000000A","aud":["pi-01"],"seq":1700000000000,"iat":1700000000,"exp":1700000600,"cmd":"{cmd}","args":{args}}}"#
    )
}

fn action_of(cmd: &str, args: &str) -> Action {
    match Command::parse(payload(cmd, args).as_bytes()) {
        Ok(command) => command.action,
        Err(error) => panic!("{cmd} {args}: {error:?}"),
    }
}

fn code_of(text: &str) -> RefusalCode {
    Command::parse(text.as_bytes()).unwrap_err().refusal.code
}

#[test]
fn the_example_of_the_contract() {
    let command =
        Command::parse(payload("rollback", r#"{"application":"shop","to":"previous"}"#).as_bytes())
            .unwrap();
    assert_eq!(
        command,
        Command {
            id: "01J0000000000000000000000A".to_owned(),
            audience: vec!["pi-01".to_owned()],
            sequence: 1_700_000_000_000,
            issued_at: 1_700_000_000,
            expires_at: 1_700_000_600,
            action: Action::Rollback {
                application: "shop".to_owned(),
                to: RollbackTarget::Previous,
                hold: None,
                prune: false,
                allow_managed: false,
            },
        }
    );
    assert_eq!(command.name(), "rollback");
    assert_eq!(command.action.application(), Some("shop"));
    assert_eq!(command.action.scope("argocd"), "argocd/shop");
    assert_eq!(Action::Ping.scope("argocd"), "-");
}

#[test]
fn every_command_with_its_defaults() {
    assert_eq!(
        action_of(
            "rollout",
            &format!(r#"{{"application":"a/b","revision":"{SHA}"}}"#)
        ),
        Action::Rollout {
            application: "a/b".to_owned(),
            revision: SHA.to_owned(),
            images: vec![],
            timeout: Duration::from_secs(900),
            on_failure: OnFailure::None,
        }
    );
    let target = |to: &str| match action_of(
        "rollback",
        &format!(r#"{{"application":"a","to":{to},"hold":"pause","prune":true}}"#),
    ) {
        Action::Rollback {
            to,
            hold: Some(HoldMode::Pause),
            prune: true,
            ..
        } => to,
        other => panic!("{other:?}"),
    };
    assert_eq!(target(r#"{"history":7}"#), RollbackTarget::History(7));
    assert_eq!(
        target(&format!(r#"{{"revision":"{SHA}"}}"#)),
        RollbackTarget::Revision(SHA.to_owned())
    );
    assert_eq!(
        action_of("refresh", r#"{"application":"a"}"#),
        Action::Refresh {
            application: "a".to_owned(),
            hard: false
        }
    );
    assert_eq!(
        action_of("identify", r#"{"seconds":600}"#),
        Action::Identify { seconds: 600 }
    );
    assert_eq!(action_of("ping", "{}"), Action::Ping);
    assert_eq!(action_of("ping", "null"), Action::Ping);
    let without = payload("ping", "{}").replace(r#","args":{}"#, "");
    assert_eq!(
        Command::parse(without.as_bytes()).unwrap().action,
        Action::Ping
    );
}

fn assert_refused(cmd: &str, arguments: &[&str]) {
    for args in arguments {
        let code = code_of(&payload(cmd, args));
        assert_eq!(code, RefusalCode::InvalidArguments, "{cmd} {args}");
    }
}

#[test]
fn arguments_that_are_missing_unknown_or_out_of_range() {
    assert_refused(
        "identify",
        &[
            "{}",
            "[30]",
            r#"{"seconds":0}"#,
            r#"{"seconds":601}"#,
            r#"{"seconds":"30"}"#,
            r#"{"seconds":1,"seconds":2}"#,
        ],
    );
    assert_refused("ping", &[r#"{"a":1}"#, "[]"]);
    let long = format!(r#"{{"application":"{}"}}"#, "a".repeat(254));
    assert_refused(
        "resume",
        &[
            &long,
            r#"{"application":""}"#,
            r#"{"application":"Shop"}"#,
            r#"{"application":"a/b/c"}"#,
            r#"{"application":"/b"}"#,
            r#"{"application":"-a"}"#,
            r#"{"application":"a..b"}"#,
            r#"{"application":"a","application":"b"}"#,
            r#"{"application":"a","hard":true}"#,
        ],
    );
    assert_refused(
        "rollback",
        &[
            r#"{"application":"a"}"#,
            r#"{"application":"a","to":"next"}"#,
            r#"{"application":"a","to":{"revision":"main"}}"#,
            r#"{"application":"a","to":{"history":-1}}"#,
            r#"{"application":"a","to":{"history":1,"revision":"a"}}"#,
            r#"{"application":"a","to":"previous","hold":"glue"}"#,
        ],
    );
}

#[test]
fn arguments_of_a_rollout() {
    let rollout = |revision: &str, fields: &str| {
        format!(r#"{{"application":"a","revision":"{revision}"{fields}}}"#)
    };
    for fields in [
        r#","timeout_s":0"#,
        r#","timeout_s":86401"#,
        r#","timeout_s":1.5"#,
        r#","on_failure":"explode""#,
    ] {
        assert_refused("rollout", &[&rollout(SHA, fields)]);
    }
    for revision in ["main", &SHA[1..], &SHA.to_uppercase()] {
        assert_refused("rollout", &[&rollout(revision, "")]);
    }
    let digest = format!("sha256:{}", "a".repeat(64));
    let images = |list: &[String]| {
        let list = serde_json::to_string(list).unwrap();
        rollout(SHA, &format!(r#","images":{list}"#))
    };
    for wrong in [
        vec!["nginx:1.27".to_owned()],
        vec![format!("@{digest}")],
        vec![format!("a b@{digest}")],
        vec![digest.clone(); 17],
    ] {
        assert_refused("rollout", &[&images(&wrong)]);
    }
    let good = images(&[digest.clone(), format!("registry/a/b@{digest}")]);
    assert!(Command::parse(payload("rollout", &good).as_bytes()).is_ok());
}

#[test]
fn the_fields_around_the_arguments() {
    let good = payload("ping", "{}");
    let changed = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        code_of(&good.replacen(from, to, 1))
    };
    use RefusalCode::{InvalidArguments, Malformed, UnknownCommand};
    let many = serde_json::to_string(&vec!["n"; 65]).unwrap();
    let cases = [
        (r#""v":1"#, r#""v":2"#, Malformed),
        (r#""v":1"#, r#""v":"1""#, Malformed),
        (r#""v":1,"#, "", Malformed),
        (r#""v":1"#, r#""v":1,"v":1"#, Malformed),
        (r#""v":1"#, r#""v":1,"nonce":1"#, Malformed),
        (r#""seq":1700000000000"#, r#""seq":-1"#, Malformed),
        (r#""seq":1700000000000"#, r#""seq":1e3"#, Malformed),
        (
            r#""seq":1700000000000"#,
            r#""seq":9007199254740992"#,
            InvalidArguments,
        ),
        (r#"["pi-01"]"#, "[]", InvalidArguments),
        (r#"["pi-01"]"#, r#"["pi/01"]"#, InvalidArguments),
        (r#"["pi-01"]"#, &many, InvalidArguments),
        (r#"["pi-01"]"#, r#""pi-01""#, Malformed),
        (
            r#""exp":1700000600"#,
            r#""exp":1700000000"#,
            InvalidArguments,
        ),
        (
            r#""exp":1700000600"#,
            r#""exp":253402300800"#,
            InvalidArguments,
        ),
        (r#""iat":1700000000"#, r#""iat":-1"#, InvalidArguments),
        (r#""id":"01J"#, r#""id":"/01J"#, InvalidArguments),
        (r#""cmd":"ping""#, r#""cmd":"reboot""#, UnknownCommand),
        (r#""cmd":"ping""#, r#""cmd":"Ping""#, UnknownCommand),
        ("}}", "}} x", Malformed),
    ];
    for (from, to, code) in cases {
        assert_eq!(changed(from, to), code, "{to}");
    }
    let highest = good.replace("1700000000000", &MAX_SEQUENCE.to_string());
    assert!(Command::parse(highest.as_bytes()).is_ok());
    assert_eq!(code_of(&"[".repeat(4000)), Malformed);
    assert_eq!(code_of(&" ".repeat(4097)), RefusalCode::TooLarge);
    assert_eq!(
        code_of(r#"[1,"a",["n"],1,1,2,"ping",{}]"#),
        Malformed,
        "an array is no object"
    );
}

#[test]
fn what_can_be_told_of_a_refused_payload() {
    let error = Command::parse(
        payload(
            "rollback",
            r#"{"application":"shop","to":5,"x":[{"y":null}]}"#,
        )
        .as_bytes(),
    )
    .unwrap_err();
    assert_eq!(error.id.as_deref(), Some("01J0000000000000000000000A"));
    assert_eq!(error.cmd.as_deref(), Some("rollback"));
    assert_eq!(error.application.as_deref(), Some("shop"));

    let of = |text: &str| Command::parse(text.as_bytes()).unwrap_err();
    assert_eq!(
        of(r#"{"id":"a","args":[1,{"b":2}],"cmd":true}"#)
            .id
            .as_deref(),
        Some("a")
    );
    // Without an id that is valid and the only one, there is nothing to answer to.
    assert_eq!(of(r#"{"id":5}"#).id, None);
    assert_eq!(of(r#"{"id":"a/b"}"#).id, None);
    assert_eq!(of(r#"{"id":"a","id":"b"}"#).id, None);
    assert_eq!(of("null").id, None);
    // A name that would not do as a label is not repeated.
    assert_eq!(of(r#"{"id":"a","cmd":"<b>"}"#).cmd, None);
    let long = format!(r#"{{"id":"a","{}":1}}"#, "x".repeat(3000));
    assert!(of(&long).refusal.message.len() < 400);
}

const APPLICATION: &str = "[a-z][a-z0-9]{0,20}(/[a-z][a-z0-9-]{0,20}[a-z])?";

fn rollouts() -> impl Strategy<Value = Action> {
    let on_failure = prop_oneof![Just(OnFailure::None), Just(OnFailure::Rollback)];
    let shape = (
        APPLICATION,
        "[0-9a-f]{40}",
        1_u64..=86400,
        on_failure,
        0_usize..4,
    );
    shape.prop_map(
        |(application, revision, timeout, on_failure, images)| Action::Rollout {
            application,
            revision,
            images: vec![format!("sha256:{}", "0".repeat(64)); images],
            timeout: Duration::from_secs(timeout),
            on_failure,
        },
    )
}

fn rollbacks() -> impl Strategy<Value = Action> {
    let to = prop_oneof![
        Just(RollbackTarget::Previous),
        any::<u64>().prop_map(RollbackTarget::History),
        "[0-9a-f]{64}".prop_map(RollbackTarget::Revision),
    ];
    let hold = proptest::option::of(prop_oneof![Just(HoldMode::Pin), Just(HoldMode::Pause)]);
    let shape = (APPLICATION, to, hold, any::<bool>(), any::<bool>());
    shape.prop_map(
        |(application, to, hold, prune, allow_managed)| Action::Rollback {
            application,
            to,
            hold,
            prune,
            allow_managed,
        },
    )
}

fn commands() -> impl Strategy<Value = Command> {
    let action = prop_oneof![
        rollouts(),
        rollbacks(),
        APPLICATION.prop_map(|application| Action::Resume { application }),
        (APPLICATION, any::<bool>())
            .prop_map(|(application, hard)| Action::Refresh { application, hard }),
        (1_u32..=600).prop_map(|seconds| Action::Identify { seconds }),
        Just(Action::Ping),
    ];
    let audience = proptest::collection::vec("[A-Za-z0-9._-]{1,30}", 1..5);
    let times = (0_i64..4_000_000_000, 1_i64..1_000_000);
    (
        "[A-Za-z0-9._-]{1,64}",
        audience,
        0..=MAX_SEQUENCE,
        times,
        action,
    )
        .prop_map(
            |(id, audience, sequence, (issued_at, ttl), action)| Command {
                id,
                audience,
                sequence,
                issued_at,
                expires_at: issued_at + ttl,
                action,
            },
        )
}

proptest! {
    #[test]
    fn what_is_written_is_read_the_same(command in commands()) {
        prop_assert_eq!(command.check(), Ok(()));
        prop_assert_eq!(Command::parse(&command.to_json()), Ok(command));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Command::parse(&bytes);
    }

    #[test]
    fn no_change_of_a_payload_panics(
        command in commands(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = command.to_json();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = Command::parse(&bytes);
    }
}
