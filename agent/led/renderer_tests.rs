use super::super::Led;
use super::*;
use edge_agent_core::indication::Rgb;
use std::io;
use std::sync::{Arc, Mutex};
use tokio::time::sleep;

/// What was drawn, as `ms:level` from the start, `ms:fail`, and `release`.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, entry: String) {
        self.0.lock().unwrap().push(entry);
    }

    fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap()).join(" ")
    }
}

/// An LED that writes down when it is drawn, and fails while `broken` says so.
struct Recording {
    start: Instant,
    log: Log,
    broken: Arc<Mutex<bool>>,
    can_dim: bool,
}

impl Led for Recording {
    fn can_dim(&self) -> bool {
        self.can_dim
    }

    fn draw(&mut self, _colour: Rgb, level: f32) -> io::Result<()> {
        let at = self.start.elapsed().as_millis();
        if *self.broken.lock().unwrap() {
            self.log.add(format!("{at}:fail"));
            return Err(io::Error::other("the wire is cut"));
        }
        self.log.add(format!("{at}:{level}"));
        Ok(())
    }

    fn release(&mut self) {
        self.log.add("release".to_owned());
    }
}

struct Stage {
    log: Log,
    broken: Arc<Mutex<bool>>,
    show: watch::Sender<Indication>,
    events: mpsc::Receiver<Event>,
    start: Instant,
}

impl Stage {
    /// Lets the time pass up to so many milliseconds after the start, and says what was drawn.
    async fn until(&self, ms: u64) -> String {
        let end = self.start + Duration::from_millis(ms);
        sleep(end.saturating_duration_since(Instant::now())).await;
        self.log.take()
    }

    fn fault(&mut self) -> Option<Option<String>> {
        match self.events.try_recv().ok()? {
            Event::Impaired { part: "led", fault } => Some(fault),
            other => panic!("unexpected {other:?}"),
        }
    }
}

/// Plays a scenario beside a renderer with one LED, and says what was drawn at the end of it.
async fn play<F>(
    first: Indication,
    can_dim: bool,
    room: usize,
    scenario: impl FnOnce(Stage) -> F,
) -> String
where
    F: Future<Output = ()>,
{
    let (show, indication) = watch::channel(first);
    let (sender, events) = mpsc::channel(room);
    let stage = Stage {
        log: Log::default(),
        broken: Arc::default(),
        show,
        events,
        start: Instant::now(),
    };
    let log = stage.log.clone();
    let led = Recording {
        start: stage.start,
        log: log.clone(),
        broken: Arc::clone(&stage.broken),
        can_dim,
    };
    let stop = CancellationToken::new();
    let leds = vec![NamedLed::new("deploy", Box::new(led))];
    let renderer = run(leds, indication, sender, stop.clone());
    let scenario = async {
        // A millisecond off the beat, so that what happens at a beat has happened.
        scenario(stage).await;
        stop.cancel();
    };
    let (result, ()) = tokio::join!(renderer, scenario);
    result.unwrap();
    log.take()
}

#[tokio::test(start_paused = true)]
async fn it_draws_at_the_changes_and_at_no_other_time() {
    let end = play(Indication::GateFailed, false, 1, |stage| async move {
        assert_eq!(
            stage.until(2601).await,
            "0:1 150:0 400:1 550:0 800:1 950:0 2200:1 2350:0 2600:1"
        );
    })
    .await;
    assert_eq!(end, "release");
}

#[tokio::test(start_paused = true)]
async fn it_idles_while_the_indication_is_steady_and_starts_each_rhythm_at_its_beginning() {
    play(Indication::Healthy, false, 1, |stage| async move {
        assert_eq!(stage.until(3_600_123).await, "0:1");
        stage.show.send(Indication::DeployFailed).unwrap();
        assert_eq!(
            stage.until(3_600_700).await,
            "3600123:1 3600373:0 3600623:1"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_same_indication_again_does_not_disturb_the_rhythm() {
    play(Indication::Offline, false, 1, |stage| async move {
        assert_eq!(stage.until(501).await, "0:1");
        stage.show.send(Indication::Offline).unwrap();
        assert_eq!(stage.until(2001).await, "501:1 1000:0 2000:1");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_led_that_dims_breathes_in_steps_of_forty_milliseconds() {
    play(Indication::RollingOut, true, 1, |stage| async move {
        let drawn = stage.until(3_001).await;
        let drawn: Vec<(u64, f32)> = drawn
            .split(' ')
            .filter_map(|entry| entry.split_once(':'))
            .map(|(at, level)| (at.parse().unwrap(), level.parse().unwrap()))
            .collect();
        assert_eq!(drawn.len(), 76);
        assert!(drawn.windows(2).all(|pair| pair[1].0 - pair[0].0 == 40));
        assert!(drawn.iter().any(|(_, level)| *level > 0.99));
        assert!(drawn.iter().any(|(_, level)| *level < 0.05));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_led_that_fails_is_told_once_and_tried_again_every_minute() {
    play(Indication::OutOfSync, false, 1, |mut stage| async move {
        assert_eq!(stage.until(50).await, "0:1");
        *stage.broken.lock().unwrap() = true;
        assert_eq!(
            stage.until(120_500).await,
            "100:fail 60100:fail 120100:fail"
        );
        let fault = "LED deploy: the wire is cut".to_owned();
        assert_eq!(stage.fault(), Some(Some(fault)));
        assert_eq!(stage.fault(), None);
        *stage.broken.lock().unwrap() = false;
        assert_eq!(stage.until(181_050).await, "180100:0 181000:1");
        assert_eq!(stage.fault(), Some(None));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_finds_no_room_is_told_later_and_does_not_stop_the_leds() {
    play(Indication::Healthy, false, 1, |mut stage| async move {
        stage.until(1).await;
        *stage.broken.lock().unwrap() = true;
        stage.show.send(Indication::OutOfSync).unwrap();
        stage.until(2).await;
        // The fault fills the only place, and so the recovery has none.
        *stage.broken.lock().unwrap() = false;
        assert_eq!(stage.until(61_000).await, "60001:1 60101:0");
        assert!(matches!(stage.fault(), Some(Some(_))));
        stage.until(63_000).await;
        assert_eq!(stage.fault(), Some(None));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_simulated_led_shows_its_colour_and_ends_dark() {
    let led = NamedLed::simulated("deploy");
    let colours = led.colours().unwrap();
    let (_show, indication) = watch::channel(Indication::Healthy);
    let (sender, _events) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let renderer = run(vec![led], indication, sender, stop.clone());
    let watching = async {
        let mut colours = colours.clone();
        colours.changed().await.unwrap();
        assert_eq!(*colours.borrow(), Rgb::new(0.0, 1.0, 0.0));
        stop.cancel();
    };
    let (result, ()) = tokio::join!(renderer, watching);
    result.unwrap();
    assert_eq!(*colours.borrow(), Rgb::BLACK);
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_nobody_decides_any_more_what_to_show() {
    let (show, indication) = watch::channel(Indication::Offline);
    let (sender, _events) = mpsc::channel(1);
    drop(show);
    let led = NamedLed::simulated("deploy");
    let result = run(vec![led], indication, sender, CancellationToken::new()).await;
    assert!(result.is_ok());
}
