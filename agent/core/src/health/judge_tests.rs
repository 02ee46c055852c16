use super::*;
use crate::health::{Interface, K3s, KubernetesView, Pods};
use proptest::prelude::*;

#[path = "judge_tests/surroundings.rs"]
mod surroundings;

fn at(seconds: u64) -> Now {
    Now {
        wall: jiff::Timestamp::UNIX_EPOCH,
        monotonic: Duration::from_secs(seconds),
        synchronized: true,
    }
}

fn judge() -> Judge {
    Judge::new(Thresholds::DEFAULT)
}

fn disk(available: u64, read_only: bool) -> Disk {
    Disk {
        mount: "/".to_owned(),
        total: 1000,
        available,
        inodes: None,
        read_only,
    }
}

/// What a judge says of one sample, as `status: check message; …`.
fn said(judge: &mut Judge, sample: &Sample, seconds: u64) -> String {
    let judgement = judge.judge(sample, at(seconds));
    let reasons: Vec<_> = judgement
        .reasons
        .iter()
        .map(|r| format!("{} {}: {}", r.check, r.status.as_str(), r.message))
        .collect();
    format!("{}|{}", judgement.status.as_str(), reasons.join("|"))
}

fn temperature(celsius: f64) -> Sample {
    Sample {
        temperature_celsius: Some(celsius),
        ..Sample::default()
    }
}

#[test]
fn a_sample_without_any_value_is_ok() {
    assert_eq!(said(&mut judge(), &Sample::default(), 0), "ok|");
}

#[test]
fn the_temperature_leaves_a_status_three_degrees_below_its_limit() {
    let mut judge = judge();
    let story = [
        (74.9, "ok|"),
        (
            75.0,
            "warning|temperature_celsius warning: temperature 75.0 °C, warning from 75 °C",
        ),
        (
            83.14,
            "critical|temperature_celsius critical: temperature 83.1 °C, critical from 82 °C",
        ),
        (
            79.5,
            "critical|temperature_celsius critical: temperature 79.5 °C, critical from 82 °C until 79 °C",
        ),
        (
            79.0,
            "warning|temperature_celsius warning: temperature 79.0 °C, warning from 75 °C",
        ),
        (
            72.1,
            "warning|temperature_celsius warning: temperature 72.1 °C, warning from 75 °C until 72 °C",
        ),
        (72.0, "ok|"),
        (74.9, "ok|"),
    ];
    for (celsius, expected) in story {
        assert_eq!(said(&mut judge, &temperature(celsius), 0), expected);
    }
}

#[test]
fn a_value_that_could_not_be_read_ends_its_reason() {
    let mut judge = judge();
    judge.judge(&temperature(90.0), at(0));
    assert_eq!(said(&mut judge, &Sample::default(), 10), "ok|");
    assert_eq!(said(&mut judge, &temperature(f64::NAN), 20), "ok|");
    assert_eq!(
        said(&mut judge, &temperature(80.0), 30).split('|').next(),
        Some("warning")
    );
}

#[test]
fn the_cpu_counts_only_after_a_minute_without_a_pause() {
    let mut judge = judge();
    let mut status = |usage: f64, seconds| {
        let sample = Sample {
            cpu_usage: Some(usage),
            ..Sample::default()
        };
        judge.judge(&sample, at(seconds)).status
    };
    assert_eq!(status(1.0, 0), Status::Ok);
    assert_eq!(status(1.0, 50), Status::Ok);
    assert_eq!(status(0.5, 59), Status::Ok);
    assert_eq!(status(0.95, 60), Status::Ok);
    assert_eq!(status(1.0, 70), Status::Ok);
    // A minute above the warning, but only 50 s above critical.
    assert_eq!(status(1.0, 120), Status::Warning);
    assert_eq!(status(1.0, 130), Status::Critical);
    // Critical is left at 0.98 - 5 % = 0.931, the warning at 0.855.
    assert_eq!(status(0.94, 140), Status::Critical);
    assert_eq!(status(0.92, 150), Status::Warning);
    assert_eq!(status(0.86, 160), Status::Warning);
    assert_eq!(status(0.85, 170), Status::Ok);
}

#[test]
fn memory_in_use_is_judged_with_a_margin() {
    let mut judge = judge();
    let mut said = |available| {
        let sample = Sample {
            memory_total: Some(1000),
            memory_available: Some(available),
            ..Sample::default()
        };
        said(&mut judge, &sample, 0)
    };
    assert_eq!(said(101), "ok|");
    assert_eq!(
        said(100),
        "warning|memory warning: memory 90 % used, warning from 90 %"
    );
    assert_eq!(
        said(25),
        "critical|memory critical: memory 97.5 % used, critical from 97 %"
    );
    assert_eq!(
        said(144),
        "warning|memory warning: memory 85.6 % used, warning from 90 % until 85.5 %"
    );
    assert_eq!(said(145), "ok|");
}

#[test]
fn a_disk_is_judged_by_fullness_and_by_losing_its_writability() {
    let mut judge = judge();
    let mut said = |disks: Vec<Disk>| {
        let sample = Sample {
            disks,
            ..Sample::default()
        };
        said(&mut judge, &sample, 0)
    };
    assert_eq!(said(vec![disk(151, false)]), "ok|");
    assert_eq!(
        said(vec![disk(38, false)]),
        "critical|disk:/ critical: / is 96.2 % full, critical from 95 %"
    );
    assert_eq!(
        said(vec![disk(38, true)]),
        "critical|disk:/ critical: / has become read-only, which is how a failing disk ends; / is 96.2 % full, critical from 95 %"
    );
    assert_eq!(said(vec![]), "ok|");
}

#[test]
fn a_disk_that_was_always_read_only_is_no_reason_unless_it_is_the_root() {
    let mount = |mount: &str, read_only| Disk {
        mount: mount.to_owned(),
        ..disk(900, read_only)
    };
    let status = |judge: &mut Judge, disk| {
        let sample = Sample {
            disks: vec![disk],
            ..Sample::default()
        };
        judge.judge(&sample, at(0)).status
    };
    let mut judge = judge();
    assert_eq!(status(&mut judge, mount("/data", true)), Status::Ok);
    assert_eq!(status(&mut judge, mount("/data", false)), Status::Ok);
    assert_eq!(status(&mut judge, mount("/data", true)), Status::Critical);
    assert_eq!(status(&mut judge, mount("/", true)), Status::Critical);
}

#[test]
fn an_undervoltage_is_remembered_for_a_day() {
    const DAY: u64 = 24 * 60 * 60;
    let power = |now, since_boot| Sample {
        power: Power {
            undervoltage: Some(now),
            undervoltage_since_boot: Some(since_boot),
            ..Power::default()
        },
        ..Sample::default()
    };
    let mut judge = judge();
    assert_eq!(said(&mut judge, &power(false, false), 0), "ok|");
    assert_eq!(
        said(&mut judge, &power(true, true), 10),
        "warning|undervoltage warning: undervoltage: the power supply or its cable is too weak"
    );
    assert_eq!(
        judge.judge(&power(false, true), at(DAY + 9)).status,
        Status::Warning
    );
    assert_eq!(
        judge.judge(&power(false, true), at(DAY + 10)).status,
        Status::Ok
    );
    // That the board still remembers it does not start another day.
    assert_eq!(
        judge.judge(&power(false, true), at(DAY + 20)).status,
        Status::Ok
    );
    assert_eq!(
        judge.judge(&power(true, true), at(DAY + 30)).status,
        Status::Warning
    );
}

#[test]
fn throttling_warns_only_while_it_lasts() {
    let throttled = |now| Sample {
        power: Power {
            throttled: Some(now),
            throttled_since_boot: Some(true),
            ..Power::default()
        },
        ..Sample::default()
    };
    let mut judge = judge();
    assert_eq!(
        judge.judge(&throttled(true), at(0)).reasons[0].check,
        "throttled"
    );
    assert_eq!(judge.judge(&throttled(false), at(1)).status, Status::Ok);
}

#[test]
fn storage_wears_out_in_two_steps() {
    let life = |used| Sample {
        storage_device: Some("mmcblk0".to_owned()),
        storage_life_used: Some(used),
        ..Sample::default()
    };
    let mut judge = judge();
    assert_eq!(said(&mut judge, &life(0.7), 0), "ok|");
    assert_eq!(
        said(&mut judge, &life(0.8), 0),
        "warning|storage_life_used warning: mmcblk0 has used 80 % of its rated life, warning from 80 %"
    );
    assert_eq!(judge.judge(&life(1.0), at(0)).status, Status::Critical);
}

#[test]
fn a_clock_may_be_wrong_for_ten_minutes_after_the_start() {
    let clock = |synchronized, uptime| Sample {
        clock_synchronized: synchronized,
        uptime_seconds: uptime,
        ..Sample::default()
    };
    let mut judge = judge();
    assert_eq!(
        judge.judge(&clock(Some(false), Some(600)), at(0)).status,
        Status::Ok
    );
    assert_eq!(
        judge.judge(&clock(Some(false), Some(601)), at(1)).status,
        Status::Warning
    );
    assert_eq!(
        judge.judge(&clock(None, Some(601)), at(2)).status,
        Status::Ok
    );
    assert_eq!(
        judge.judge(&clock(Some(true), Some(601)), at(3)).status,
        Status::Ok
    );
    // Without an uptime, from when it was first seen.
    assert_eq!(
        judge.judge(&clock(Some(false), None), at(10)).status,
        Status::Ok
    );
    assert_eq!(
        judge.judge(&clock(Some(false), None), at(610)).status,
        Status::Ok
    );
    assert_eq!(
        judge.judge(&clock(Some(false), None), at(611)).status,
        Status::Warning
    );
}

#[test]
fn the_worst_reason_comes_first_and_gives_the_status() {
    let sample = Sample {
        temperature_celsius: Some(76.0),
        disks: vec![disk(0, false)],
        power: Power {
            undervoltage: Some(true),
            ..Power::default()
        },
        ..Sample::default()
    };
    let judgement = judge().judge(&sample, at(0));
    let checks: Vec<_> = judgement.reasons.iter().map(|r| r.check.as_str()).collect();
    assert_eq!(checks, ["disk:/", "temperature_celsius", "undervoltage"]);
    assert_eq!(judgement.status, Status::Critical);
}

prop_compose! {
    fn any_sample()(
        floats in proptest::array::uniform4(proptest::option::of(proptest::num::f64::ANY)),
        numbers in proptest::array::uniform4(proptest::option::of(any::<u64>())),
        flags in proptest::array::uniform8(proptest::option::of(any::<bool>())),
        disks in proptest::collection::vec(("[/a-e]{0,3}", any::<u64>(), any::<u64>(), any::<bool>()), 0..4),
        interfaces in proptest::collection::vec(("[ab]", any::<Option<bool>>(), any::<Option<u64>>(), any::<Option<u64>>()), 0..3),
        more in (proptest::option::of(proptest::num::f64::ANY), any::<Option<u64>>(), any::<Option<bool>>(), any::<Option<u32>>()),
    ) -> Sample {
        Sample {
            cpu_usage: floats[0],
            load1: floats[1],
            temperature_celsius: floats[2],
            storage_life_used: floats[3],
            memory_total: numbers[0],
            memory_available: numbers[1],
            uptime_seconds: numbers[2],
            agent_rss_bytes: numbers[3],
            disks: disks.into_iter().map(|(mount, total, available, read_only)| Disk {
                mount, total, available, inodes: Some((available, total)), read_only,
            }).collect(),
            network: interfaces.into_iter().map(|(name, up, packets, errors)| Interface {
                name, up, rx: 0, tx: 0, packets, errors,
            }).collect(),
            memory_pressure: more.0,
            oom_kills: more.1,
            reboot_required: more.2,
            power: Power {
                undervoltage: flags[0],
                throttled: flags[1],
                undervoltage_since_boot: flags[2],
                throttled_since_boot: flags[3],
            },
            clock_synchronized: flags[4],
            k3s: K3s {
                service: flags[5],
                memory: numbers[0],
                oom_kills: numbers[1],
                kubernetes: KubernetesView {
                    api: flags[6],
                    node_ready: flags[7],
                    memory_pressure: flags[0],
                    disk_pressure: flags[1],
                    pods: more.3.map(|not_ready| Pods { count: 9, not_ready, example: None }),
                },
            },
            ..Sample::default()
        }
    }
}

proptest! {
    #[test]
    fn any_sequence_of_samples_is_judged(
        samples in proptest::collection::vec((any_sample(), any::<u64>()), 1..12),
    ) {
        let mut judge = judge();
        for (sample, seconds) in samples {
            let judgement = judge.judge(&sample, at(seconds));
            let worst = judgement.reasons.iter().map(|r| r.status).max().unwrap_or_default();
            prop_assert_eq!(judgement.status, worst);
            for reason in &judgement.reasons {
                prop_assert!(reason.status > Status::Ok);
                prop_assert!(!reason.message.is_empty());
                prop_assert!(!reason.message.contains("NaN") && !reason.message.contains("inf"));
            }
            let health = crate::health::report(
                &sample, &judgement, at(seconds), None, "0", crate::wire::Outbox::default(),
            );
            prop_assert!(serde_json::to_string(&health).is_ok());
            prop_assert!(!crate::health::worth_publishing(&health, &health));
        }
    }
}
