//! The pages of hardware/: drawn from the tables of the code, and in step with them.

use std::path::Path;
use std::time::Duration;

use edge_agent_core::indication::{Indication, level};

#[path = "../hardware/pages/card.rs"]
mod card;
#[path = "../hardware/pages/header.rs"]
mod header;
#[path = "../hardware/pages/indications.rs"]
mod indications;
#[path = "../hardware/pages/wiring.rs"]
mod wiring;

fn read(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_pictures_are_those_that_the_code_draws_now() {
    let pictures = wiring::pictures().into_iter().chain([card::picture()]);
    for (name, svg) in pictures {
        let kept = read(&format!("hardware/pictures/{name}"));
        assert!(
            kept == svg,
            "{name} is out of date: cargo run --example hardware_pages"
        );
    }
}

#[test]
fn the_fleet_page_has_the_rhythms_that_the_leds_have_now() {
    let table = indications::table();
    assert!(!table.contains("unnamed"), "a colour without a name");
    let kept = read(indications::PATH);
    assert!(
        kept == table,
        "{} is out of date: cargo run --example hardware_pages",
        indications::PATH
    );
    // One round of each, which is what an LED shows 10 s later as well.
    let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    for indication in Indication::ALL {
        let steps = kept[indication.as_str()]["steps"].as_array().unwrap();
        let length = |step: &serde_json::Value| step[1].as_u64().unwrap();
        let round: u64 = steps.iter().map(length).sum();
        for at in (0..12_000).step_by(10) {
            let mut rest = at % round;
            let mut shown = steps.iter();
            let step = shown.find(|step| match rest.checked_sub(length(step)) {
                Some(left) => {
                    rest = left;
                    false
                }
                None => true,
            });
            let lit = level(indication, Duration::from_millis(at), false) > 0.5;
            assert_eq!(
                step.unwrap()[0].is_string(),
                lit,
                "{indication:?} at {at} ms"
            );
        }
    }
    assert_eq!(kept["rolling_out"]["breath"], 3000);
}

#[test]
fn the_page_shows_every_picture_and_the_settings_that_it_was_drawn_from() {
    let page = read("hardware/README.md");
    for (name, _, settings) in wiring::SETUPS {
        assert!(page.contains(&format!("(pictures/{name})")), "{name}");
        assert!(page.contains(settings), "{name}: {settings}");
    }
    assert!(page.contains("(pictures/card.svg)"));
    let documented = read("config/agent.toml").replace("\n#", "\n");
    for (_, _, settings) in &wiring::SETUPS[1..] {
        assert!(documented.contains(settings), "{settings}");
    }
}

#[test]
fn every_indication_is_told_on_both_pages_in_the_order_of_priority() {
    for name in ["README.md", "hardware/README.md"] {
        let page = read(name);
        let mut last = 0;
        for indication in Indication::ALL {
            let row = format!("\n| `{}` |", indication.as_str());
            // Commands have a table too, before this one.
            let at = match last {
                0 => page.rfind(&row),
                last => page[last..].find(&row).map(|at| last + at),
            };
            last = at.unwrap_or_else(|| panic!("{name}: {row} is missing, or out of order"));
        }
    }
}

#[test]
fn the_header_has_every_gpio_once_and_ground_in_both_columns() {
    let gpios = (0..=27).map(header::place);
    let places: std::collections::BTreeSet<usize> = gpios.collect();
    assert_eq!(places.len(), 28);
    assert_eq!((header::place(17), header::place(5)), (10, 28));
    assert_eq!(header::nearest(header::Pin::Ground, header::place(17)), 8);
    assert_eq!(header::nearest(header::Pin::Ground, header::place(24)), 19);
}
