//! The step itself: wave after wave, and back if one fails.

use edge_agent_core::command::payload::OnFailure;
use edge_agent_core::topic::Topic;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::fleet::{Member, Outcome, Standing};
use super::outcome::StepResult;
use super::report::{exit, line, nodes, table};
use super::settings::{Settings, Wait};
use super::talk::{Fleet, Moment};
use super::waves::divide;
use crate::cli::{Exit, output};
use crate::mqtt::converse::{Saying, Told, converse};

/// Room for what is heard while a line is printed.
const WAITING: usize = 256;

/// Does what the settings say, and tells it.
///
/// # Errors
/// Never for what nodes do: that is in the exit code.
pub(super) async fn carry_out(
    settings: &Settings,
    now: &dyn Fn() -> Timestamp,
    tell: &mut dyn FnMut(&str),
) -> anyhow::Result<Exit> {
    let fleet = match Fleet::new(settings, members(settings)) {
        Ok(fleet) => fleet,
        Err(fault) => {
            output::complain(&format!("edge-agent drone: {fault}"));
            return Ok(Exit::Usage);
        }
    };
    tell(&format!(
        "{}: {} on {}\n",
        settings.build.title(),
        settings.work.title(),
        nodes(settings.nodes.len())
    ));
    // Every order fits, so that handing one over never waits.
    let (sayings, to_say) = mpsc::channel(fleet.members.len().max(1));
    let (told, heard) = mpsc::channel(WAITING);
    let topics = fleet.topics();
    let conversation = converse(&settings.mqtt, &topics, to_say, told);
    let mut step = Step {
        settings,
        fleet,
        sayings: Some(sayings),
        heard,
        now,
        tell,
    };
    let ended = {
        let mut conversation = std::pin::pin!(conversation);
        tokio::select! {
            biased;
            broken = &mut conversation => broken.err(),
            () = step.play() => {
                // Nothing more is said: the conversation ends in an orderly way.
                step.sayings = None;
                step.heard.close();
                conversation.await.err()
            }
        }
    };
    if let Some(error) = ended {
        output::complain(&format!("edge-agent drone: {error}"));
        if step
            .fleet
            .members
            .iter()
            .all(|it| it.standing == Standing::Pending)
        {
            leave(settings, &step.fleet);
            return Ok(Exit::Failed);
        }
    }
    leave(settings, &step.fleet);
    let code = exit(&step.fleet.members);
    (step.tell)(&table(&step.fleet.members, &step.fleet.forged));
    Ok(code)
}

/// Writes the result down where that was asked for. What is not written changes nothing of what happened.
fn leave(settings: &Settings, fleet: &Fleet<'_>) {
    let Some(path) = &settings.result_file else {
        return;
    };
    let result = StepResult::of(settings, &fleet.members, &fleet.forged);
    if let Err(error) = result.write(path) {
        let shown = path.display();
        output::complain(&format!("edge-agent drone: result_file: {shown}: {error}"));
    }
}

/// The orders of the step: one for each node, and where it may have to be taken back, one for that.
fn members(settings: &Settings) -> Vec<Member> {
    let member = |undoes: bool| {
        let purpose = if undoes { "undo" } else { "work" };
        settings.nodes.iter().map(move |node| {
            let id = settings.build.command_id(node.as_str(), purpose);
            Member::new(node.clone(), id, undoes)
        })
    };
    let mut members: Vec<Member> = member(false).collect();
    if settings.work.on_failure == OnFailure::Rollback {
        members.extend(member(true));
    }
    members
}

struct Step<'s> {
    settings: &'s Settings,
    fleet: Fleet<'s>,
    sayings: Option<mpsc::Sender<Saying>>,
    heard: mpsc::Receiver<Told>,
    now: &'s dyn Fn() -> Timestamp,
    tell: &'s mut dyn FnMut(&str),
}

impl Step<'_> {
    async fn play(&mut self) {
        while !self.fleet.listening {
            if !self.listen().await {
                return;
            }
        }
        let fleet: Vec<usize> = (0..self.settings.nodes.len()).collect();
        let waves = divide(&fleet, &self.settings.waves);
        let count = waves.len();
        for (number, wave) in waves.into_iter().enumerate() {
            if count > 1 {
                let what = format!("{} of {count}: {}", number + 1, nodes(wave.len()));
                self.say_line("-", "wave", &what);
            }
            for index in &wave {
                if let Some(member) = self.fleet.members.get_mut(*index) {
                    member.wave = Some(number);
                }
            }
            self.give(&wave).await;
            if !self.all_reached(&wave) {
                self.stop(number + 1 < count).await;
                return;
            }
        }
    }

    fn all_reached(&self, wave: &[usize]) -> bool {
        wave.iter().all(|index| {
            let member = self.fleet.members.get(*index);
            member.and_then(Member::outcome) == Some(Outcome::Reached)
        })
    }

    /// A node has not come to its end: the rest is left alone, and what was changed goes back if
    /// that was asked for. The nodes that failed go back by themselves: it is in their order.
    async fn stop(&mut self, more: bool) {
        if more {
            self.say_line("-", "stopped", "the waves that are left are not begun");
        }
        let count = self.settings.nodes.len();
        let changed: Vec<usize> = (0..count)
            .filter(|index| self.all_reached(&[*index]))
            .map(|index| index + count)
            .filter(|undo| self.fleet.members.len() > *undo)
            .collect();
        if changed.is_empty() {
            return;
        }
        let what = format!("{}, changed before", nodes(changed.len()));
        self.say_line("-", "back", &what);
        self.give(&changed).await;
    }

    /// Gives orders and follows them to their end.
    async fn give(&mut self, batch: &[usize]) {
        for index in batch {
            self.give_one(*index);
        }
        let open = |fleet: &Fleet<'_>| {
            let mut members = batch.iter().filter_map(|index| fleet.members.get(*index));
            members.any(Member::is_open)
        };
        while open(&self.fleet) {
            if !self.listen().await {
                return;
            }
        }
    }

    /// Gives an order, unless the node has answered it already: then this step ran before.
    fn give_one(&mut self, index: usize) {
        let wall = (self.now)();
        let settings = self.settings;
        let Some(member) = self.fleet.members.get_mut(index) else {
            return;
        };
        if member.standing != Standing::Pending {
            return;
        }
        let action = if member.undoes {
            settings.work.undoing()
        } else {
            settings.work.action()
        };
        let saying = Saying {
            topic: Topic::Command.format(&member.node),
            payload: settings.work.envelope(
                (&member.id, &member.node),
                &action,
                (wall, settings.ttl),
                (&settings.key_id, &settings.signing_key),
            ),
            expiry_seconds: Some(u32::try_from(settings.ttl.as_secs()).unwrap_or(u32::MAX)),
            until: (settings.wait != Wait::None)
                .then(|| Topic::Result(member.id.clone()).format(&member.node)),
        };
        member.give(Instant::now());
        if let Some(sayings) = &self.sayings {
            // There is room for every order; the end of the conversation is told by itself.
            let _ = sayings.try_send(saying);
        }
    }

    /// Takes in what is heard, or what only the time tells. False when nothing more can come.
    async fn listen(&mut self) -> bool {
        let deadline = self.fleet.next_deadline();
        let over = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let told = tokio::select! {
            told = self.heard.recv() => told,
            () = over => {
                let now = self.moment();
                self.fleet.tick(now, self.tell);
                return true;
            }
        };
        let Some(told) = told else { return false };
        let now = self.moment();
        self.fleet.hear(told, now, self.tell);
        true
    }

    fn moment(&self) -> Moment {
        Moment {
            wall: (self.now)(),
            at: Instant::now(),
        }
    }

    fn say_line(&mut self, node: &str, word: &str, message: &str) {
        let text = line((self.now)(), node, word, message);
        (self.tell)(&text);
    }
}
