use proptest::prelude::*;

use super::*;
use crate::command::encoding::to_base64;
use crate::command::key::tests::{SMALL_ORDER, from_hex};

const A: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
const B: &str = "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=";

fn key(id: &str, public: &str, rest: &str) -> String {
    format!("[[key]]\nid = \"{id}\"\npublic = \"{public}\"\n{rest}\n")
}

fn keyring(text: &str) -> Keyring {
    Keyring::parse_allowing_test_keys(text).unwrap()
}

fn resume(application: &str) -> Action {
    Action::Resume {
        application: application.to_owned(),
    }
}

#[test]
fn the_example_file_is_a_keyring() {
    let example = include_str!("../../../../../config/keyring.toml");
    let as_it_is = Keyring::parse(example).unwrap();
    assert!(as_it_is.is_empty(), "the example must not let anybody in");
    // With the examples taken out of their comments, and keys in the place of the placeholders.
    let uncommented: String = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(code) if !code.starts_with(' ') => format!("{code}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let root = crate::command::key::SigningKey::from_seed(&[9; 32])
        .unwrap()
        .public_base64();
    let mut publics = [root.as_str(), A, B].into_iter();
    let mut filled = String::new();
    for line in uncommented.lines() {
        let line = match line.split_once("<base64") {
            Some((before, _)) => format!("{before}{}\"", publics.next().unwrap()),
            None => line.to_owned(),
        };
        filled.push_str(&line);
        filled.push('\n');
    }
    assert_eq!(keyring(&filled).len(), 2);
    assert_eq!(keyring(&filled).thresholds.len(), 1);
    assert_eq!(
        (keyring(&filled).version(), keyring(&filled).roots().count()),
        (1, 1)
    );
}

#[test]
fn rights_are_by_command_and_application() {
    let ring = keyring(&key(
        "ci",
        A,
        "allow = [\"resume\", \"ping\"]\napplications = [\"shop-*\", \"prod/web\"]",
    ));
    let ci = &ring.keys[0];
    for (action, permitted) in [
        (resume("shop-1"), true),
        (resume("other/shop-1"), true),
        (resume("shop"), false),
        (resume("prod/web"), true),
        (resume("web"), false),
        (resume("other/web"), false),
        (Action::Ping, true),
        (Action::Identify { seconds: 1 }, false),
        (
            Action::Refresh {
                application: "shop-1".to_owned(),
                hard: false,
            },
            false,
        ),
    ] {
        assert_eq!(ring.permits(ci, &action), permitted, "{action:?}");
    }
    // A name alone is in the default namespace.
    let ring = ring.clone().with_default_namespace("prod");
    assert!(ring.permits(&ring.keys[0], &resume("web")));
}

#[test]
fn a_threshold_holds_however_the_application_is_written() {
    let allow = "allow = [\"resume\"]\napplications = [\"*\"]";
    let text = key("a", A, allow)
        + &key("b", B, allow)
        + "[[threshold]]\ncmd = \"resume\"\napplications = [\"argocd/prod-*\"]\nsignatures = 2\n";
    let ring = keyring(&text);
    assert_eq!(ring.signatures_needed(&resume("prod-web")), 2);
    assert_eq!(ring.signatures_needed(&resume("argocd/prod-web")), 2);
    assert_eq!(ring.signatures_needed(&resume("other/prod-web")), 1);
    assert_eq!(ring.signatures_needed(&Action::Ping), 1);
    let ring = ring.with_default_namespace("other");
    assert_eq!(ring.signatures_needed(&resume("prod-web")), 1);
}

#[test]
fn a_threshold_without_applications_is_for_all() {
    let allow = "allow = [\"identify\"]";
    let text = key("a", A, allow)
        + &key("b", B, allow)
        + "[[threshold]]\ncmd = \"identify\"\nsignatures = 2\n";
    let ring = keyring(&text);
    assert_eq!(ring.signatures_needed(&Action::Identify { seconds: 1 }), 2);
}

#[test]
fn not_after_is_a_whole_day_or_a_moment() {
    let until = |value: &str| {
        let text = key("a", A, &format!("allow = [\"ping\"]\nnot_after = {value}"));
        Keyring::parse_allowing_test_keys(&text).map(|ring| ring.keys[0].valid_until.unwrap())
    };
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    assert_eq!(until("2027-12-31"), Ok(at("2028-01-01T00:00:00Z")));
    assert_eq!(
        until("2027-12-31T12:00:00+02:00"),
        Ok(at("2027-12-31T10:00:00Z"))
    );
    assert_eq!(until("2027-12-31 12:00:00"), Ok(at("2027-12-31T12:00:00Z")));
    for wrong in ["\"2027-12-31\"", "12:00:00", "2027"] {
        assert!(until(wrong).is_err(), "{wrong}");
    }
    let ring = keyring(&key("a", A, "allow = [\"ping\"]\nnot_after = 2027-12-31"));
    assert!(ring.keys[0].is_valid_at(at("2027-12-31T23:59:59.9Z")));
    assert!(!ring.keys[0].is_valid_at(at("2028-01-01T00:00:00Z")));
}

#[test]
fn every_fault_is_told_at_once() {
    let zeros = to_base64(&[0; 32]);
    let text = key("a", A, "allow = [\"ping\"]\ntypo = 1")
        + &key("a", A, "allow = [\"reboot\"]")
        + &key("z", &zeros, "allow = [\"resume\"]")
        + &key("s", "c2hvcnQ=", "allow = []\nnot_after = \"soon\"")
        + &key(
            "g",
            B,
            "allow = [\"resume\"]\napplications = [\"Shop\", \"a/b/c\"]",
        )
        + "[[key]]\n"
        + "[[threshold]]\ncmd = \"rollout\"\nsignatures = 9\n"
        + "[[threshold]]\ncmd = \"resume\"\nsignatures = 2\n"
        + "[roots]\n";
    let faults = Keyring::parse_allowing_test_keys(&text).unwrap_err();
    let all = faults.join("\n");
    for wanted in [
        "key 1 (`a`): unknown field `typo`",
        "key 2 (`a`): `allow` names `reboot`",
        "key 2 (`a`): has the id of key 1",
        "key 2 (`a`): has the public key of `a`",
        "key 3 (`z`): `public`: signatures for this key can be forged",
        "key 3 (`z`): `applications` is missing",
        "key 4 (`s`): `public`: a public key has 32 bytes; this has 5",
        "key 4 (`s`): `allow` names no command",
        "key 4 (`s`): `not_after` is a date",
        "key 5 (`g`): `applications` has `Shop`",
        "key 5 (`g`): `applications` has `a/b/c`",
        "key 6: `id` is missing",
        "key 6: `public` is missing",
        "key 6: `allow` is missing",
        "threshold 1 (`rollout`): `signatures` is a number from 1 to 4",
        "threshold 2 (`resume`): asks for 2 signatures, but 1 of the keys",
        "keyring: unknown field `roots`",
    ] {
        assert!(all.contains(wanted), "no `{wanted}` in\n{all}");
    }
    assert_eq!(faults.len(), 17, "{all}");
}

#[test]
fn test_keys_are_for_tests() {
    let text = key("a", A, "allow = [\"ping\"]");
    let faults = Keyring::parse(&text).unwrap_err();
    assert!(faults[0].contains("RFC 8032"), "{faults:?}");
    assert_eq!(keyring(&text).len(), 1);
}

#[test]
fn small_order_keys_are_refused_even_in_tests() {
    for hex in SMALL_ORDER {
        let text = key("a", &to_base64(&from_hex(hex)), "allow = [\"ping\"]");
        let faults = Keyring::parse_allowing_test_keys(&text).unwrap_err();
        assert!(faults[0].contains("small order"), "{faults:?}");
    }
}

#[test]
fn limits_and_what_is_no_keyring() {
    assert!(Keyring::parse("").unwrap().is_empty());
    assert!(Keyring::empty().is_empty());
    assert!(Keyring::parse("key = 1").is_err());
    assert!(Keyring::parse("key = [1]").is_err());
    assert!(Keyring::parse("key = [").unwrap_err()[0].starts_with("not TOML"));
    assert!(Keyring::parse(&" ".repeat(MAX_KEYRING_BYTES + 1)).is_err());
    let many = "[[key]]\n".repeat(MAX_KEYS + 1);
    assert_eq!(Keyring::parse(&many).unwrap_err().len(), 1);
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = Keyring::parse(&text);
    }

    #[test]
    fn no_change_of_a_keyring_panics(at in 0_usize..200, with in "[\\PC\\n]{0,3}") {
        let mut text = key(
            "a",
            A,
            "allow = [\"ping\"]\napplications = [\"*\"]\nnot_after = 2027-12-31T00:00:00Z",
        );
        if text.is_char_boundary(at) && at < text.len() {
            text.replace_range(at..=at, &with);
        }
        let _ = Keyring::parse(&text);
    }
}
