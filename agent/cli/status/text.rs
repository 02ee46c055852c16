//! The status as text. A pure function of the snapshot and the time.

use std::fmt::{Display, Write};

use edge_agent_core::application::DeployState;
use edge_agent_core::wire::{App, CommandReport, Health, LinkState, Snapshot};
use jiff::Timestamp;

use super::STALE_SECONDS;
use super::words::{
    Tone, clean, meaning, readings, short, size, span, tone_of_indication, tone_of_result,
    tone_of_state, tone_of_status,
};

/// The status for a person; with terminal colours or without.
pub(super) fn render(snapshot: &Snapshot, now: Timestamp, colour: bool) -> String {
    let mut page = Page {
        text: String::new(),
        now,
        colour,
    };
    page.head(snapshot);
    page.faults(snapshot);
    page.applications(snapshot);
    page.health(snapshot.health.as_deref());
    page.links(snapshot);
    page.commands(snapshot);
    page.text
}

struct Page {
    text: String,
    now: Timestamp,
    colour: bool,
}

impl Page {
    fn line(&mut self, line: impl Display) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.text, "{}", line.to_string().trim_end());
    }

    fn section(&mut self, title: &str) {
        let title = self.paint("1", title);
        self.line("");
        self.line(title);
    }

    /// Rows in columns; the last column runs free.
    fn table(&mut self, rows: &[Vec<(Tone, String)>]) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|(_, text)| text.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in rows {
            let mut line = String::new();
            for ((tone, text), width) in row.iter().zip(&widths) {
                let padding = " ".repeat(width.saturating_sub(text.chars().count()));
                let _ = write!(line, "  {}{padding}", self.toned(*tone, text));
            }
            self.line(line);
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn toned(&self, tone: Tone, text: &str) -> String {
        match tone {
            Tone::Well => self.paint("32", text),
            Tone::Busy => self.paint("36", text),
            Tone::Doubtful => self.paint("33", text),
            Tone::Ill => self.paint("1;31", text),
            Tone::Plain => text.to_owned(),
        }
    }

    fn age(&self, at: Timestamp) -> String {
        match self.seconds_since(at) {
            0..5 => "just now".to_owned(),
            seconds => format!("{} ago", span(seconds)),
        }
    }

    fn seconds_since(&self, at: Timestamp) -> u64 {
        let seconds = self.now.as_second().saturating_sub(at.as_second());
        u64::try_from(seconds).unwrap_or(0)
    }

    fn head(&mut self, snapshot: &Snapshot) {
        let identity = &snapshot.identity;
        let uptime = snapshot
            .health
            .as_ref()
            .and_then(|health| health.uptime_seconds);
        let about = [
            identity.model.as_deref().map(clean),
            identity.os.as_deref().map(clean),
            Some(format!("edge-agent {}", clean(&identity.agent))),
            uptime.map(|seconds| format!("up {}", span(seconds))),
        ];
        let about: Vec<String> = about.into_iter().flatten().collect();
        let node = self.paint("1", &clean(&identity.node));
        self.line(format!("{node}  {}", about.join(" · ")));
        let age = self.seconds_since(snapshot.at);
        if i64::try_from(age).is_ok_and(|age| age > STALE_SECONDS) {
            let warning = format!(
                "This is {} old: the agent hangs or is not running. See: systemctl status edge-agent",
                span(age)
            );
            let warning = self.toned(Tone::Ill, &warning);
            self.line(warning);
        }
        let report = &snapshot.indication;
        let (name, means) = meaning(report.indication);
        let name = self.toned(tone_of_indication(report.indication), name);
        let since = span(self.seconds_since(report.since));
        self.line("");
        self.line(format!("{name} for {since}. {means}"));
        if !report.leds.is_empty() {
            let leds: Vec<String> = report.leds.iter().map(|led| clean(led)).collect();
            self.line(format!("Shown by {}.", leds.join(", ")));
        }
    }

    fn faults(&mut self, snapshot: &Snapshot) {
        if snapshot.faults.is_empty() {
            return;
        }
        self.section("The agent is impaired");
        let rows: Vec<_> = snapshot
            .faults
            .iter()
            .map(|(part, fault)| vec![(Tone::Ill, clean(part)), (Tone::Plain, clean(fault))])
            .collect();
        self.table(&rows);
    }

    fn applications(&mut self, snapshot: &Snapshot) {
        self.section("Applications");
        if snapshot.applications.is_empty() {
            self.line("  none is known");
        }
        let rows: Vec<_> = snapshot
            .applications
            .iter()
            .map(|(name, app)| {
                let revision = app.revision.as_deref().map_or("-".to_owned(), short);
                vec![
                    (Tone::Plain, clean(name)),
                    (tone_of_state(app.state), format!("{:?}", app.state)),
                    (Tone::Plain, revision),
                    (Tone::Plain, self.remark(app)),
                ]
            })
            .collect();
        self.table(&rows);
    }

    /// Why an application is where it is, in one line.
    fn remark(&self, app: &App) -> String {
        if let Some(hold) = &app.hold {
            let from = hold
                .from
                .as_deref()
                .map(|from| format!(", was on {}", short(from)));
            let since = hold
                .since
                .map(|since| format!(" for {}", span(self.seconds_since(since))));
            return format!(
                "held{} on {}{}",
                since.unwrap_or_default(),
                short(&hold.to),
                from.unwrap_or_default()
            );
        }
        if let Some(culprit) = &app.culprit {
            let place = [culprit.namespace.as_str(), culprit.name.as_str()];
            let place: Vec<_> = place.into_iter().filter(|part| !part.is_empty()).collect();
            let culprit = format!("{} {}: {}", culprit.kind, place.join("/"), culprit.message);
            return clean(&culprit);
        }
        let message = app.operation.as_ref().and_then(|it| it.message.as_deref());
        match message {
            Some(message) if app.state != DeployState::Healthy => clean(message),
            _ => String::new(),
        }
    }

    fn health(&mut self, health: Option<&Health>) {
        let Some(health) = health else {
            self.section("Health");
            return self.line("  the first sample has not been taken yet");
        };
        let status = self.toned(tone_of_status(health.status), health.status.as_str());
        let title = self.paint("1", "Health");
        self.line("");
        self.line(format!("{title}  {status}"));
        let reasons: Vec<_> = health
            .reasons
            .iter()
            .map(|reason| {
                vec![
                    (tone_of_status(reason.status), clean(&reason.check)),
                    (Tone::Plain, clean(&reason.message)),
                ]
            })
            .collect();
        self.table(&reasons);
        let readings: Vec<_> = readings(health)
            .into_iter()
            .map(|(name, value)| {
                let value = value.unwrap_or_else(|| "not readable".to_owned());
                vec![(Tone::Plain, name), (Tone::Plain, value)]
            })
            .collect();
        self.table(&readings);
    }

    fn links(&mut self, snapshot: &Snapshot) {
        self.section("Links and outbox");
        let mut rows = Vec::new();
        for (name, link) in &snapshot.links {
            let (tone, state) = match link.state {
                LinkState::Up => (Tone::Well, "up"),
                LinkState::Down => (Tone::Ill, "down"),
                LinkState::Connecting => (Tone::Busy, "connecting"),
                LinkState::Disabled => (Tone::Plain, "disabled"),
            };
            let since = format!("for {}", span(self.seconds_since(link.since)));
            rows.push(vec![
                (Tone::Plain, clean(name)),
                (tone, state.to_owned()),
                (Tone::Plain, since),
                (
                    Tone::Plain,
                    link.reason.as_deref().map(clean).unwrap_or_default(),
                ),
            ]);
        }
        let outbox = snapshot.outbox;
        let mut waiting = match outbox.records {
            0 => "empty".to_owned(),
            records => format!("{records} waiting, {}", size(outbox.bytes)),
        };
        let mut tone = if outbox.records == 0 {
            Tone::Well
        } else {
            Tone::Doubtful
        };
        if outbox.dropped > 0 {
            tone = Tone::Ill;
            let _ = write!(waiting, ", {} dropped", outbox.dropped);
        }
        self.table(&rows);
        let waiting = self.toned(tone, &waiting);
        self.line(format!("  outbox: {waiting}"));
    }

    fn commands(&mut self, snapshot: &Snapshot) {
        if !snapshot.commands.is_empty() {
            self.section("Last commands");
            let rows: Vec<_> = snapshot
                .commands
                .iter()
                .map(|it| self.command(it))
                .collect();
            self.table(&rows);
        }
        if !snapshot.refused.is_empty() {
            self.section("Refused since the start");
            let rows: Vec<_> = snapshot
                .refused
                .iter()
                .map(|(code, count)| {
                    vec![(Tone::Plain, clean(code)), (Tone::Plain, count.to_string())]
                })
                .collect();
            self.table(&rows);
        }
    }

    fn command(&self, command: &CommandReport) -> Vec<(Tone, String)> {
        let what = [command.cmd.as_deref(), command.application.as_deref()];
        let what: Vec<_> = what.into_iter().flatten().collect();
        let by = match command.keys.as_slice() {
            [] => "the node itself".to_owned(),
            keys => clean(&keys.join(", ")),
        };
        let reason = command.reason.map(|reason| format!("{reason}: "));
        vec![
            (Tone::Plain, self.age(command.at)),
            (Tone::Plain, clean(&what.join(" "))),
            (
                tone_of_result(command.state),
                command.state.as_str().to_owned(),
            ),
            (Tone::Plain, by),
            (
                Tone::Plain,
                format!("{}{}", reason.unwrap_or_default(), clean(&command.message)),
            ),
        ]
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
