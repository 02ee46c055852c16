//! What the settings promise as a whole.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::*;
use edge_agent_core::health::{Limits, Thresholds};

const DOCUMENTED: &str = include_str!("../../config/agent.toml");

fn environment() -> Environment {
    Environment {
        host_name: Some("pi-01".to_owned()),
        state_directory: Some(PathBuf::from("/var/lib/edge-agent")),
        runtime_directory: Some(PathBuf::from("/run/edge-agent")),
        credentials_directory: Some(PathBuf::from("/run/credentials/edge-agent.service")),
        ..Environment::default()
    }
}

fn parse(text: &str) -> Result<Config, Faults> {
    Config::parse(text, Path::new("agent.toml"), &environment())
}

fn told(text: &str) -> String {
    parse(text).map_or_else(|faults| faults.to_string(), |_| "no faults".to_owned())
}

/// Takes the `#` from every line that holds a setting.
fn uncommented(text: &str) -> String {
    let setting = |line: &str| {
        line.strip_prefix('#')
            .is_some_and(|rest| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()))
    };
    text.lines()
        .map(|line| if setting(line) { &line[1..] } else { line })
        .fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn the_documented_defaults_are_those_of_the_code() {
    let block = |block: &str| match block.contains("No default") {
        true => block.to_owned(),
        false => uncommented(block),
    };
    let text = DOCUMENTED
        .split("\n\n")
        .map(block)
        .collect::<Vec<_>>()
        .join("\n");
    let mut documented = parse(&text).unwrap();
    // The pattern `*` stands there to have a place for its keys; it changes nothing.
    assert!(
        documented
            .applications
            .values()
            .all(|own| *own == ApplicationSettings::default())
    );
    documented.applications.clear();
    assert_eq!(documented, parse("").unwrap());
    assert!(text.contains("keep_alive_seconds = 30"), "{text}");
}

#[test]
fn the_documented_file_is_the_default_as_it_stands() {
    assert_eq!(parse(DOCUMENTED).unwrap(), parse("").unwrap());
}

#[test]
fn every_key_is_documented_and_every_documented_key_is_known() {
    // The files for TLS are documented beside a default that has no TLS.
    let text = uncommented(DOCUMENTED).replace("\"mqtt://", "\"mqtts://");
    let (config, found) = parse::read(&text, Path::new("agent.toml"), &environment());
    assert_eq!(found.faults, []);
    let missing: Vec<_> = found.keys.iter().filter(|(_, there)| !**there).collect();
    assert!(missing.is_empty(), "not documented: {missing:?}");
    let leds = config.unwrap().led;
    let kinds: HashSet<_> = leds.values().map(std::mem::discriminant).collect();
    assert_eq!(kinds.len(), 4, "each kind of LED is documented");
}

#[test]
fn all_faults_are_told_at_once_and_by_line() {
    let faults = told(
        r#"
nod = "x"
[mqtt]
url = "mqtt://pi:secret@broker"
keep_alive_seconds = 2
username = "pi"
session_expiry_seconds = "long"
[health.thresholds.disk_used]
warning = 90
[led.a]
kind = "gpio"
pin = 17
[led.b]
kind = "rgb"
red = 17
green = 40
[button]
gpio = 17
action = "reboot"
[log]
level = "loud"
"#,
    );
    expect_test::expect![[r#"
        agent.toml:2: nod: unknown key; did you mean node?
        agent.toml:4: mqtt.url: holds a user name or password; use mqtt.username and mqtt.password_file, because secrets stand in files of their own
        agent.toml:5: mqtt.keep_alive_seconds: 2 is out of range; allowed is 5 to 3600
        agent.toml:6: mqtt.username: needs password_file beside it
        agent.toml:7: mqtt.session_expiry_seconds: must be an integer, not a string
        agent.toml:9: health.thresholds.disk_used.warning: 90 is out of range; allowed is 0 to 1
        agent.toml:13: led.b.blue: is missing; it is the BCM number of a pin
        agent.toml:15: led.b.red: GPIO 17 is taken by led.a.pin
        agent.toml:16: led.b.green: 40 is out of range; allowed is 0 to 27
        agent.toml:18: button.gpio: GPIO 17 is taken by led.a.pin
        agent.toml:19: button.action: "reboot" is not one of rollback
        agent.toml:21: log.level: "loud" is not one of error, warn, info, debug, trace"#]]
    .assert_eq(&faults);
    assert!(!faults.contains("secret@"), "{faults}");
}

#[test]
fn contradictions_are_faults() {
    let cases = [
        (
            "[mqtt]\nurl=\"mqtts://b\"\ncert_file=\"c\"",
            "agent.toml:3: mqtt.cert_file: needs key_file",
        ),
        (
            "[mqtt]\nurl=\"mqtts://b\"\nkey_file=\"k\"",
            "agent.toml:3: mqtt.key_file: needs cert_file",
        ),
        (
            "[mqtt]\npassword_file=\"p\"",
            "agent.toml:2: mqtt.password_file: needs username",
        ),
        (
            "[mqtt]\nca_file=\"c\"",
            "agent.toml:2: mqtt.ca_file: is for TLS",
        ),
        (
            "health.thresholds.cpu_usage.critical = 0.5",
            "agent.toml:1: health.thresholds.cpu_usage.critical: 0.5 is below warning (0.9)",
        ),
        (
            "[health]\ninterval_seconds = 600",
            "agent.toml:2: health.report_seconds: 300 is below health.interval_seconds (600)",
        ),
        (
            "[led.a]\nkind=\"rgb\"\nred=1\ngreen=1\nblue=2",
            "agent.toml:4: led.a.green: GPIO 1 is taken by led.a.red",
        ),
        (
            "[led.a]\nkind=\"kernel\"\nname=\"ACT\"\n[led.b]\nkind=\"kernel\"\nname=\"ACT\"",
            "agent.toml:6: led.b.name: \"ACT\" is taken by led.a",
        ),
        (
            "cluster.namespaces = [\"a\",\n\"a\"]",
            "agent.toml:2: cluster.namespaces: \"a\" is listed twice",
        ),
        (
            "cluster.namespaces = []",
            "agent.toml:1: cluster.namespaces: is empty",
        ),
    ];
    for (text, fault) in cases {
        let faults = told(text);
        assert!(faults.starts_with(fault), "{text}\n{faults}");
        assert_eq!(faults.lines().count(), 1, "{text}\n{faults}");
    }
}

#[test]
fn values_of_the_wrong_kind_are_faults() {
    each_has_one_fault(&[
        ("node = \"a/b\"", "node: \"a/b\" cannot name a node"),
        ("node = 3", "node: must be a string, not an integer"),
        ("mqtt = 3", "mqtt: must be a table, not an integer"),
        (
            "[[mqtt]]\nurl = \"mqtt://a\"",
            "mqtt: must be a table, not an array",
        ),
        ("state_directory = \"\"", "state_directory: is empty"),
        ("mqtt.keep_alive_seconds = -1", "-1 is out of range"),
        (
            "mqtt.keep_alive_seconds = 99999999999999999999999",
            "is out of range",
        ),
        (
            "mqtt.keep_alive_seconds = 7.5",
            "must be an integer, not a float",
        ),
        (
            "health.thresholds.cpu_usage.warning = nan",
            "nan is out of range",
        ),
        (
            "health.thresholds.cpu_usage.warning = \"hot\"",
            "must be a number, not a string",
        ),
        (
            "cluster.enabled = 1",
            "must be true or false, not an integer",
        ),
    ]);
}

#[test]
fn values_that_make_no_sense_are_faults() {
    each_has_one_fault(&[
        (
            "cluster.namespaces = [\"Argo CD\"]",
            "is not the name of a namespace",
        ),
        (
            "cluster.security_hooks = [3]",
            "must hold strings only, not an integer",
        ),
        (
            "applications.\"a/b\".auto_rollback = true",
            "applications.\"a/b\": is not a pattern",
        ),
        ("[led.a]\npin = 4", "led.a.kind: is missing"),
        (
            "led.a.kind = \"laser\"",
            "\"laser\" is not one of gpio, rgb, kernel, simulated",
        ),
        (
            "[led.a]\nkind = \"gpio\"\npin = 4\nred = 5",
            "led.a.red: unknown key",
        ),
        (
            "[led.a]\nkind = \"kernel\"\nname = \"../x\"",
            "must be the plain name",
        ),
        ("http.listen = \"9750\"", "must be ADDRESS:PORT"),
        (
            "commands.keyring = \"credential:../x\"",
            "a credential is named",
        ),
        (
            "node = \"a\"\nnode = \"b\"",
            "agent.toml:2: node: is given twice",
        ),
        ("[mqtt", "agent.toml:1: unclosed table"),
    ]);
}

fn each_has_one_fault(cases: &[(&str, &str)]) {
    for (text, fault) in cases {
        let faults = told(text);
        assert!(faults.contains(fault), "{text}\n{faults}");
        assert_eq!(faults.lines().count(), 1, "{text}\n{faults}");
    }
}

#[test]
fn the_host_name_is_the_default_and_must_do() {
    assert_eq!(parse("").unwrap().node.as_str(), "pi-01");
    assert_eq!(parse("node = \"other\"").unwrap().node.as_str(), "other");
    let odd = Environment {
        host_name: Some("my host".to_owned()),
        ..environment()
    };
    let faults = Config::parse("", Path::new("agent.toml"), &odd).unwrap_err();
    assert_eq!(
        faults.to_string(),
        "agent.toml: node: is not set, and the host name will not do: \"my host\" cannot name a node: \
         1 to 64 letters, digits, dots, underscores and hyphens can"
    );
    assert!(Config::parse("node = \"x\"", Path::new("agent.toml"), &odd).is_ok());
}

#[test]
fn paths_are_relative_to_the_file_and_credentials_to_their_directory() {
    let text = "[mqtt]\nusername=\"u\"\npassword_file=\"credential:mqtt-password\"\n\
                [commands]\nkeyring=\"keyring.toml\"";
    let source = Path::new("/etc/edge-agent/agent.toml");
    let config = Config::parse(text, source, &environment()).unwrap();
    assert_eq!(
        config.mqtt.password_file,
        Some(PathBuf::from(
            "/run/credentials/edge-agent.service/mqtt-password"
        ))
    );
    assert_eq!(
        config.commands.keyring,
        Some(PathBuf::from("/etc/edge-agent/keyring.toml"))
    );

    let by_hand = Environment {
        credentials_directory: None,
        ..environment()
    };
    let faults = Config::parse(text, source, &by_hand).unwrap_err();
    assert!(
        faults
            .to_string()
            .contains("LoadCredential=mqtt-password:FILE"),
        "{faults}"
    );
}

#[test]
fn the_glob_with_the_most_plain_characters_counts() {
    let text = "[applications.\"*\"]\n[applications.\"shop-*\"]\nauto_rollback = true\n\
                [applications.shop-legacy]\nauto_rollback = false";
    let globs = parse(text).unwrap().auto_rollback();
    let of = |name: &str| {
        globs
            .iter()
            .find(|(glob, _)| glob.matches(name))
            .map(|(_, on)| *on)
    };
    assert_eq!(of("shop-web"), Some(true));
    assert_eq!(of("shop-legacy"), Some(false));
    assert_eq!(of("blog"), Some(false));
}

#[test]
fn a_missing_file_is_a_fault_only_when_it_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("agent.toml");
    let faults = Config::load(Some(&missing), &environment()).unwrap_err();
    assert!(
        faults.to_string().contains("cannot be read: No such file"),
        "{faults}"
    );
    let config = Config::load_file(&missing, true, &environment()).unwrap();
    assert_eq!(config, parse("").unwrap());
}

#[test]
fn the_files_that_are_named_are_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.toml");
    let text = "[mqtt]\nusername = \"pi\"\npassword_file = \"password\"\nurl = 3\n\
                [commands]\nkeyring = \"none.toml\"\n";
    std::fs::write(&file, text).unwrap();
    let password = directory.path().join("password");
    std::fs::write(&password, "hunter2").unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o644)).unwrap();

    let faults = Config::load(Some(&file), &environment()).unwrap_err();
    let lines: Vec<_> = faults.as_slice().iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [Some(3), Some(4), Some(6)], "{faults}");
    assert!(
        faults.to_string().contains("can be read by everyone"),
        "{faults}"
    );
    assert!(faults.to_string().contains("does not exist"), "{faults}");
    assert!(!faults.to_string().contains("hunter2"), "{faults}");
}

#[test]
fn a_file_that_is_no_settings_file_is_a_fault() {
    let directory = tempfile::tempdir().unwrap();
    let told = |name: &str, bytes: &[u8]| {
        let file = directory.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        Config::load(Some(&file), &environment())
            .unwrap_err()
            .to_string()
    };
    assert!(told("latin", b"node = \"a\"\n# caf\xe9\n").contains("line 2 is not UTF-8"));
    let huge = vec![b'#'; usize::try_from(MAX_FILE_BYTES).unwrap() + 1];
    assert!(told("huge", &huge).contains("larger than"));
}

fn limits(range: std::ops::Range<f64>) -> impl Strategy<Value = Limits> {
    (range.clone(), range).prop_map(|(one, other)| Limits {
        warning: one.min(other),
        critical: one.max(other),
    })
}

fn any_led() -> impl Strategy<Value = Led> {
    prop_oneof![
        any::<bool>().prop_map(|active_low| Led::Gpio {
            pin: 4,
            active_low,
            pwm: Pwm::Off
        }),
        any::<bool>().prop_map(|active_low| Led::Rgb {
            red: 17,
            green: 27,
            blue: 22,
            active_low,
            pwm: Pwm::Software,
        }),
        "[a-zA-Z0-9:_\"\\\\é-]{1,12}".prop_map(|name| Led::Kernel { name }),
        Just(Led::Simulated),
    ]
}

prop_compose! {
    fn any_thresholds()(
        temperature_celsius in limits(-50.0..150.0),
        cpu_usage in limits(0.0..1.0),
        memory_used in limits(0.0..1.0),
        memory_pressure in limits(0.0..1.0),
        disk_used in limits(0.0..1.0),
        storage_life_used in limits(0.0..1.0),
    ) -> Thresholds {
        Thresholds { temperature_celsius, cpu_usage, memory_used, memory_pressure, disk_used, storage_life_used }
    }
}

prop_compose! {
    fn any_config()(
        thresholds in any_thresholds(),
        host in "[a-z][a-z0-9.]{0,12}",
        port in 1_u16..,
        tls: bool,
        login in proptest::option::of("[^\\x00]{1,12}"),
        keep_alive_seconds in 5_u16..=3600,
        session_expiry_seconds: u32,
        file in proptest::option::of("/[a-z \"'\n\t\\\\é]{1,12}"),
        rollback in proptest::option::of(any::<bool>()),
        led in proptest::option::of(any_led()),
        button in proptest::option::of((any::<bool>(), prop::sample::select(&Pull::ALL[..]))),
        listen in proptest::option::of(any::<std::net::SocketAddrV4>()),
        max_bytes in 65_536_u64..=1 << 40,
        level in 0_usize..5,
    ) -> Config {
        let file = file.map(PathBuf::from);
        let mut config = parse("").unwrap();
        config.health.thresholds = thresholds;
        config.mqtt = Mqtt {
            host,
            port,
            tls,
            ca_file: file.clone().filter(|_| tls),
            cert_file: file.clone().filter(|_| tls),
            key_file: file.clone().filter(|_| tls),
            password_file: login.as_ref().map(|_| PathBuf::from("/password")),
            username: login,
            keep_alive_seconds,
            session_expiry_seconds,
        };
        config.cluster.kubeconfig = file.clone();
        config.commands.keyring = file;
        config.applications = rollback
            .map(|auto_rollback| ("shop-*".to_owned(), ApplicationSettings { auto_rollback }))
            .into_iter()
            .collect();
        config.led = led.map(|led| ("front".to_owned(), led)).into_iter().collect();
        config.button = button.map(|(active_low, pull)| Button { gpio: 5, active_low, pull });
        config.http.listen = listen.map(Into::into);
        config.outbox.max_bytes = max_bytes;
        config.log.level = Level::ALL[level];
        config
    }
}

proptest! {
    #[test]
    fn any_text_is_settings_or_faults(text in ".{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn any_value_of_any_key_is_settings_or_faults(
        line in 0_usize..120, value in r#"[-0-9a-z"'\[\]{}.= \n]{0,20}"#,
    ) {
        let text = uncommented(DOCUMENTED);
        let broken: String = text
            .lines()
            .enumerate()
            .map(|(index, own)| match own.split_once(" = ") {
                Some((name, _)) if index == line => format!("{name} = {value}\n"),
                _ => format!("{own}\n"),
            })
            .collect();
        if let Err(faults) = parse(&broken) {
            prop_assert!(!faults.as_slice().is_empty());
            prop_assert_eq!(faults.to_string().lines().count(), faults.as_slice().len());
        }
    }

    #[test]
    fn printed_settings_read_back_as_the_same(config in any_config()) {
        let text = config.to_toml();
        let again = parse(&text);
        prop_assert_eq!(again, Ok(config), "{}", text);
    }
}
