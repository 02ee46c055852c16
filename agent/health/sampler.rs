//! Asks the probe in time, and keeps a probe that hangs from doing harm.

use std::sync::mpsc as blocking;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use edge_agent_core::event::Event;
use edge_agent_core::health::Sample;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Probe;

/// The part that is named when reading hangs.
const PART: &str = "health";
/// A reading takes milliseconds. What takes this long waits for a device or a mount that is dead.
const DEADLINE: Duration = Duration::from_secs(5);

/// Samples at once and then every `interval`, until `stop`. A probe that hangs is reported as
/// [`Event::Impaired`] and not asked again until it has answered; nothing else waits for it.
///
/// The probe lives on a thread of its own rather than on tokio's, because the process must be able
/// to end while the probe hangs, and a runtime waits for its blocking threads.
///
/// # Errors
/// When the thread cannot be started, or the probe panics.
pub async fn run(
    probe: impl Probe + Send + 'static,
    interval: Duration,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) -> Result<()> {
    let (requests, questions) = blocking::channel();
    let (replies, answers) = mpsc::channel(1);
    std::thread::Builder::new()
        .name("health".to_owned())
        .spawn(move || answer(probe, &questions, &replies))
        .context("the thread that samples the node could not be started")?;
    let sampler = Sampler {
        ask: move || requests.send(()).is_ok(),
        answers,
        events,
        pending: None,
        impaired: false,
    };
    sampler.run(interval, stop).await
}

/// Ends when nobody asks any more.
fn answer(
    mut probe: impl Probe,
    questions: &blocking::Receiver<()>,
    replies: &mpsc::Sender<Sample>,
) {
    while questions.recv().is_ok() {
        if replies.blocking_send(probe.sample()).is_err() {
            return;
        }
    }
}

struct Sampler<A> {
    /// Asks for one sample; `false` when there is nobody left to ask.
    ask: A,
    answers: mpsc::Receiver<Sample>,
    events: mpsc::Sender<Event>,
    /// When the answer to the open question is due.
    pending: Option<Instant>,
    impaired: bool,
}

impl<A: FnMut() -> bool> Sampler<A> {
    async fn run(mut self, interval: Duration, stop: CancellationToken) -> Result<()> {
        let interval = interval.max(Duration::from_millis(1));
        let mut ticks = interval_at(Instant::now(), interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let due = self.pending.filter(|_| !self.impaired);
            let event = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                answer = self.answers.recv() => match answer {
                    Some(sample) => {
                        self.pending = None;
                        Event::Sampled(Box::new(sample))
                    }
                    None => bail!("the thread that samples the node has ended"),
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.impaired = true;
                    hanging()
                }
                _ = ticks.tick() => {
                    if self.pending.is_none() {
                        if !(self.ask)() {
                            bail!("the thread that samples the node has ended");
                        }
                        self.pending = Some(Instant::now() + DEADLINE);
                    }
                    continue;
                }
            };
            let answered = matches!(event, Event::Sampled(_));
            if !self.send(event, &stop).await {
                return Ok(());
            }
            if answered && self.impaired {
                self.impaired = false;
                let recovered = Event::Impaired {
                    part: PART,
                    fault: None,
                };
                if !self.send(recovered, &stop).await {
                    return Ok(());
                }
            }
        }
    }

    /// `false` when it is time to end.
    async fn send(&self, event: Event, stop: &CancellationToken) -> bool {
        tokio::select! {
            () = stop.cancelled() => false,
            sent = self.events.send(event) => sent.is_ok(),
        }
    }
}

fn hanging() -> Event {
    let fault = format!(
        "reading the node has taken more than {} s: is a mounted disk or network share dead?",
        DEADLINE.as_secs()
    );
    Event::Impaired {
        part: PART,
        fault: Some(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;
    use tokio::task::LocalSet;

    const INTERVAL: Duration = Duration::from_secs(10);

    /// A sampler whose probe the test plays itself, so that no thread disturbs the paused clock.
    struct Stage {
        asked: Rc<Cell<u32>>,
        replies: mpsc::Sender<Sample>,
        events: mpsc::Receiver<Event>,
        stop: CancellationToken,
        start: Instant,
    }

    impl Stage {
        fn new() -> Self {
            let asked = Rc::new(Cell::new(0));
            let (replies, answers) = mpsc::channel(1);
            let (sender, events) = mpsc::channel(8);
            let stop = CancellationToken::new();
            let count = Rc::clone(&asked);
            let sampler = Sampler {
                ask: move || {
                    count.set(count.get() + 1);
                    true
                },
                answers,
                events: sender,
                pending: None,
                impaired: false,
            };
            let stopped = stop.clone();
            tokio::task::spawn_local(async move { sampler.run(INTERVAL, stopped).await.unwrap() });
            Self {
                asked,
                replies,
                events,
                stop,
                start: Instant::now(),
            }
        }

        /// Lets the time pass up to so many seconds after the start.
        async fn until(&self, seconds: u64) {
            sleep_until(self.start + Duration::from_secs(seconds)).await;
            tokio::task::yield_now().await;
        }

        async fn reply(&self) {
            self.replies.send(Sample::default()).await.unwrap();
        }

        async fn event(&mut self) -> &'static str {
            match self.events.recv().await {
                Some(Event::Sampled(_)) => "sampled",
                Some(Event::Impaired {
                    part: "health",
                    fault: Some(_),
                }) => "impaired",
                Some(Event::Impaired {
                    part: "health",
                    fault: None,
                }) => "recovered",
                None => "end",
                Some(_) => "something else",
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_samples_at_once_and_then_at_every_interval() {
        LocalSet::new()
            .run_until(async {
                let mut stage = Stage::new();
                for (second, asked, answered) in
                    [(1, 1, true), (9, 1, false), (11, 2, true), (21, 3, true)]
                {
                    stage.until(second).await;
                    assert_eq!(stage.asked.get(), asked, "at {second} s");
                    if answered {
                        stage.reply().await;
                        assert_eq!(stage.event().await, "sampled");
                    }
                }
                stage.stop.cancel();
                assert_eq!(stage.event().await, "end");
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_hangs_is_reported_once_and_asked_again_when_it_has_answered() {
        LocalSet::new()
            .run_until(async {
                let mut stage = Stage::new();
                stage.until(4).await;
                assert!(stage.events.try_recv().is_err());
                assert_eq!(stage.event().await, "impaired");
                assert_eq!(stage.start.elapsed(), DEADLINE);
                stage.until(65).await;
                assert!(stage.events.try_recv().is_err(), "reported only once");
                assert_eq!(stage.asked.get(), 1, "not asked while it hangs");
                stage.reply().await;
                assert_eq!(stage.event().await, "sampled");
                assert_eq!(stage.event().await, "recovered");
                stage.until(71).await;
                assert_eq!(stage.asked.get(), 2);
                assert_eq!(stage.event().await, "impaired", "a second time");
            })
            .await;
    }

    /// Says when it begins to read, and then blocks until the test ends.
    struct Hanging(mpsc::Sender<()>, blocking::Receiver<()>);

    impl Probe for Hanging {
        fn sample(&mut self) -> Sample {
            let _ = self.0.blocking_send(());
            let _ = self.1.recv();
            Sample::default()
        }
    }

    #[tokio::test]
    async fn the_sampler_ends_while_its_probe_hangs() {
        let (release, hold) = blocking::channel();
        let (begun, mut reading) = mpsc::channel(1);
        let (sender, mut events) = mpsc::channel(8);
        let stop = CancellationToken::new();
        let sampler = run(Hanging(begun, hold), INTERVAL, sender, stop.clone());
        let end = async {
            assert!(reading.recv().await.is_some());
            stop.cancel();
        };
        let (result, ()) = tokio::join!(sampler, end);
        result.unwrap();
        assert!(events.try_recv().is_err());
        drop(release);
    }

    struct Panicking;

    impl Probe for Panicking {
        fn sample(&mut self) -> Sample {
            panic!("the probe of this test fails on purpose");
        }
    }

    #[tokio::test]
    async fn a_probe_that_panics_is_an_error() {
        let (sender, _events) = mpsc::channel(8);
        let result = run(Panicking, INTERVAL, sender, CancellationToken::new()).await;
        assert!(result.unwrap_err().to_string().contains("has ended"));
    }
}
