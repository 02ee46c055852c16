use super::super::Switch;
use super::*;
use edge_agent_core::button::Gesture::{Cancelled, Held, Pressed, Tapped};
use edge_agent_core::clock::Now;
use tokio::time::Instant;

/// The clock of the test, which goes on when everybody waits.
struct Paused(Instant);

impl Clock for Paused {
    fn now(&self) -> Now {
        Now {
            wall: jiff::Timestamp::UNIX_EPOCH,
            monotonic: self.0.elapsed(),
            synchronized: true,
        }
    }
}

/// Plays a scenario with a button that is watched.
async fn play<F>(switch: Switch, scenario: impl FnOnce(Switch, mpsc::Receiver<Event>) -> F)
where
    F: Future<Output = ()>,
{
    let (sender, events) = mpsc::channel(16);
    let stop = CancellationToken::new();
    let clock = Arc::new(Paused(Instant::now()));
    let watched = run(Box::new(switch.clone()), clock, sender, stop.clone());
    let scenario = async {
        tokio::task::yield_now().await;
        scenario(switch.clone(), events).await;
        stop.cancel();
    };
    let (result, ()) = tokio::join!(watched, scenario);
    result.unwrap();
    assert!(!switch.is_watched(), "it is let go at the end");
}

async fn pass(ms: u64) {
    sleep(Duration::from_millis(ms)).await;
}

fn gestures(events: &mut mpsc::Receiver<Event>) -> Vec<Gesture> {
    std::iter::from_fn(|| match events.try_recv().ok()? {
        Event::Button(gesture) => Some(gesture),
        other => panic!("unexpected {other:?}"),
    })
    .collect()
}

#[tokio::test(start_paused = true)]
async fn five_seconds_are_an_order_and_4_9_are_not() {
    play(Switch::new(), |switch, mut events| async move {
        switch.set(true);
        pass(4900).await;
        assert_eq!(gestures(&mut events), [Pressed]);
        switch.set(false);
        pass(60_000).await;
        assert_eq!(gestures(&mut events), [Cancelled]);
        switch.set(true);
        pass(5010).await;
        assert_eq!(gestures(&mut events), [Pressed, Held]);
        pass(20_000).await;
        switch.set(false);
        pass(1000).await;
        assert_eq!(gestures(&mut events), []);
        switch.set(true);
        pass(200).await;
        switch.set(false);
        pass(200).await;
        assert_eq!(gestures(&mut events), [Pressed, Tapped]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_the_wire_shows_counts_when_its_change_was_lost() {
    play(Switch::new(), |switch, mut events| async move {
        switch.set(true);
        pass(3000).await;
        switch.lose(false);
        pass(5000).await;
        assert_eq!(gestures(&mut events), [Pressed, Cancelled]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_wire_that_is_cut_is_told_and_tried_again() {
    play(Switch::new(), |switch, mut events| async move {
        switch.set(true);
        pass(1000).await;
        switch.cut(true);
        pass(100).await;
        let mut told = Vec::new();
        while let Ok(event) = events.try_recv() {
            told.push(event);
        }
        assert!(
            matches!(
                &told[..],
                [
                    Event::Button(Pressed),
                    Event::Button(Cancelled),
                    Event::Impaired { part: "button", fault: Some(fault) },
                ] if fault == "the wire is cut"
            ),
            "{told:?}"
        );
        switch.cut(false);
        pass(60_000).await;
        let told = events.try_recv().unwrap();
        assert!(matches!(told, Event::Impaired { fault: None, .. }));
        // Down when it was looked at again: that is no order.
        pass(30_000).await;
        assert_eq!(gestures(&mut events), []);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_down_from_the_start_is_no_order() {
    let switch = Switch::new();
    switch.set(true);
    play(switch, |_, mut events| async move {
        pass(59_000).await;
        assert_eq!(gestures(&mut events), []);
        pass(2000).await;
        assert_eq!(gestures(&mut events), [Gesture::Stuck]);
    })
    .await;
}
