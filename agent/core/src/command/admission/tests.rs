use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::command::envelope::{COMMAND_TYPE, SigningKey, seal, verify};
use crate::command::key::tests::{key_a, key_b};
use crate::command::keyring::Keyring;
use crate::command::payload::{Action, Command};
use crate::wire::ResultState;

mod matrix;

const DAY: i64 = 86_400;
/// 2026-11-24T12:00:00Z.
const NOON: i64 = 1_795_521_600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn synchronized(seconds: i64) -> Now {
    Now {
        wall: at(seconds),
        monotonic: Duration::ZERO,
        synchronized: true,
    }
}

fn unsynchronized(seconds: i64) -> Now {
    Now {
        synchronized: false,
        ..synchronized(seconds)
    }
}

fn node() -> NodeName {
    NodeName::new("pi-01").unwrap()
}

fn keyring() -> Keyring {
    let key = |id: &str, key: &SigningKey| {
        format!(
            "[[key]]\nid = \"{id}\"\npublic = \"{}\"\nallow = [\"resume\", \"ping\"]\n\
             applications = [\"*\"]\n",
            key.public_base64()
        )
    };
    Keyring::parse_allowing_test_keys(&(key("a", &key_a()) + &key("b", &key_b()))).unwrap()
}

/// A command as it can be varied in a test.
#[derive(Debug, Clone)]
struct Given {
    id: String,
    audience: &'static str,
    sequence: u64,
    issued_at: i64,
    expires_at: i64,
    application: String,
    keys: &'static str,
}

fn given(id: &str, sequence: u64) -> Given {
    Given {
        id: id.to_owned(),
        audience: "pi-01",
        sequence,
        issued_at: NOON,
        expires_at: NOON + 600,
        application: "shop".to_owned(),
        keys: "a",
    }
}

impl Given {
    fn verified(&self) -> VerifiedCommand {
        self.verified_within(86_400)
    }

    fn verified_within(&self, max_ttl_seconds: u64) -> VerifiedCommand {
        let command = Command {
            id: self.id.clone(),
            audience: vec![self.audience.to_owned()],
            sequence: self.sequence,
            issued_at: self.issued_at,
            expires_at: self.expires_at,
            action: Action::Resume {
                application: self.application.clone(),
            },
        };
        let (a, b) = (key_a(), key_b());
        let signers: Vec<(&str, &SigningKey)> = [("a", &a), ("b", &b)]
            .into_iter()
            .filter(|(id, _)| self.keys.contains(id))
            .collect();
        let bytes = seal(COMMAND_TYPE, &command.to_json(), &signers);
        let max_ttl = Duration::from_secs(max_ttl_seconds);
        verify(&bytes, &keyring(), max_ttl, at(NOON)).unwrap()
    }

    fn consider(&self, ledger: &mut Ledger, now: Now) -> Admission {
        let verified = self.verified();
        let scope = verified.command().action.scope("argocd");
        ledger.consider(now, &node(), &verified, &scope)
    }
}

fn code(admission: &Admission) -> &'static str {
    match admission {
        Admission::Admit => "admit",
        Admission::Park => "park",
        Admission::Repeat(_) => "repeat",
        Admission::Refuse(refusal) => refusal.code.as_str(),
    }
}

/// As a restart would: through the bytes on the medium.
fn reopened(ledger: &Ledger, build: i64) -> Ledger {
    let record = LedgerRecord::from_bytes(&ledger.record().to_bytes()).unwrap();
    Ledger::restore(record, at(build))
}

#[test]
fn an_admitted_command_is_remembered_until_it_has_ended_and_expired() {
    let mut ledger = Ledger::new(at(0));
    assert_eq!(
        given("one", 1).consider(&mut ledger, synchronized(NOON)),
        Admission::Admit
    );
    let entry = ledger.entry("one").unwrap().clone();
    assert_eq!(entry.cmd, "resume");
    assert_eq!(entry.application.as_deref(), Some("shop"));
    assert_eq!(entry.key_ids, ["a"]);
    assert_eq!(entry.at, at(NOON));
    assert_eq!((entry.state, entry.n), (LedgerState::Admitted, 0));
    assert_eq!(ledger.unfinished().count(), 1);

    // It has expired, but it is still being carried out.
    ledger.observe(synchronized(NOON + 601));
    let mut ledger = reopened(&ledger, 0);
    assert_eq!(
        ledger
            .unfinished()
            .map(|entry| entry.id.as_str())
            .collect::<Vec<_>>(),
        ["one"]
    );
    ledger.complete("one", ResultState::Executing, 2);
    assert_eq!(ledger.entry("one").unwrap().n, 2);
    assert_eq!(ledger.unfinished().count(), 1);
    ledger.complete("one", ResultState::Failed, 3);
    assert_eq!(ledger.untold().count(), 1);
    ledger.complete("one", ResultState::Succeeded, 1);
    ledger.complete("nobody", ResultState::Succeeded, 1);
    let entry = ledger.entry("one").unwrap();
    assert_eq!(
        (entry.state, entry.n),
        (LedgerState::Done(ResultState::Failed), 3)
    );
    assert_eq!(ledger.unfinished().count(), 0);
    // Its result may be lost with the next restart, so it stays until that is not so any more.
    ledger.observe(synchronized(NOON + 602));
    assert!(ledger.entry("one").is_some());
    assert!(ledger.tell_those(|_| true) && !ledger.tell_those(|_| true));
    ledger.observe(synchronized(NOON + 602));
    assert_eq!(ledger.entry("one"), None);
}

#[test]
fn a_repeat_tells_the_last_result() {
    let mut ledger = Ledger::new(at(0));
    let one = given("one", 1);
    one.consider(&mut ledger, synchronized(NOON));
    ledger.complete("one", ResultState::Succeeded, 3);
    match one.consider(&mut ledger, unsynchronized(0)) {
        Admission::Repeat(entry) => {
            assert_eq!(
                (entry.state, entry.n),
                (LedgerState::Done(ResultState::Succeeded), 3)
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_floor_is_the_latest_of_what_is_known_and_never_goes_back() {
    let mut ledger = Ledger::new(at(NOON));
    assert_eq!(ledger.floor(), at(NOON));
    ledger.observe(unsynchronized(NOON + 10));
    assert_eq!(
        ledger.floor(),
        at(NOON),
        "a clock that is not synchronized says nothing"
    );
    ledger.observe(synchronized(NOON + 20));
    assert_eq!(ledger.floor(), at(NOON + 20));
    ledger.observe(synchronized(NOON + 5));
    assert_eq!(ledger.floor(), at(NOON + 20));
    // An older program does not take it back.
    assert_eq!(reopened(&ledger, 0).floor(), at(NOON + 20));
    let older = reopened(&reopened(&ledger, NOON + 30), 0);
    assert_eq!(older.floor(), at(NOON + 30));
}

#[test]
fn an_issuer_whose_clock_is_ahead_does_not_move_the_floor_ahead() {
    let mut ledger = Ledger::new(at(0));
    let mut early = given("one", 1);
    early.issued_at = NOON + MAX_AHEAD_SECONDS;
    assert_eq!(
        early.consider(&mut ledger, synchronized(NOON)),
        Admission::Admit
    );
    assert_eq!(ledger.floor(), at(NOON));
    assert_eq!(ledger.record().issued_at, NOON);
}

#[test]
fn without_a_clock_one_command_advances_the_floor_by_a_week_at_most() {
    let mut ledger = Ledger::new(at(NOON - 30 * DAY));
    let one = given("one", 1).verified();
    // What `consider` only does with a synchronized clock, were it ever to do it without.
    ledger.admit(unsynchronized(0), &one, "argocd/shop");
    assert_eq!(ledger.floor(), at(NOON - 23 * DAY));
}

#[test]
fn the_time_alone_is_saved_once_an_hour() {
    let mut ledger = Ledger::new(at(0));
    assert!(!ledger.observe(unsynchronized(NOON)));
    assert!(ledger.observe(synchronized(NOON)), "the first one ever");
    assert!(!ledger.observe(synchronized(NOON + 3599)));
    assert!(ledger.observe(synchronized(NOON + 3600)));
    assert!(!ledger.observe(synchronized(NOON + 3601)));
    let mut ledger = reopened(&ledger, 0);
    assert!(!ledger.observe(synchronized(NOON + 3602)));
}

#[test]
fn sequences_are_kept_until_nothing_older_can_be_valid() {
    let mut ledger = Ledger::new(at(0));
    given("one", 7).consider(&mut ledger, synchronized(NOON));
    ledger.complete("one", ResultState::Succeeded, 1);
    // The command itself has expired. One that was issued just before it, with the longest life
    // there can be, has not: its low sequence must still be known to be low.
    let mut withheld = given("zero", 6);
    withheld.issued_at = NOON - 1;
    withheld.expires_at = NOON - 1 + DAY;
    let late = synchronized(NOON + DAY - 2);
    assert_eq!(code(&withheld.consider(&mut ledger, late)), "replayed");
    // Later than that both are out of date, and the sequence may be forgotten.
    let later = synchronized(NOON + DAY);
    assert_eq!(code(&withheld.consider(&mut ledger, later)), "expired");
    assert_eq!(ledger.record().highwater, []);
}

#[test]
fn when_full_it_refuses_instead_of_forgetting() {
    let mut ledger = Ledger::new(at(0));
    let now = synchronized(NOON);
    for number in 0..64 {
        let admission = given(&format!("id-{number}"), number).consider(&mut ledger, now);
        assert_eq!(admission, Admission::Admit, "{number}");
    }
    let full = ledger.record();
    assert_eq!(code(&given("more", 100).consider(&mut ledger, now)), "busy");
    assert_eq!(ledger.record(), full, "a refused command leaves no trace");
    assert_eq!(code(&given("id-0", 0).consider(&mut ledger, now)), "repeat");
    for number in 0..64 {
        ledger.complete(&format!("id-{number}"), ResultState::Succeeded, 1);
    }
    let told = |id: &str| id.starts_with("id-1");
    assert_eq!(code(&given("more", 100).consider(&mut ledger, now)), "busy");
    ledger.tell_those(told);
    // The oldest that has ended, and is known to have been told, makes room.
    assert_eq!(
        given("more", 100).consider(&mut ledger, now),
        Admission::Admit
    );
    assert_eq!(ledger.entry("id-1"), None);
    assert!(ledger.entry("id-10").is_some());
    let again = given("id-1", 1).consider(&mut ledger, now);
    assert_eq!(code(&again), "replayed");
}

#[test]
fn one_that_was_rejected_before_its_sequence_was_noted_is_not_forgotten() {
    let mut ledger = Ledger::new(at(0));
    let now = synchronized(NOON);
    let early = given("early", 99).verified();
    let refusal = Refusal::new(RefusalCode::NotYetValid, "later");
    assert!(ledger.reject(now, &early, &refusal));
    for number in 0..MAX_ENTRIES as u64 {
        let mut other = given(&format!("id-{number}"), number);
        other.application = "other".to_owned();
        assert_eq!(other.consider(&mut ledger, now), Admission::Admit);
        ledger.complete(&other.id, ResultState::Succeeded, 1);
        ledger.tell_those(|_| true);
    }
    assert_eq!(
        code(&given("early", 99).consider(&mut ledger, now)),
        "repeat"
    );
}

#[test]
fn the_largest_commands_still_fit_the_medium() {
    let mut ledger = Ledger::new(at(0));
    let mut refused = 0;
    for number in 0..MAX_ENTRIES {
        let mut large = given(&format!("{number:064}"), 1);
        let namespace = format!("n{}", "x".repeat(252));
        large.application = format!("{namespace}/{}{number:03}", "y".repeat(250));
        large.keys = "ab";
        match large.consider(&mut ledger, synchronized(NOON)) {
            Admission::Admit => {}
            other => {
                assert_eq!(code(&other), "busy");
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "the case that is tested does not occur");
    for number in 0..MAX_ENTRIES {
        ledger.complete(&format!("{number:064}"), ResultState::Interrupted, u32::MAX);
    }
    assert!(ledger.record().to_bytes().len() <= MAX_RECORD_BYTES);
}

#[derive(Debug, Clone)]
enum Step {
    Consider(Box<Given>),
    Complete(u8),
    Reopen,
    Wait(i64),
    Lose,
}

/// The longest life of the commands of [`steps`], so short that sequences are forgotten.
const SHORT_TTL: i64 = 600;

/// Issuers count as the default does: by their clock. The network may reorder, repeat and withhold.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let given = (0_u8..20, 0_i64..3000, 1_i64..=SHORT_TTL, 0_u8..2, 0_u8..3).prop_map(
        |(id, issued, ttl, application, keys)| {
            Step::Consider(Box::new(Given {
                id: format!("id-{id}"),
                audience: "pi-01",
                sequence: issued.unsigned_abs(),
                issued_at: NOON + issued,
                expires_at: NOON + issued + ttl,
                application: format!("app-{application}"),
                keys: ["a", "b", "ab"][usize::from(keys)],
            }))
        },
    );
    let step = prop_oneof![
        6 => given,
        1 => (0_u8..20).prop_map(Step::Complete),
        1 => Just(Step::Reopen),
        2 => (0_i64..300).prop_map(Step::Wait),
        1 => Just(Step::Lose),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever comes, in whatever order, over restarts and with a clock that is lost: no payload
    /// is admitted twice, nothing is admitted after its expiry or without a clock, and no sequence
    /// of a key for a scope is admitted that is not above all before.
    #[test]
    fn nothing_is_admitted_twice_and_no_sequence_goes_back(steps in steps()) {
        let mut ledger = Ledger::new(at(NOON - 600));
        let mut now = synchronized(NOON);
        let mut floor = ledger.floor();
        let mut digests = std::collections::HashSet::new();
        let mut highest = std::collections::HashMap::<(String, String), u64>::new();
        for step in steps {
            match step {
                Step::Consider(given) => {
                    let verified = given.verified_within(SHORT_TTL.unsigned_abs());
                    let scope = verified.command().action.scope("argocd");
                    let before = ledger.record();
                    let admission = ledger.consider(now, &node(), &verified, &scope);
                    if admission == Admission::Admit {
                        prop_assert!(now.synchronized);
                        prop_assert!(given.expires_at > now.unix_seconds());
                        prop_assert!(digests.insert(verified.digest()), "admitted twice");
                        for key in verified.key_ids() {
                            let last = highest.insert((key.clone(), scope.clone()), given.sequence);
                            prop_assert!(last.is_none_or(|last| given.sequence > last));
                        }
                        prop_assert!(ledger.entry(&given.id).is_some());
                    } else {
                        prop_assert_eq!(before.entries.len() >= ledger.record().entries.len(), true);
                    }
                }
                Step::Complete(id) => {
                    ledger.complete(&format!("id-{id}"), ResultState::Succeeded, 1);
                }
                Step::Reopen => ledger = reopened(&ledger, NOON - 600),
                Step::Wait(seconds) => {
                    now = synchronized(now.unix_seconds().max(NOON) + seconds);
                    ledger.observe(now);
                }
                Step::Lose => now = unsynchronized(0),
            }
            prop_assert!(ledger.floor() >= floor, "the floor went back");
            floor = ledger.floor();
        }
    }
}
