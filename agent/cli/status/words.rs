//! The words and tones of the status.

use edge_agent_core::application::DeployState;
use edge_agent_core::indication::Indication;
use edge_agent_core::wire::{Health, K3s, Power, ResultState, Status};

/// What an indication is called, and what it means; the local page says the same.
pub(crate) fn meaning(indication: Indication) -> (&'static str, &'static str) {
    indication.words()
}

/// How something is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Well,
    Busy,
    Doubtful,
    Ill,
    Plain,
}

/// The values of the health, each with its name; `None` where it could not be read.
pub(super) fn readings(health: &Health) -> Vec<(String, Option<String>)> {
    let Health { cpu, memory, .. } = health;
    let used = memory
        .total_bytes
        .zip(memory.available_bytes)
        .map(|(total, available)| {
            format!(
                "{} of {} used",
                size(total.saturating_sub(available)),
                size(total)
            )
        });
    let mut rows = vec![
        (
            "CPU".to_owned(),
            joined([
                cpu.usage.map(percent),
                cpu.load1.map(|load| format!("load {load:.2}")),
                cpu.cores.map(|cores| format!("{cores} cores")),
            ]),
        ),
        (
            "Temperature".to_owned(),
            health.temperature_celsius.map(|it| format!("{it:.1} °C")),
        ),
        ("Memory".to_owned(), used),
    ];
    rows.extend(health.disks.iter().map(|disk| {
        let read_only = if disk.read_only { ", read-only" } else { "" };
        let free = size(disk.available_bytes);
        let text = format!("{free} of {} free{read_only}", size(disk.total_bytes));
        (format!("Disk {}", clean(&disk.mount)), Some(text))
    }));
    rows.push(("Power".to_owned(), supply(&health.power)));
    rows.push(("K3s".to_owned(), cluster(&health.k3s)));
    let clock = health.clock.synchronized;
    rows.push((
        "Clock".to_owned(),
        clock.map(|it| either(it, "synchronized", "not synchronized")),
    ));
    rows
}

fn supply(power: &Power) -> Option<String> {
    joined([
        power
            .undervoltage
            .map(|it| either(it, "undervoltage", "sufficient")),
        power
            .throttled
            .filter(|it| *it)
            .map(|_| "throttled".to_owned()),
        power
            .undervoltage_since_boot
            .filter(|it| *it)
            .map(|_| "undervoltage since boot".to_owned()),
    ])
}

fn cluster(k3s: &K3s) -> Option<String> {
    joined([
        k3s.service
            .map(|it| either(it, "service runs", "service down")),
        k3s.api.map(|it| either(it, "API ready", "API not ready")),
        k3s.node_ready
            .map(|it| either(it, "node ready", "node not ready")),
        k3s.pods.map(|pods| match k3s.pods_not_ready {
            None | Some(0) => format!("{pods} pods"),
            Some(not_ready) => format!("{pods} pods, {not_ready} of them not ready"),
        }),
    ])
}

fn either(which: bool, yes: &str, no: &str) -> String {
    if which { yes } else { no }.to_owned()
}

fn joined<const N: usize>(parts: [Option<String>; N]) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

pub(super) fn tone_of_status(status: Status) -> Tone {
    match status {
        Status::Ok => Tone::Well,
        Status::Warning => Tone::Doubtful,
        Status::Critical => Tone::Ill,
    }
}

pub(super) fn tone_of_indication(indication: Indication) -> Tone {
    match indication {
        Indication::Healthy => Tone::Well,
        Indication::RollingOut | Indication::Identify | Indication::Countdown => Tone::Busy,
        Indication::Held
        | Indication::Offline
        | Indication::NodeWarning
        | Indication::OutOfSync => Tone::Doubtful,
        Indication::Refused
        | Indication::Fault
        | Indication::GateFailed
        | Indication::DeployFailed
        | Indication::NodeCritical => Tone::Ill,
    }
}

pub(super) fn tone_of_state(state: DeployState) -> Tone {
    match state {
        DeployState::Healthy => Tone::Well,
        DeployState::Syncing
        | DeployState::Retrying
        | DeployState::Progressing
        | DeployState::Terminating
        | DeployState::Deleting => Tone::Busy,
        DeployState::RolledBack
        | DeployState::OutOfSync
        | DeployState::Suspended
        | DeployState::Unknown
        | DeployState::Offline => Tone::Doubtful,
        DeployState::SecurityCheckFailed
        | DeployState::SyncFailed
        | DeployState::Degraded
        | DeployState::Missing => Tone::Ill,
    }
}

pub(super) fn tone_of_result(state: ResultState) -> Tone {
    match state {
        ResultState::Succeeded => Tone::Well,
        ResultState::Accepted | ResultState::Executing => Tone::Busy,
        ResultState::Superseded | ResultState::Interrupted => Tone::Doubtful,
        ResultState::Failed | ResultState::Rejected | ResultState::TimedOut => Tone::Ill,
    }
}

/// The first digits of a commit; anything else whole.
pub(super) fn short(revision: &str) -> String {
    let commit = revision.len() >= 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    match revision.get(..8) {
        Some(start) if commit => start.to_owned(),
        _ => clean(revision),
    }
}

/// How long, in the unit that a person would choose.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Tenths of the unit, so that whole numbers do.
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit < UNITS.len() - 1 {
        tenths /= 1024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if tenths >= 1000 {
        format!("{} {name}", tenths / 10)
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

/// Text of strangers in one line that cannot steer the terminal: without control characters and
/// without those that turn the direction of writing, and not longer than a person reads.
pub(super) fn clean(text: &str) -> String {
    const LONGEST: usize = 300;
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let visible: String = text
        .chars()
        .map(|c| if c.is_control() || turns(c) { ' ' } else { c })
        .collect();
    let line = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_are_in_the_unit_that_fits() {
        let spans = [0, 59, 60, 3599, 3600, 7260, 172_800].map(span);
        assert_eq!(
            spans,
            [
                "0 s",
                "59 s",
                "1 min",
                "59 min",
                "1 h 0 min",
                "2 h 1 min",
                "2 days"
            ]
        );
        let sizes = [0, 1023, 1024, 1536, 102_400, 1 << 30, u64::MAX].map(size);
        assert_eq!(
            sizes,
            [
                "0 B",
                "1023 B",
                "1.0 KiB",
                "1.5 KiB",
                "100 KiB",
                "1.0 GiB",
                "16777215 TiB"
            ]
        );
    }

    #[test]
    fn only_commits_are_shortened() {
        assert_eq!(short(&"0123456789".repeat(4)), "01234567");
        assert_eq!(
            short("v1.2.3-with-a-long-name-that-is-no-commit-at-all"),
            "v1.2.3-with-a-long-name-that-is-no-commit-at-all"
        );
        assert_eq!(short("é"), "é");
    }

    #[test]
    fn the_page_has_the_same_words() {
        let script = include_str!("../../http/page.js");
        for indication in Indication::ALL {
            let (name, means) = meaning(indication);
            let entry = script
                .lines()
                .find(|line| line.starts_with(&format!("  {}: [", indication.as_str())))
                .unwrap();
            assert!(entry.contains(&format!("[\"{name}\", ")), "{entry}");
            assert!(entry.contains(&format!("\"{means}\"")), "{entry}");
        }
    }
}
