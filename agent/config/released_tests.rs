//! What is read when the service has ended: the LEDs, and nothing else.

use std::path::Path;

use super::*;

fn environment() -> Environment {
    Environment {
        host_name: Some("pi-01".to_owned()),
        ..Environment::default()
    }
}

/// The credentials are gone with the service, and somebody has made a mistake meanwhile.
#[test]
fn the_leds_are_read_whatever_else_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let under_systemd = Environment {
        state_directory: Some(PathBuf::from("/var/lib/edge-agent")),
        ..environment()
    };
    let file = directory.path().join("agent.toml");
    let text = "nonsense = 1\n[mqtt]\nusername = \"pi-01\"\n\
                password_file = \"credential:mqtt-password\"\n[led.deploy]\nkind = \"gpio\"\npin = 17\n";
    std::fs::write(&file, text).unwrap();
    assert!(Config::load(Some(&file), &environment()).is_err());
    let leds = Config::load_leds(Some(&file), &environment()).unwrap();
    let expected = "[led.deploy]\nkind = \"gpio\"\npin = 17\n";
    let expected = Config::parse(expected, Path::new("agent.toml"), &under_systemd).unwrap();
    assert_eq!(leds, expected.led);
    assert_eq!(leds.len(), 1);
    std::fs::write(&file, "not = = toml").unwrap();
    let leds = Config::load_leds(Some(&file), &environment()).unwrap();
    assert!(leds.is_empty());
    let missing = directory.path().join("missing");
    assert!(Config::load_leds(Some(&missing), &environment()).is_err());
}
