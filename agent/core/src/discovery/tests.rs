use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn discovery() -> Discovery {
    Discovery {
        enabled: true,
        prefix: "homeassistant".to_owned(),
        single_component: false,
        page: None,
        identify: true,
    }
}

fn identity() -> wire::Identity {
    wire::Identity {
        v: 1,
        node: "pi-01".to_owned(),
        key: None,
        model: Some("Raspberry Pi 5 Model B Rev 1.0".to_owned()),
        os: None,
        arch: "aarch64".to_owned(),
        agent: "0.1.0".to_owned(),
    }
}

/// What `tell` tells of a node of this name, topic by topic in order; `Null` where a topic is cleared.
fn told(
    node: &str,
    discovery: &Discovery,
    tell: impl FnOnce(&Device<'_>) -> Vec<Effect>,
) -> Vec<(String, Value)> {
    let node = NodeName::new(node).unwrap();
    let identity = identity();
    let device = Device {
        discovery,
        node: &node,
        identity: &identity,
        report_every: Duration::from_secs(300),
    };
    let message = |effect| match effect {
        Effect::RetainAt { topic, payload } if payload.is_empty() => (topic, Value::Null),
        Effect::RetainAt { topic, payload } => (topic, serde_json::from_slice(&payload).unwrap()),
        other => panic!("{other:?}"),
    };
    tell(&device).into_iter().map(message).collect()
}

fn announce(device: &Device<'_>) -> Vec<Effect> {
    device.announce()
}

fn shop(discovery: &Discovery) -> Vec<(String, Value)> {
    told("pi-01", discovery, |it| it.announce_application("shop"))
}

#[test]
fn a_node_is_one_device_and_its_origin_is_told() {
    let messages = told("pi-01", &discovery(), announce);
    let (topic, message) = messages.last().unwrap();
    assert_eq!(topic, "homeassistant/device/pi-01/node/config");
    assert_eq!(message["origin"]["name"], "edge-agent");
    assert_eq!(message["device"]["model"], "Raspberry Pi 5 Model B Rev 1.0");
    assert_eq!(message["device"]["sw_version"], "0.1.0");
    assert_eq!(message["device"]["configuration_url"], Value::Null);
    let components = message["components"].as_object().unwrap();
    let names: Vec<&str> = components.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "api",
            "boot",
            "broker",
            "cpu",
            "disk",
            "health",
            "identify",
            "indication",
            "k3s",
            "memory",
            "outbox",
            "temperature",
            "throttled",
            "undervoltage"
        ]
    );
    for (name, component) in components {
        let away = component["availability"][0]["topic"] == "edge/v1/pi-01/presence";
        assert_eq!(away, name != "broker", "{name}");
        let reads_health = component["state_topic"] == "edge/v1/pi-01/health";
        let expires = component["expire_after"] == 900;
        assert_eq!(reads_health, expires, "{name}");
        assert!(component["platform"].is_string(), "{name}");
    }
    let ids: BTreeSet<&str> = components
        .values()
        .map(|component| component["unique_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), components.len());
    let (shop_topic, shop) = shop(&discovery()).pop().unwrap();
    assert_eq!(shop_topic, "homeassistant/device/pi-01/app-shop/config");
    assert_eq!(
        shop["device"]["identifiers"],
        message["device"]["identifiers"]
    );
    let sensor = &shop["components"]["app-shop"];
    assert_eq!(sensor["state_topic"], "edge/v1/pi-01/app/shop");
    assert_eq!(sensor["options"].as_array().unwrap().len(), 15);
}

#[test]
fn the_page_is_linked_where_others_reach_it() {
    let reachable = Discovery {
        page: Some("http://pi-01.local:9750/".to_owned()),
        ..discovery()
    };
    let (_, message) = told("pi-01", &reachable, announce).pop().unwrap();
    let url = &message["device"]["configuration_url"];
    assert_eq!(url, "http://pi-01.local:9750/");
}

#[test]
fn the_button_is_there_only_where_it_is_obeyed() {
    let button = |identify| {
        let discovery = Discovery {
            identify,
            ..discovery()
        };
        let (_, message) = told("pi-01", &discovery, announce).pop().unwrap();
        message["components"]["identify"].clone()
    };
    // This is how one that was there is taken away.
    assert_eq!(button(false), json!({"platform": "button"}));
    let button = button(true);
    assert_eq!(button["qos"], 1);
    assert_eq!(button["retain"], false);
    // What Home Assistant makes of the template is a command.
    let template = button["command_template"].as_str().unwrap();
    let made = template
        .replace("{% set t = now().timestamp() %}", "")
        .replace("{{ (t * 1000) | int }}", "1795552200000")
        .replace("{{ t | int }}", "1795552200")
        .replace("{{ t | int + 120 }}", "1795552320");
    let allowed = ["identify".to_owned()];
    let read = crate::command::unsigned::UnsignedCommand::read(made.as_bytes(), &allowed).unwrap();
    assert_eq!(read.seconds(), 30);
    assert_eq!(read.command().audience, ["pi-01"]);
}

#[test]
fn the_form_that_is_not_wanted_is_withdrawn_first() {
    let single = Discovery {
        single_component: true,
        ..discovery()
    };
    let one = told("pi-01", &discovery(), announce);
    let many = told("pi-01", &single, announce);
    assert_eq!(one.len(), 15);
    assert_eq!(many.len(), 15);
    let topics = |messages: &[(String, Value)]| -> BTreeSet<String> {
        messages.iter().map(|(topic, _)| topic.clone()).collect()
    };
    assert_eq!(topics(&one), topics(&many));
    assert!(one[..14].iter().all(|(_, message)| message.is_null()));
    assert!(many[0].1.is_null());
    let (topic, message) = &many[1];
    assert_eq!(topic, "homeassistant/sensor/pi-01/health/config");
    assert_eq!(message["device"]["name"], "pi-01");
    assert_eq!(message["origin"]["name"], "edge-agent");
    assert_eq!(message.get("platform"), None);
}

#[test]
fn nothing_is_left_of_what_is_withdrawn() {
    for single_component in [false, true] {
        let on = Discovery {
            single_component,
            ..discovery()
        };
        let off = Discovery {
            enabled: false,
            ..on.clone()
        };
        let tell: [fn(&Device<'_>) -> Vec<Effect>; 2] =
            [announce, |it| it.announce_application("shop")];
        for tell in tell {
            let withdrawn = told("pi-01", &off, tell);
            assert!(withdrawn.iter().all(|(_, message)| message.is_null()));
            let topics: BTreeSet<_> = withdrawn.into_iter().map(|(topic, _)| topic).collect();
            let announced = told("pi-01", &on, tell);
            assert!(announced.iter().all(|(topic, _)| topics.contains(topic)));
        }
        let gone = told("pi-01", &on, |it| it.withdraw_application("shop"));
        assert_eq!(gone.len(), shop(&on).len());
        assert!(gone.iter().all(|(_, message)| message.is_null()));
    }
}

proptest! {
    #[test]
    fn topics_are_as_home_assistant_wants_them_and_of_one_name_alone(
        one in "[A-Za-z0-9._-]{1,64}",
        other in "[A-Za-z0-9._-]{1,64}",
    ) {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        prop_assert!(level(&one).chars().all(allowed));
        prop_assert_eq!(level(&one) == level(&other), one == other);
    }
}
