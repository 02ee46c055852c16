use super::*;

const TTL: Duration = Duration::from_secs(600);
const TIMEOUT: Duration = Duration::from_secs(900);

fn member() -> Member {
    let mut member = Member::new(NodeName::new("pi-01").unwrap(), "c1".to_owned(), false);
    member.give(Instant::now());
    member
}

fn result(n: u32, state: ResultState) -> CommandResult {
    CommandResult {
        v: 1,
        node: "pi-01".to_owned(),
        command: "c1".to_owned(),
        digest: None,
        n,
        state,
        reason: None,
        message: "said\u{1b}[2J".to_owned(),
        application: None,
        revision: Some("abc".to_owned()),
        deploy_state: None,
        at: "2026-11-24T20:31:28Z".parse().unwrap(),
    }
}

#[tokio::test(start_paused = true)]
async fn each_end_of_a_command_is_an_outcome() {
    for (state, outcome) in [
        (ResultState::Succeeded, Outcome::Reached),
        (ResultState::Failed, Outcome::Failed),
        (ResultState::Superseded, Outcome::Failed),
        (ResultState::Interrupted, Outcome::Failed),
        (ResultState::Rejected, Outcome::Refused),
        (ResultState::TimedOut, Outcome::TimedOut),
    ] {
        let mut it = member();
        assert!(it.take(
            &result(1, ResultState::Accepted),
            Wait::Healthy,
            Instant::now()
        ));
        assert!(it.is_open());
        assert!(it.take(&result(2, state), Wait::Healthy, Instant::now()));
        assert_eq!(it.outcome(), Some(outcome), "{state:?}");
        assert_eq!(it.message, "said[2J");
        // What comes after the end, or again, or late, changes nothing.
        assert!(!it.take(
            &result(3, ResultState::Succeeded),
            Wait::Healthy,
            Instant::now()
        ));
    }
    let mut it = member();
    assert!(it.take(
        &result(2, ResultState::Executing),
        Wait::Healthy,
        Instant::now()
    ));
    assert!(!it.take(
        &result(1, ResultState::Succeeded),
        Wait::Healthy,
        Instant::now()
    ));
    assert!(it.is_open());
}

#[tokio::test(start_paused = true)]
async fn how_far_it_must_come() {
    let now = Instant::now();
    let mut it = member();
    it.delivered(Wait::Healthy, now);
    assert!(it.is_open());
    it.delivered(Wait::None, now);
    assert_eq!(it.outcome(), Some(Outcome::Reached));

    let mut it = member();
    it.take(&result(1, ResultState::Accepted), Wait::Accepted, now);
    assert_eq!(it.outcome(), Some(Outcome::Reached));

    // Anybody can write the application's topic; it counts only after the node's own word.
    let mut it = member();
    assert!(!it.synced("abc", Wait::Synced, now));
    it.take(&result(1, ResultState::Accepted), Wait::Synced, now);
    assert!(!it.synced("abc", Wait::Synced, now));
    it.take(&result(2, ResultState::Executing), Wait::Synced, now);
    assert!(!it.synced("other", Wait::Synced, now));
    assert!(it.synced("abc", Wait::Synced, now));
    assert_eq!(it.outcome(), Some(Outcome::Reached));
}

#[tokio::test(start_paused = true)]
async fn silence_is_told_once_and_ends_when_the_order_has_expired() {
    let mut it = member();
    let mut told = Vec::new();
    while it.is_open() {
        tokio::time::sleep_until(it.deadline(TTL, TIMEOUT).unwrap()).await;
        told.extend(it.tick(TTL, TIMEOUT, Some(false), Instant::now()));
    }
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("it is offline") && told[0].contains("another 570 s"),
        "{told:?}"
    );
    assert!(told[1].contains("will not carry it out"), "{told:?}");
    assert_eq!(it.outcome(), Some(Outcome::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_goes_silent_half_way_is_not_waited_for_for_ever() {
    let mut it = member();
    it.take(
        &result(1, ResultState::Accepted),
        Wait::Healthy,
        Instant::now(),
    );
    assert_eq!(
        it.deadline(TTL, TIMEOUT),
        Some(Instant::now() + TIMEOUT + GRACE)
    );
    assert_eq!(it.tick(TTL, TIMEOUT, None, Instant::now()), None);
    tokio::time::sleep(TIMEOUT + GRACE).await;
    let told = it.tick(TTL, TIMEOUT, None, Instant::now()).unwrap();
    assert!(told.contains("has not told how it ended"), "{told}");
    assert_eq!(it.outcome(), Some(Outcome::TimedOut));
}
