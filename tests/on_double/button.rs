//! The button on the board, from the wire to the cluster and back to the LEDs.

use std::sync::Mutex;

use edge_agent::clock::Clock;
use edge_agent::led::{NamedLed, Switch};
use edge_agent_core::clock::Now;
use edge_agent_core::indication::Rgb;
use tokio::sync::watch;

use super::*;

/// A clock that the test puts forward while a button is held, because nobody wants to wait for that.
#[derive(Default)]
struct Forward(Mutex<Time>);

#[derive(Default)]
struct Time {
    ahead: Duration,
    /// What it shows as long as only the test moves it.
    stopped: Option<Duration>,
}

impl Forward {
    fn stop(&self) {
        let now = self.now().monotonic;
        self.0.lock().unwrap().stopped = Some(now);
    }

    fn by(&self, ms: u64) {
        let mut time = self.0.lock().unwrap();
        if let Some(shown) = &mut time.stopped {
            *shown += Duration::from_millis(ms);
        }
    }

    /// Goes on from where it is.
    fn go_on(&self) {
        let real = SystemClock::default().now().monotonic;
        let mut time = self.0.lock().unwrap();
        if let Some(shown) = time.stopped.take() {
            time.ahead = shown.saturating_sub(real);
        }
    }
}

impl Clock for Forward {
    fn now(&self) -> Now {
        let now = SystemClock { trusted: true }.now();
        let time = self.0.lock().unwrap();
        Now {
            monotonic: time.stopped.unwrap_or(now.monotonic + time.ahead),
            ..now
        }
    }
}

/// A board with a button and an LED.
struct Board {
    double: Double,
    switch: Switch,
    clock: Arc<Forward>,
    colours: watch::Receiver<Rgb>,
}

impl Board {
    fn start() -> Self {
        let (switch, clock) = (Switch::new(), Arc::new(Forward::default()));
        let led = NamedLed::simulated("deploy");
        let colours = led.colours().unwrap();
        let (wire, time) = (switch.clone(), Arc::clone(&clock));
        let double = Double::start_with(move || Parts {
            clock: time,
            leds: (vec![led], Vec::new()),
            button: Ok(Some(Box::new(wire))),
            ..parts()
        });
        wait(LIMIT, "the button to be watched", || {
            switch.is_watched().then_some(())
        });
        Self {
            double,
            switch,
            clock,
            colours,
        }
    }

    fn wait_indication(&self, wanted: &str) {
        wait(LIMIT, &format!("the LEDs to say {wanted}"), || {
            (self.double.page()["indication"]["indication"] == wanted).then_some(())
        });
    }

    /// The wire has this level for so long. It is told again at the end, as by a bouncing contact, so
    /// that nobody has to wait for the time to be seen.
    fn level(&self, pressed: bool, ms: u64) {
        self.switch.set(pressed);
        self.clock.by(ms);
        self.switch.set(pressed);
    }

    /// Presses the button for 100 ms, so that it counts as pressed; and stops the clock.
    fn press(&self) {
        self.clock.stop();
        self.level(true, 100);
        self.wait_indication("countdown");
    }

    /// Lets it go, and time goes on.
    fn let_go(&self) {
        self.level(false, 100);
        self.clock.go_on();
        // What they say instead depends on how busy this machine is.
        wait(LIMIT, "the LEDs to count no more", || {
            let page = self.double.page();
            (page["indication"]["indication"] != "countdown").then_some(())
        });
    }

    /// Waits for so many flashes of white.
    fn count_flashes(&self, wanted: usize) {
        let mut colours = self.colours.clone();
        let (mut flashes, mut lit) = (0, false);
        wait(LIMIT, "the LED to count down", || {
            let now = colours.borrow_and_update();
            let white = now.red.min(now.green).min(now.blue) > 0.5;
            flashes += usize::from(white && !lit);
            lit = white;
            (flashes == wanted).then_some(())
        });
    }
}

#[test]
fn held_for_five_seconds_it_pins_the_last_change_and_let_go_before_it_does_nothing() {
    let board = Board::start();
    let (shop, good) = Shop::open(&board.double, "held", Sync::Auto);
    // Only what lasts is remembered, and then it is told.
    let wait_told = |revision: &str| {
        wait(LIMIT, "it to be told", || {
            let events = board.double.events("edge.app.state", "held");
            let told = |event: &Value| event["data"]["revision"] == revision;
            events.iter().any(told).then_some(())
        });
    };
    wait_told(&good);
    let bad = shop.push(&Version::good("held-2"));
    shop.wait_state("Healthy", &bad);
    wait_told(&bad);

    board.press();
    board.count_flashes(5);
    board.level(true, 4800);
    board.let_go();
    assert_eq!(shop.object()["spec"]["source"]["targetRevision"], "main");
    assert_eq!(board.double.page()["commands"], json!([]));

    board.press();
    board.level(true, 4900);
    board.wait_indication("rolling_out");
    board.clock.go_on();
    let app = board.double.wait_app("held", "to be held", LIMIT, &|app| {
        app["state"] == "RolledBack" && app["revision"] == good.as_str()
    });
    assert_eq!(shop.object()["spec"]["source"]["targetRevision"], good);
    let hold = &app["hold"];
    assert_eq!(
        (&hold["mode"], &hold["command"]),
        (&json!("pin"), &Value::Null)
    );
    let reason = format!("the button was held; held was Healthy on {bad}");
    assert_eq!(hold["reason"], reason);

    // Held on, it is one order all the same; and there is nothing more to go back to.
    board.clock.stop();
    board.level(true, 6000);
    board.let_go();
    let orders = |board: &Board| board.double.page()["commands"].as_array().unwrap().len();
    assert_eq!(orders(&board), 1);
    board.press();
    board.level(true, 5000);
    board.wait_indication("refused");
    let commands = board.double.page()["commands"].clone();
    let refused = |command: &Value| command["reason"] == "nothing_to_roll_back_to";
    assert!(
        commands.as_array().unwrap().iter().any(refused),
        "{commands}"
    );
}

#[test]
fn a_button_that_cannot_be_had_is_a_fault_and_the_leds_go_on() {
    let led = NamedLed::simulated("deploy");
    let mut colours = led.colours().unwrap();
    let double = Double::start_with(move || Parts {
        leds: (vec![led], Vec::new()),
        button: Err("GPIO 5 cannot be used: denied".to_owned()),
        ..parts()
    });
    wait(LIMIT, "the LED to flash magenta", || {
        let now = *colours.borrow_and_update();
        (now == Rgb::new(1.0, 0.0, 1.0)).then_some(())
    });
    let page = double.page();
    assert_eq!(page["faults"]["button"], "GPIO 5 cannot be used: denied");
}
