//! A snapshot of a node with a bit of everything, for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use edge_agent_core::application::DeployState;
use edge_agent_core::command::RefusalCode;
use edge_agent_core::command::payload::HoldMode;
use edge_agent_core::indication::Indication;
use edge_agent_core::wire::{
    Agent, App, AppHold, AppOperation, Clock, CommandReport, Cpu, Culprit, Disk, Health, Identity,
    IndicationReport, Interface, K3s, LinkReport, LinkState, Memory, Outbox, Power, Reason,
    ResultState, Snapshot, Status, Storage,
};
use jiff::Timestamp;

const GIB: u64 = 1 << 30;

/// The moment at which the snapshot was taken.
pub(crate) fn at() -> Timestamp {
    time("2026-11-24T20:30:00Z")
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A warm board with one application that failed and one that is held.
pub(crate) fn snapshot() -> Snapshot {
    Snapshot {
        v: 1,
        at: at(),
        started: time("2026-11-24T18:00:00Z"),
        identity: Identity {
            v: 1,
            node: "pi-01".to_owned(),
            key: Some("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=".to_owned()),
            model: Some("Raspberry Pi 4 Model B Rev 1.5".to_owned()),
            os: Some("Debian GNU/Linux 13 (trixie)".to_owned()),
            arch: "aarch64".to_owned(),
            agent: "0.1.0".to_owned(),
        },
        indication: IndicationReport {
            v: 1,
            indication: Indication::DeployFailed,
            since: time("2026-11-24T20:27:10Z"),
            leds: vec!["deploy".to_owned(), "ACT".to_owned()],
        },
        links: links(),
        faults: BTreeMap::new(),
        health: Some(Arc::new(health())),
        applications: [broken(), held(), healthy()]
            .into_iter()
            .map(|app| (app.application.clone(), Arc::new(app)))
            .collect(),
        outbox: Outbox {
            records: 3,
            bytes: 1874,
            dropped: 0,
        },
        commands: commands(),
        refused: BTreeMap::from([("bad_signature".to_owned(), 2), ("replayed".to_owned(), 1)]),
    }
}

fn links() -> BTreeMap<String, LinkReport> {
    let broker = LinkReport {
        state: LinkState::Down,
        reason: Some("mqtts://broker.example:8883: connection refused".to_owned()),
        since: time("2026-11-24T20:29:12Z"),
    };
    let cluster = LinkReport {
        state: LinkState::Up,
        reason: None,
        since: time("2026-11-21T08:00:07Z"),
    };
    BTreeMap::from([
        ("broker".to_owned(), broker),
        ("cluster".to_owned(), cluster),
    ])
}

fn health() -> Health {
    Health {
        v: 1,
        at: time("2026-11-24T20:29:57Z"),
        status: Status::Warning,
        reasons: vec![Reason {
            check: "temperature_celsius".to_owned(),
            status: Status::Warning,
            message: "The CPU has 76.2 °C; from 75 °C on this is a warning.".to_owned(),
        }],
        boot: Some("6f1c2d4e-0000-4000-8000-000000000001".to_owned()),
        uptime_seconds: Some(304_212),
        cpu: Cpu {
            usage: Some(0.34),
            load1: Some(1.42),
            cores: Some(4),
        },
        memory: Memory {
            total_bytes: Some(4 * GIB),
            available_bytes: Some(GIB + GIB / 2),
            pressure: Some(0.002),
            oom_kills: Some(0),
        },
        disks: disks(),
        temperature_celsius: Some(76.2),
        power: Power {
            undervoltage: Some(false),
            throttled: Some(false),
            undervoltage_since_boot: Some(true),
            throttled_since_boot: Some(false),
        },
        storage: Storage {
            device: Some("mmcblk0".to_owned()),
            life_used: None,
        },
        network: vec![Interface {
            interface: "eth0".to_owned(),
            up: Some(true),
            rx_bytes: 8_412_331_002,
            tx_bytes: 912_004_113,
            errors: Some(0),
        }],
        clock: Clock {
            synchronized: Some(true),
        },
        reboot_required: Some(false),
        k3s: k3s(),
        agent: Agent {
            version: "0.1.0".to_owned(),
            rss_bytes: Some(21_401_600),
            cpu_seconds: Some(812.25),
            outbox: Outbox::default(),
        },
    }
}

fn k3s() -> K3s {
    K3s {
        service: Some(true),
        api: Some(true),
        node_ready: Some(true),
        memory_pressure: Some(false),
        disk_pressure: Some(false),
        pods: Some(23),
        pods_not_ready: Some(1),
        memory_bytes: Some(612_368_384),
        oom_kills: Some(0),
    }
}

fn disks() -> Vec<Disk> {
    vec![
        Disk {
            mount: "/".to_owned(),
            total_bytes: 29 * GIB,
            available_bytes: 11 * GIB,
            inodes_used: Some(0.12),
            read_only: false,
        },
        Disk {
            mount: "/boot/firmware".to_owned(),
            total_bytes: GIB / 2,
            available_bytes: GIB / 3,
            inodes_used: None,
            read_only: true,
        },
    ]
}

/// An application that is well.
pub(crate) fn healthy() -> App {
    App {
        v: 1,
        at: at(),
        application: "sensors".to_owned(),
        namespace: "argocd".to_owned(),
        project: "default".to_owned(),
        state: DeployState::Healthy,
        sync: "Synced".to_owned(),
        health: "Healthy".to_owned(),
        revision: Some("c0ffee12c0ffee12c0ffee12c0ffee12c0ffee12".to_owned()),
        images: vec!["registry.example/sensors:2.4.1".to_owned()],
        operation: None,
        culprit: None,
        hold: None,
        reconciled_at: Some(time("2026-11-24T20:28:44Z")),
    }
}

fn broken() -> App {
    App {
        application: "shop".to_owned(),
        state: DeployState::Degraded,
        health: "Degraded".to_owned(),
        revision: Some("9b74c9897bac770ffc029102a200c5de00000000".to_owned()),
        images: vec![
            "registry.example/shop/web@sha256:\
             2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
                .to_owned(),
        ],
        operation: Some(AppOperation {
            phase: "Succeeded".to_owned(),
            message: Some("successfully synced (all tasks run)".to_owned()),
            started_at: Some(time("2026-11-24T20:26:30Z")),
            finished_at: Some(time("2026-11-24T20:26:41Z")),
            retry: 0,
        }),
        culprit: Some(Culprit {
            kind: "Deployment".to_owned(),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            message: "Deployment \"web\" exceeded its progress deadline".to_owned(),
        }),
        ..healthy()
    }
}

fn held() -> App {
    App {
        application: "team-b_camera".to_owned(),
        namespace: "team-b".to_owned(),
        project: "edge".to_owned(),
        state: DeployState::RolledBack,
        images: Vec::new(),
        hold: Some(AppHold {
            mode: HoldMode::Pin,
            from: Some("1f0e3dad99908345f7439f8ffabdffc400000000".to_owned()),
            to: "c0ffee12c0ffee12c0ffee12c0ffee12c0ffee12".to_owned(),
            command: Some("01J0000000000000000000000A".to_owned()),
            reason: None,
            since: Some(time("2026-11-24T18:12:00Z")),
        }),
        ..healthy()
    }
}

fn commands() -> Vec<CommandReport> {
    let rejected = CommandReport {
        id: "01J0000000000000000000000B".to_owned(),
        cmd: Some("rollout".to_owned()),
        application: Some("shop".to_owned()),
        keys: vec!["drone-2026".to_owned()],
        state: ResultState::Rejected,
        reason: Some(RefusalCode::OperationInProgress),
        message: "shop is being synced; try again when that has ended.".to_owned(),
        at: time("2026-11-24T20:26:33Z"),
    };
    let done = CommandReport {
        id: "01J0000000000000000000000A".to_owned(),
        cmd: Some("rollback".to_owned()),
        application: Some("team-b/camera".to_owned()),
        state: ResultState::Succeeded,
        reason: None,
        message: "camera runs c0ffee12 and is held there.".to_owned(),
        at: time("2026-11-24T18:12:21Z"),
        ..rejected.clone()
    };
    let own = CommandReport {
        id: "node-7".to_owned(),
        cmd: Some("rollback".to_owned()),
        keys: Vec::new(),
        state: ResultState::Executing,
        reason: None,
        message: "The button was held.".to_owned(),
        at: time("2026-11-24T20:29:58Z"),
        ..rejected.clone()
    };
    vec![own, rejected, done]
}
