//! The story: healthy, a bad commit, a signed rollback, held, given back; then an outage in which
//! nothing is lost. Every step waits for the thing itself to be seen from outside, on the broker or on
//! the page, and fails when it does not come.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use edge_agent::cli::send::{Line, Order, Outcome, Wait, send_envelope};
use edge_agent_core::application::DeployState;
use edge_agent_core::command::envelope::{COMMAND_TYPE, SigningKey, seal};
use edge_agent_core::command::payload::{Action, Command, RollbackTarget};
use edge_agent_core::indication::Indication;
use edge_agent_core::topic::{NodeName, Topic};
use edge_agent_core::wire::{self, CloudEvent, Snapshot};
use rumqttc::Publish;
use tokio::sync::watch;

use crate::screen::Screen;
use crate::stage::{NODE, Stage};
use crate::support::broker::topic;
use crate::support::cluster::{ApplicationSpec, Behaviour, Commit, Pace};
use crate::{Args, Sabotage};

const NAMESPACE: &str = "argocd";
const APPLICATION: &str = "shop";

/// How long a step may take before the story counts as broken.
const LIMIT: Duration = Duration::from_secs(20);

/// The story in the telling.
struct Story {
    stage: Stage,
    screen: Screen,
    sabotage: Option<Sabotage>,
    /// For how long a reader may look at what has just happened.
    breath: Duration,
    node_key: String,
    commits: u32,
    /// The newest commit that is well.
    good: String,
    commands: u32,
    indication: watch::Sender<Option<Indication>>,
}

/// Plays the story: once, or again and again until somebody stops it.
pub(crate) async fn play(args: &Args) -> anyhow::Result<()> {
    let (unit, settle, breath) = if args.once {
        (
            Duration::from_millis(200),
            Duration::from_millis(500),
            Duration::ZERO,
        )
    } else {
        (
            Duration::from_secs(1),
            Duration::from_secs(3),
            Duration::from_secs(4),
        )
    };
    let mut screen = Screen::new();
    screen
        .act("edge-agent demo: a broker, a cluster with Argo CD, and a board, all in this process");
    let stage = Stage::set(Pace::with_unit(unit), args.port, settle).await?;
    let (indication, shown) = watch::channel(None);
    screen.watch(stage.colour.clone(), shown);
    screen.line("page", &stage.page);
    let mut story = Story {
        stage,
        screen,
        sabotage: args.sabotage,
        breath,
        node_key: String::new(),
        commits: 0,
        good: String::new(),
        commands: 0,
        indication,
    };
    story.comes_up().await?;
    loop {
        story.bad_commit().await?;
        story.rollback().await?;
        story.resume().await?;
        story.outage().await?;
        if args.once {
            break;
        }
        story
            .screen
            .act("That was it. It begins again; Ctrl-C ends it.");
        story.breathe().await;
    }
    story.stage.strike().await?;
    story.screen.act("All of it happened.");
    Ok(())
}

impl Story {
    async fn comes_up(&mut self) -> anyhow::Result<()> {
        self.screen
            .act("1. A node comes up, and its application is healthy");
        let commit = self.commit(Behaviour::Healthy);
        self.screen.line(
            "git",
            &format!("{} the first commit of {APPLICATION}", short(&commit.sha)),
        );
        self.good.clone_from(&commit.sha);
        let spec = ApplicationSpec::automated(commit);
        self.stage
            .cluster
            .create_application(NAMESPACE, APPLICATION, spec);
        self.published(
            "presence online",
            &Topic::Presence,
            |presence: &wire::Presence| presence.online,
        )
        .await?;
        let identity = self
            .published(
                "the identity",
                &Topic::Identity,
                |identity: &wire::Identity| identity.key.is_some(),
            )
            .await?;
        self.node_key = identity.key.unwrap_or_default();
        self.screen
            .line("mqtt", &format!("presence: {NODE} is online"));
        let health = self
            .published("the health", &Topic::Health, |_: &wire::Health| true)
            .await?;
        self.screen
            .line("mqtt", &format!("health: {}", health.status.as_str()));
        let good = self.good.clone();
        self.application(DeployState::Healthy, &good).await?;
        self.leds(Indication::Healthy).await?;
        self.breathe().await;
        Ok(())
    }

    async fn bad_commit(&mut self) -> anyhow::Result<()> {
        self.screen
            .act("2. A bad commit: Argo CD rolls it out, and it degrades");
        let behaviour = match self.sabotage {
            Some(Sabotage::Commit) => Behaviour::Healthy,
            _ => Behaviour::Degraded,
        };
        let bad = self.push(behaviour, "a bad commit");
        self.application(DeployState::Degraded, &bad).await?;
        self.leds(Indication::DeployFailed).await?;
        self.told("edge.app.state", "Degraded").await?;
        self.breathe().await;
        Ok(())
    }

    async fn rollback(&mut self) -> anyhow::Result<()> {
        self.screen
            .act("3. A signed rollback: pinned, so that auto-sync does not undo it");
        let action = Action::Rollback {
            application: APPLICATION.into(),
            to: RollbackTarget::Previous,
            hold: None,
            prune: false,
            allow_managed: false,
        };
        self.order(action).await?;
        let good = self.good.clone();
        self.application(DeployState::RolledBack, &good).await?;
        self.leds(Indication::Held).await?;
        self.breathe().await;
        Ok(())
    }

    async fn resume(&mut self) -> anyhow::Result<()> {
        self.screen
            .act("4. The fix is in git; the application is given back");
        self.good = self.push(Behaviour::Healthy, "the fix");
        self.order(Action::Resume {
            application: APPLICATION.into(),
        })
        .await?;
        let fix = self.good.clone();
        self.application(DeployState::Healthy, &fix).await?;
        self.leds(Indication::Healthy).await?;
        self.breathe().await;
        Ok(())
    }

    async fn outage(&mut self) -> anyhow::Result<()> {
        self.screen
            .act("5. The broker goes away; what happens meanwhile waits on the medium");
        self.stage.broker.proxy().cut();
        self.screen.line("broker", "gone");
        self.leds(Indication::Offline).await?;
        let bad = self.push(Behaviour::Degraded, "a bad commit, while nobody listens");
        self.page("the application is degraded", |page| {
            is_on(page, DeployState::Degraded, &bad)
        })
        .await?;
        self.good = self.push(Behaviour::Healthy, "its fix");
        let fix = self.good.clone();
        self.page("the application is healthy again", |page| {
            is_on(page, DeployState::Healthy, &fix)
        })
        .await?;
        let page = self
            .page("events wait", |page| page.outbox.records >= 3)
            .await?;
        self.screen.line(
            "page",
            &format!("{} events wait in the outbox", page.outbox.records),
        );
        self.breathe().await;

        self.screen
            .act("6. The broker is back: every event arrives, in order, once");
        self.stage.broker.proxy().restore();
        self.screen.line("broker", "back");
        self.page("the outbox is empty", |page| page.outbox.records == 0)
            .await?;
        self.leds(Indication::Healthy).await?;
        self.published(
            "that the broker is back",
            &Topic::Event,
            |event: &CloudEvent| event.kind == "edge.link.changed" && event.data["up"] == true,
        )
        .await?;
        let count = self.nothing_is_lost()?;
        self.screen.line(
            "mqtt",
            &format!("{count} events and results so far: none lost, none twice"),
        );
        self.breathe().await;
        Ok(())
    }

    /// Compares what the broker has seen with the numbers that the outbox gave: events carry theirs,
    /// and each result takes one, so together they fill the range without a gap.
    fn nothing_is_lost(&self) -> anyhow::Result<usize> {
        let seen = self.stage.recorder.seen();
        let mut events = seen
            .iter()
            .filter(|publish| topic(publish) == format!("edge/v1/{NODE}/event"))
            .map(|publish| serde_json::from_slice::<CloudEvent>(&publish.payload))
            .collect::<Result<Vec<_>, _>>()?;
        if self.sabotage == Some(Sabotage::Outage) {
            events.remove(events.len() / 2);
        }
        let mut ids = BTreeSet::new();
        // What was sent when the connection broke is sent again under its old id, and counts once.
        events.retain(|event| ids.insert(event.id.clone()));
        let numbers = events
            .iter()
            .map(|event| event.sequence.parse::<usize>())
            .collect::<Result<Vec<_>, _>>()?;
        ensure!(numbers.is_sorted(), "events out of order: {numbers:?}");
        let results: BTreeSet<(&str, &[u8])> = seen
            .iter()
            .filter(|publish| topic(publish).contains("/result/"))
            .map(|publish| (topic(publish), &publish.payload[..]))
            .collect();
        let (first, last) = numbers
            .first()
            .zip(numbers.last())
            .context("no event at all")?;
        let stored = last - first + 1;
        let arrived = events.len() + results.len();
        ensure!(
            arrived == stored,
            "{stored} records were stored and {arrived} arrived"
        );
        Ok(arrived)
    }

    /// Signs an order, sends it and follows it to its end.
    async fn order(&mut self, action: Action) -> anyhow::Result<()> {
        self.commands += 1;
        let now = edge_agent::clock::now().wall;
        let command = Command {
            id: format!("demo-{}", self.commands),
            audience: vec![NODE.to_owned()],
            sequence: u64::try_from(now.as_millisecond())?,
            issued_at: now.as_second(),
            expires_at: now.as_second() + 600,
            action,
        };
        let stranger = SigningKey::from_seed(&[1; 32])?;
        let key = match self.sabotage {
            Some(Sabotage::Signature) => &stranger,
            _ => &self.stage.key,
        };
        let order = Order {
            nodes: vec![NodeName::new(NODE)?],
            command: command.id.clone(),
            envelope: seal(COMMAND_TYPE, &command.to_json(), &[("demo", key)]),
            wait: Wait::Finished,
            timeout: LIMIT,
            node_keys: vec![self.node_key.clone()],
        };
        self.screen
            .line("drone", &format!("signs {} and sends it", command.name()));
        let (lines, mut heard) = tokio::sync::mpsc::unbounded_channel::<Line>();
        let mut tell = move |line: &Line| {
            // Nobody listens any more once the story has gone on.
            let _ = lines.send(line.clone());
        };
        let sending = send_envelope(&self.stage.mqtt, order, &mut tell);
        tokio::pin!(sending);
        let outcome = loop {
            let line = tokio::select! {
                biased;
                Some(line) = heard.recv() => line,
                outcome = self.screen.during(&mut sending) => break outcome?,
            };
            self.screen
                .line(&line.node, &format!("{}: {}", line.state, line.message));
        };
        while let Ok(line) = heard.try_recv() {
            self.screen
                .line(&line.node, &format!("{}: {}", line.state, line.message));
        }
        match outcome {
            Outcome::Succeeded => Ok(()),
            other => bail!("{} ended as {other:?}", command.name()),
        }
    }

    fn commit(&mut self, behaviour: Behaviour) -> Commit {
        self.commits += 1;
        Commit::new(
            format!("{:08x}", self.commits.wrapping_mul(0x9e37_79b1)).repeat(5),
            behaviour,
        )
    }

    /// Pushes a commit and returns its SHA.
    fn push(&mut self, behaviour: Behaviour, what: &str) -> String {
        let commit = self.commit(behaviour);
        let sha = commit.sha.clone();
        self.screen
            .line("git", &format!("{} {what}", short(&commit.sha)));
        self.stage
            .cluster
            .push_commit(NAMESPACE, APPLICATION, commit);
        sha
    }

    /// Waits until the last value of a topic is as it should be.
    async fn published<T: serde::de::DeserializeOwned>(
        &mut self,
        what: &str,
        wanted: &Topic,
        is: impl Fn(&T) -> bool,
    ) -> anyhow::Result<T> {
        let wanted = wanted.format(&NodeName::new(NODE)?);
        let last = |seen: &[Publish]| {
            seen.iter()
                .rev()
                .find(|publish| topic(publish) == wanted)
                .and_then(|publish| serde_json::from_slice(&publish.payload).ok())
                .filter(&is)
        };
        let recorder = &mut self.stage.recorder;
        let wait = async {
            loop {
                if let Some(value) = last(recorder.seen_so_far()) {
                    return value;
                }
                recorder.next().await;
            }
        };
        self.screen
            .during(tokio::time::timeout(LIMIT, wait))
            .await
            .with_context(|| format!("the broker never saw {what}"))
    }

    /// Waits until the broker knows the application in a state, on a commit.
    async fn application(&mut self, state: DeployState, commit: &str) -> anyhow::Result<()> {
        let what = format!("{APPLICATION} as {state:?} on {}", short(commit));
        let wanted = Topic::Application(APPLICATION.to_owned());
        let app = self
            .published(&what, &wanted, |app: &wire::App| {
                app.state == state && app.revision.as_deref() == Some(commit)
            })
            .await?;
        let mut line = format!("app/{APPLICATION}: {state:?} on {}", short(commit));
        if let Some(hold) = &app.hold {
            line.push_str(&format!(
                ", held away from {}",
                hold.from.as_deref().map_or("-", short)
            ));
        }
        self.screen.line("mqtt", &line);
        Ok(())
    }

    /// Waits until the page shows that the LEDs say something.
    async fn leds(&mut self, indication: Indication) -> anyhow::Result<()> {
        let what = format!("the LEDs say {}", indication.as_str());
        self.page(&what, |page| page.indication.indication == indication)
            .await?;
        self.screen.indication(indication);
        Ok(())
    }

    /// Waits for an event of a type whose data say a state.
    async fn told(&mut self, kind: &str, state: &str) -> anyhow::Result<()> {
        let event = self
            .published(
                &format!("an event {kind}: {state}"),
                &Topic::Event,
                |event: &CloudEvent| event.kind == kind && event.data["state"] == state,
            )
            .await?;
        self.screen.line(
            "mqtt",
            &format!("event {}: {} is {state}", event.kind, event.subject),
        );
        Ok(())
    }

    /// Waits until the page is as it should be.
    async fn page(
        &mut self,
        what: &str,
        is: impl Fn(&Snapshot) -> bool,
    ) -> anyhow::Result<Snapshot> {
        let snapshots = &mut self.stage.snapshots;
        let indication = &self.indication;
        let wait = async {
            loop {
                let shown = snapshots.borrow_and_update().clone();
                if let Some(page) = shown {
                    indication.send_replace(Some(page.indication.indication));
                    if is(&page) {
                        return Some(page);
                    }
                }
                snapshots.changed().await.ok()?;
            }
        };
        let shown = self.screen.during(tokio::time::timeout(LIMIT, wait)).await;
        shown
            .ok()
            .flatten()
            .with_context(|| format!("the page never showed that {what}"))
    }

    /// Time to look, if somebody does.
    async fn breathe(&mut self) {
        self.screen.pause(self.breath).await;
    }
}

fn is_on(page: &Snapshot, state: DeployState, commit: &str) -> bool {
    page.applications
        .get(APPLICATION)
        .is_some_and(|app| app.state == state && app.revision.as_deref() == Some(commit))
}

fn short(sha: &str) -> &str {
    sha.get(..7).unwrap_or(sha)
}
