use std::collections::BTreeMap;
use std::sync::Arc;

use expect_test::{Expect, expect};

use edge_agent_core::indication::Indication;

use super::*;
use crate::http::fixture;

fn check(snapshot: &Snapshot, now: Timestamp, expected: Expect) {
    expected.assert_eq(&render(snapshot, now, false));
}

#[test]
fn a_busy_node() {
    check(
        &fixture::snapshot(),
        fixture::at(),
        expect![[r#"
            pi-01  Raspberry Pi 4 Model B Rev 1.5 · Debian GNU/Linux 13 (trixie) · edge-agent 0.1.0 · up 3 days

            Deploy failed for 2 min. A deploy failed, or what runs is degraded or missing.
            Shown by deploy, ACT.

            Applications
              sensors        Healthy     c0ffee12
              shop           Degraded    9b74c989  Deployment shop/web: Deployment "web" exceeded its progress deadline
              team-b_camera  RolledBack  c0ffee12  held for 2 h 18 min on c0ffee12, was on 1f0e3dad

            Health  warning
              temperature_celsius  The CPU has 76.2 °C; from 75 °C on this is a warning.
              CPU                  34 %, load 1.42, 4 cores
              Temperature          76.2 °C
              Memory               2.5 GiB of 4.0 GiB used
              Disk /               11.0 GiB of 29.0 GiB free
              Disk /boot/firmware  341 MiB of 512 MiB free, read-only
              Power                sufficient, undervoltage since boot
              K3s                  service runs, API ready, node ready, 23 pods, 1 of them not ready
              Clock                synchronized

            Links and outbox
              broker   down  for 48 s    mqtts://broker.example:8883: connection refused
              cluster  up    for 3 days
              outbox: 3 waiting, 1.8 KiB

            Last commands
              just now        rollback shop           executing  the node itself  The button was held.
              3 min ago       rollout shop            rejected   drone-2026       operation_in_progress: shop is being synced; try again when that has ended.
              2 h 17 min ago  rollback team-b/camera  succeeded  drone-2026       camera runs c0ffee12 and is held there.

            Refused since the start
              bad_signature  2
              replayed       1
        "#]],
    );
}

#[test]
fn a_node_that_is_just_starting() {
    let mut snapshot = fixture::snapshot();
    snapshot.health = None;
    snapshot.applications = BTreeMap::new();
    snapshot.commands = Vec::new();
    snapshot.refused = BTreeMap::new();
    snapshot.outbox.records = 0;
    snapshot.indication.indication = Indication::Healthy;
    snapshot.indication.leds = Vec::new();
    check(
        &snapshot,
        fixture::at(),
        expect![[r#"
            pi-01  Raspberry Pi 4 Model B Rev 1.5 · Debian GNU/Linux 13 (trixie) · edge-agent 0.1.0

            Healthy for 2 min. All is well.

            Applications
              none is known

            Health
              the first sample has not been taken yet

            Links and outbox
              broker   down  for 48 s    mqtts://broker.example:8883: connection refused
              cluster  up    for 3 days
              outbox: empty
        "#]],
    );
}

#[test]
fn an_agent_that_hangs_and_is_impaired_says_so_first() {
    let mut snapshot = fixture::snapshot();
    snapshot.indication.indication = Indication::Fault;
    snapshot.faults = BTreeMap::from([(
        "outbox".to_owned(),
        "The disk is full: events are dropped.".to_owned(),
    )]);
    let now = fixture::at() + jiff::SignedDuration::from_mins(12);
    let text = render(&snapshot, now, false);
    let top = text.lines().take(8).collect::<Vec<_>>().join("\n");
    expect![[r#"
        pi-01  Raspberry Pi 4 Model B Rev 1.5 · Debian GNU/Linux 13 (trixie) · edge-agent 0.1.0 · up 3 days
        This is 12 min old: the agent hangs or is not running. See: systemctl status edge-agent

        Agent impaired for 14 min. The agent itself is impaired.
        Shown by deploy, ACT.

        The agent is impaired
          outbox  The disk is full: events are dropped."#]].assert_eq(&top);
}

#[test]
fn colours_are_only_added() {
    let coloured = render(&fixture::snapshot(), fixture::at(), true);
    assert!(coloured.contains("\x1b[1;31mDegraded\x1b[0m"), "{coloured}");
    let mut plain = String::new();
    for (index, part) in coloured.split('\x1b').enumerate() {
        let part = if index == 0 {
            part
        } else {
            part.split_once('m').unwrap().1
        };
        plain.push_str(part);
    }
    assert_eq!(plain, render(&fixture::snapshot(), fixture::at(), false));
}

#[test]
fn a_message_cannot_steer_the_terminal() {
    let mut snapshot = fixture::snapshot();
    let mut app = fixture::healthy();
    app.application = "evil\x1b[2J".to_owned();
    app.state = DeployState::SyncFailed;
    app.operation = Some(edge_agent_core::wire::AppOperation {
        phase: "Failed".to_owned(),
        message: Some(format!(
            "\x1b]0;owned\x07\r\nline\u{202e}two {}",
            "x".repeat(400)
        )),
        started_at: None,
        finished_at: None,
        retry: 0,
    });
    snapshot.applications = BTreeMap::from([(app.application.clone(), Arc::new(app))]);
    let text = render(&snapshot, fixture::at(), false);
    assert!(text.contains("]0;owned line two xxx"), "{text}");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    assert!(!text.contains('\u{202e}'));
    assert!(text.lines().all(|line| line.chars().count() < 400));
}
