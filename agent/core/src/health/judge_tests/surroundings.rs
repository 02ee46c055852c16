//! K3s, the network, and what happens to the node now and then.

use super::*;

#[test]
fn k3s_names_the_first_cause_and_has_time_to_start() {
    let k3s = |service, api, node_ready, uptime| Sample {
        k3s: K3s {
            service,
            kubernetes: KubernetesView {
                api,
                node_ready,
                ..KubernetesView::default()
            },
            ..K3s::default()
        },
        uptime_seconds: Some(uptime),
        ..Sample::default()
    };
    let mut judge = judge();
    let no = Some(false);
    let yes = Some(true);
    for (sample, expected) in [
        (
            k3s(no, no, no, 300),
            "critical|k3s critical: K3s is not running",
        ),
        (
            k3s(yes, no, no, 300),
            "critical|k3s critical: the API server of K3s is not ready",
        ),
        (
            k3s(yes, yes, no, 300),
            "critical|k3s critical: K3s says that this node is not ready",
        ),
        (
            k3s(no, None, None, 299),
            "warning|k3s warning: K3s is not running; the board has only just started",
        ),
        (k3s(yes, yes, yes, 300), "ok|"),
        (k3s(None, None, None, 300), "ok|"),
    ] {
        assert_eq!(said(&mut judge, &sample, 0), expected);
    }
}

fn with_view(view: KubernetesView) -> Sample {
    Sample {
        k3s: K3s {
            kubernetes: view,
            ..K3s::default()
        },
        ..Sample::default()
    }
}

#[test]
fn pods_may_be_on_their_way_for_five_minutes() {
    let pods = |not_ready, example: Option<&str>| {
        with_view(KubernetesView {
            pods: Some(Pods {
                count: 9,
                not_ready,
                example: example.map(str::to_owned),
            }),
            ..KubernetesView::default()
        })
    };
    let mut judge = judge();
    let one = pods(1, Some("shop/web-1"));
    assert_eq!(said(&mut judge, &one, 0), "ok|");
    assert_eq!(said(&mut judge, &one, 299), "ok|");
    assert_eq!(
        said(&mut judge, &one, 300),
        "warning|k3s:pods warning: the pod shop/web-1 is not ready, and so it has been for more than 5 minutes"
    );
    let two = pods(2, Some("shop/web-1"));
    assert!(said(&mut judge, &two, 310).contains("2 pods are not ready, shop/web-1 among them,"));
    assert_eq!(said(&mut judge, &pods(0, None), 320), "ok|");
    assert_eq!(said(&mut judge, &one, 330), "ok|", "it begins anew");
}

#[test]
fn a_node_that_evicts_its_pods_is_critical_and_says_for_want_of_what() {
    let short = |memory, disk| {
        with_view(KubernetesView {
            memory_pressure: Some(memory),
            disk_pressure: Some(disk),
            ..KubernetesView::default()
        })
    };
    let mut judge = judge();
    assert_eq!(
        said(&mut judge, &short(true, false), 0),
        "critical|k3s:memory_pressure critical: K3s evicts pods from this node, because memory is short"
    );
    assert!(said(&mut judge, &short(false, true), 10).contains("because disk is short"));
    assert_eq!(said(&mut judge, &short(false, false), 20), "ok|");
}

#[test]
fn processes_that_the_kernel_killed_are_told_for_an_hour() {
    let killed = |of_node, of_k3s| Sample {
        oom_kills: Some(of_node),
        k3s: K3s {
            oom_kills: Some(of_k3s),
            ..K3s::default()
        },
        ..Sample::default()
    };
    let mut judge = judge();
    assert_eq!(said(&mut judge, &killed(3, 1), 0), "ok|");
    assert_eq!(
        said(&mut judge, &killed(4, 3), 10),
        "warning|k3s:oom warning: the kernel killed 2 processes of K3s itself for want of memory within the last hour\
         |oom_kills warning: the kernel killed one process for want of memory within the last hour"
    );
    assert_eq!(said(&mut judge, &killed(4, 3), 3610), "ok|");
}

#[test]
fn memory_pressure_and_a_disk_without_inodes_are_judged_like_their_like() {
    let sample = |pressure, free| Sample {
        memory_pressure: Some(pressure),
        disks: vec![Disk {
            inodes: Some((100, free)),
            ..disk(900, false)
        }],
        ..Sample::default()
    };
    let mut judge = judge();
    assert_eq!(said(&mut judge, &sample(0.09, 20), 0), "ok|");
    assert_eq!(
        said(&mut judge, &sample(0.4, 14), 10),
        "critical|memory_pressure critical: everything waited for memory for 40 % of the last minute, critical from 40 %\
         |disk:/ warning: / has 86 % of the files that it has room for, warning from 85 %"
    );
    // Above the margin they stay what they were.
    assert!(said(&mut judge, &sample(0.39, 19), 20).contains("/ has 81 % of the files"));
    assert_eq!(said(&mut judge, &sample(0.05, 20), 30), "ok|");
}

#[test]
fn an_update_may_wait_a_day_for_its_reboot() {
    let waiting = |required| Sample {
        reboot_required: Some(required),
        ..Sample::default()
    };
    let mut judge = judge();
    let day = 24 * 60 * 60;
    assert_eq!(said(&mut judge, &waiting(true), 5), "ok|");
    assert_eq!(said(&mut judge, &waiting(true), day + 4), "ok|");
    assert_eq!(
        said(&mut judge, &waiting(true), day + 5),
        "warning|reboot warning: an update has been waiting for a reboot for more than a day"
    );
    assert_eq!(said(&mut judge, &waiting(false), day + 6), "ok|");
}

fn interface(up: bool, packets: u64, errors: u64) -> Sample {
    Sample {
        network: vec![Interface {
            name: "eth0".to_owned(),
            up: Some(up),
            rx: 0,
            tx: 0,
            packets: Some(packets),
            errors: Some(errors),
        }],
        ..Sample::default()
    }
}

#[test]
fn a_link_is_missed_for_a_day_if_it_was_there() {
    let mut judge = judge();
    let day = 24 * 60 * 60;
    assert_eq!(said(&mut judge, &interface(false, 0, 0), 0), "ok|");
    assert_eq!(
        said(&mut judge, &interface(false, 0, 0), 600),
        "ok|",
        "it was never there"
    );
    assert_eq!(said(&mut judge, &interface(true, 0, 0), 610), "ok|");
    assert_eq!(said(&mut judge, &interface(false, 0, 0), 669), "ok|");
    let missed = "warning|network:eth0 warning: eth0 has had no link for more than a minute, and had one before";
    assert_eq!(said(&mut judge, &interface(false, 0, 0), 670), missed);
    assert_eq!(said(&mut judge, &interface(false, 0, 0), 609 + day), missed);
    assert_eq!(said(&mut judge, &interface(false, 0, 0), 610 + day), "ok|");
}

#[test]
fn damaged_packets_are_judged_over_a_minute_and_only_if_there_are_enough() {
    let mut judge = judge();
    for (second, packets, errors, expected) in [
        (0, 1_000_000, 500, ""),
        (59, 1_000_990, 520, ""),
        (60, 1_000_990, 510, "1 % of the packets on eth0 are damaged"),
        // Until the next minute is over.
        (119, 1_002_000, 510, "1 % of the packets"),
        (120, 1_002_000, 510, ""),
        (180, 1_002_010, 600, "90 % of the packets"),
        (240, 1_002_020, 620, ""),
    ] {
        let said = said(&mut judge, &interface(true, packets, errors), second);
        match expected {
            "" => assert_eq!(said, "ok|", "at {second} s"),
            expected => assert!(said.contains(expected), "{said} at {second} s"),
        }
    }
}
