//! The replay matrix: what an attacker who holds old envelopes can try, each before and after a
//! restart.

use super::*;

/// What comes after the first command (`one`, sequence 10, by key a, admitted at noon and done).
struct Case {
    name: &'static str,
    second: Given,
    now: Now,
    expected: &'static str,
}

fn first() -> Given {
    given("one", 10)
}

fn case(name: &'static str, second: Given, expected: &'static str) -> Case {
    at_time(synchronized(NOON + 60), name, second, expected)
}

fn at_time(now: Now, name: &'static str, second: Given, expected: &'static str) -> Case {
    Case {
        name,
        second,
        now,
        expected,
    }
}

fn with(id: &str, sequence: u64, change: impl FnOnce(&mut Given)) -> Given {
    let mut given = given(id, sequence);
    change(&mut given);
    given
}

fn for_application(application: &str) -> Given {
    with("two", 9, |given| given.application = application.to_owned())
}

fn sequence_cases() -> Vec<Case> {
    vec![
        case("the next one", given("two", 11), "admit"),
        case("an older sequence", given("two", 9), "replayed"),
        case("the same sequence", given("two", 10), "replayed"),
        case("another application", for_application("other"), "admit"),
        case("its full name", for_application("argocd/shop"), "replayed"),
        case("another namespace", for_application("team/shop"), "admit"),
        case(
            "another key (rotated)",
            with("two", 9, |given| given.keys = "b"),
            "admit",
        ),
        case(
            "two keys, one of which has signed a higher sequence",
            with("two", 9, |given| given.keys = "ab"),
            "replayed",
        ),
    ]
}

fn identity_cases() -> Vec<Case> {
    vec![
        case("delivered twice", first(), "repeat"),
        at_time(
            unsynchronized(0),
            "delivered twice, no clock",
            first(),
            "repeat",
        ),
        at_time(
            synchronized(NOON + 600),
            "delivered again after its time",
            first(),
            "expired",
        ),
        case(
            "the very same payload, signed by another key",
            with("one", 10, |given| given.keys = "b"),
            "repeat",
        ),
        case("a known id with other bytes", given("one", 11), "id_reused"),
        case(
            "another audience",
            with("two", 11, |given| given.audience = "pi-02"),
            "wrong_audience",
        ),
        case(
            "another audience under a known id",
            with("one", 10, |given| given.audience = "pi-02"),
            "wrong_audience",
        ),
    ]
}

fn issued(issued_at: i64) -> Given {
    with("two", 11, |given| {
        given.issued_at = issued_at;
        given.expires_at = issued_at + 600;
    })
}

fn time_cases() -> Vec<Case> {
    let next = || given("two", 11);
    let ahead = NOON + 60 + MAX_AHEAD_SECONDS;
    vec![
        at_time(
            synchronized(NOON + 600),
            "at the second of its expiry",
            next(),
            "expired",
        ),
        at_time(
            synchronized(NOON + 599),
            "in the second before",
            next(),
            "admit",
        ),
        at_time(
            synchronized(NOON - 2000),
            "a clock that was set back",
            next(),
            "admit",
        ),
        at_time(
            unsynchronized(0),
            "expired against the floor, in 1970",
            issued(NOON - 600),
            "expired",
        ),
        at_time(
            synchronized(NOON - 200),
            "expired against the floor, with a clock that was set back",
            issued(NOON - 600),
            "expired",
        ),
        at_time(
            unsynchronized(0),
            "no clock, and not expired",
            next(),
            "park",
        ),
        at_time(
            unsynchronized(NOON + 9999),
            "a clock that nobody vouches for",
            next(),
            "park",
        ),
        at_time(
            unsynchronized(0),
            "no clock, but an older sequence",
            given("two", 10),
            "replayed",
        ),
        case("from the future", issued(ahead + 1), "not_yet_valid"),
        case("from a clock a little ahead", issued(ahead), "admit"),
    ]
}

#[test]
fn the_replay_matrix() {
    for restart in [false, true] {
        for case in [sequence_cases(), identity_cases(), time_cases()]
            .into_iter()
            .flatten()
        {
            play(&case, restart);
        }
    }
}

fn play(case: &Case, restart: bool) {
    let name = case.name;
    let restarted = |ledger: Ledger| {
        if restart {
            reopened(&ledger, NOON - DAY)
        } else {
            ledger
        }
    };
    let mut ledger = Ledger::new(at(NOON - DAY));
    let admission = first().consider(&mut ledger, synchronized(NOON));
    assert_eq!(admission, Admission::Admit);
    ledger.complete("one", ResultState::Succeeded, 3);
    ledger.tell_those(|_| true);

    let mut ledger = restarted(ledger);
    let admission = case.second.consider(&mut ledger, case.now);
    assert_eq!(code(&admission), case.expected, "{name}, {restart}");

    // Whatever it was, it does not come in a second time.
    let mut ledger = restarted(ledger);
    let again = case.second.consider(&mut ledger, case.now);
    let expected = match case.expected {
        "admit" => "repeat",
        other => other,
    };
    assert_eq!(code(&again), expected, "{name}, again, {restart}");

    // And the first one does not either.
    let first = first().consider(&mut ledger, case.now);
    assert!(
        matches!(code(&first), "repeat" | "expired"),
        "{name}: {first:?}"
    );
}

#[test]
fn a_parked_command_is_admitted_once_the_clock_is_there() {
    let mut ledger = Ledger::new(at(NOON - DAY));
    let one = given("one", 1);
    let admission = one.consider(&mut ledger, unsynchronized(0));
    assert_eq!(admission, Admission::Park);
    assert_eq!(ledger.record().entries, [], "parking leaves no trace");
    let mut ledger = reopened(&ledger, NOON - DAY);
    let admission = one.consider(&mut ledger, synchronized(NOON));
    assert_eq!(admission, Admission::Admit);
    // The same, but the clock tells that it came too late.
    let two = given("two", 2);
    let admission = two.consider(&mut ledger, unsynchronized(0));
    assert_eq!(admission, Admission::Park);
    let admission = two.consider(&mut ledger, synchronized(NOON + 601));
    assert_eq!(code(&admission), "expired");
}
