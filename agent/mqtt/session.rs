//! The life of the link: connect, publish and take commands while it lasts, wait, connect again; and
//! the goodbye.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use edge_agent_core::backoff::Backoff;
use edge_agent_core::event::{Event, Link, LinkStatus};
use edge_agent_core::topic::Topic;
use edge_agent_core::wire::PresenceReason;
use rumqttc::{EventLoop, QoS};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::client::{self, Accepted, Client, Setup, Will};
use super::fault::Fault;
use super::intake::{self, Intake};
use super::publisher::{Publisher, Sources};
use super::refusals::Refusals;
use super::retained::Retained;
use super::{Settings, Stop};
use crate::config;
use crate::store::outbox::Outbox;

/// The shortest and the longest wait before a topic that the broker refused is tried again.
const REFUSED: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// How long the goodbye may take, and the DISCONNECT after it.
const GOODBYE: Duration = Duration::from_secs(1);

/// Connections in a row that the broker took and soon closed without a word, before another client
/// is suspected. A broker that is restarted a few times in a minute looks the same, and must not keep
/// the node away for longer.
const CLOSED_IN_A_ROW: u32 = 5;

/// The name of the intake in [`Event::Impaired`].
const INTAKE: &str = "commands";

/// The task of the link; [`Session::run`] is to be spawned.
pub struct Session {
    settings: Settings,
    mqtt: Arc<config::Mqtt>,
    sources: Sources,
    intake: Intake,
    /// What was told last.
    status: Option<LinkStatus>,
    max_incoming: u32,
}

impl Session {
    pub(super) fn new(
        settings: Settings,
        outbox: Outbox,
        events: mpsc::Sender<Event>,
        retained: Retained,
        intake: Intake,
    ) -> Self {
        Self {
            mqtt: Arc::new(settings.mqtt.clone()),
            sources: Sources {
                node: settings.node.clone(),
                outbox,
                retained,
                events,
                refusals: Refusals::new(REFUSED.0, REFUSED.1),
            },
            settings,
            intake,
            status: None,
            max_incoming: client::MAX_INCOMING,
        }
    }

    /// Runs until `stop.all`, and then for as long as the goodbye takes: [`super::Timing::drain`]
    /// and two seconds more at most.
    ///
    /// # Errors
    /// None at present: every fault of the link is told as [`Event::LinkChanged`], and tried again.
    pub async fn run(mut self, stop: Stop) -> anyhow::Result<()> {
        let timing = self.settings.timing;
        let mut backoff = Backoff::new(timing.backoff_min, timing.backoff_max);
        let mut closed_in_a_row = 0;
        while !stop.all.is_cancelled() {
            let (mut fault, held) = self.connect(&stop).await;
            if stop.all.is_cancelled() {
                break;
            }
            let was_stable = held.is_some_and(|held| held >= timing.stable);
            if was_stable {
                backoff.reset();
            }
            let soon_closed = fault.closed && held.is_some() && !was_stable;
            closed_in_a_row = if soon_closed { closed_in_a_row + 1 } else { 0 };
            if closed_in_a_row >= CLOSED_IN_A_ROW {
                fault = fault.suspect_another_client();
            }
            self.max_incoming = if fault.oversized {
                client::MAX_INCOMING_ONCE
            } else {
                client::MAX_INCOMING
            };
            let mut wait = backoff.next(super::random());
            if fault.taken_over {
                wait = wait.max(timing.contested);
            }
            tracing::info!(wait_ms = wait.as_millis(), "the broker is tried again");
            self.tell(LinkStatus::Down(fault.sentence)).await;
            tokio::select! {
                () = stop.all.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        Ok(())
    }

    /// One connection, from its first packet to its end; returns why it ended, and how long it held if
    /// the broker took it.
    async fn connect(&mut self, stop: &Stop) -> (Fault, Option<Duration>) {
        let node = self.settings.node.clone();
        let setup = Setup {
            client_id: format!("edge-agent-{node}"),
            will: Some(Will {
                topic: Topic::Presence.format(&node),
                payload: (self.settings.presence)(PresenceReason::Lost),
                delay: self.settings.timing.will_delay,
            }),
            clean_start: false,
            max_incoming: self.max_incoming,
        };
        match client::build_aside(&self.mqtt, setup).await {
            Ok((client, event_loop)) => self.serve(client, event_loop, stop).await,
            Err(error) => (Fault::new(format!("{error:#}")), None),
        }
    }

    async fn serve(
        &mut self,
        mut client: Client,
        event_loop: EventLoop,
        stop: &Stop,
    ) -> (Fault, Option<Duration>) {
        let mqtt = Arc::clone(&self.mqtt);
        let (accepted, said) = oneshot::channel();
        let (sender, received) = mpsc::channel(intake::WAITING);
        let ignored = self.intake.ignored();
        let on_overflow = move || {
            ignored.fetch_add(1, Ordering::Relaxed);
        };
        let drive = client::drive(event_loop, &mqtt, accepted, sender, on_overflow);
        let mut drive = std::pin::pin!(drive);
        let accepted = tokio::select! {
            fault = &mut drive => return (fault, None),
            said = said => said,
            () = stop.all.cancelled() => return (Fault::new("stopped"), None),
        };
        // The sender goes with the connection, so one that is lost here has told its fault.
        let Ok(accepted) = accepted else {
            return (drive.await, None);
        };
        let connected = Instant::now();
        client.accept(accepted);
        let work = self.work(&client, accepted, received, stop);
        let fault = tokio::select! {
            fault = &mut drive => fault,
            () = work => {
                client.disconnect(GOODBYE);
                let end = tokio::time::timeout(GOODBYE, &mut drive).await;
                end.unwrap_or_else(|_| Fault::silent(&mqtt))
            }
        };
        (fault, Some(connected.elapsed()))
    }

    /// What is done over a connection. Ends after `stop.all`, with the goodbye said.
    async fn work(
        &mut self,
        client: &Client,
        accepted: Accepted,
        received: mpsc::Receiver<client::Received>,
        stop: &Stop,
    ) {
        tracing::info!(
            session = accepted.session_present,
            "the broker is connected"
        );
        let node = self.settings.node.clone();
        let presence = Topic::Presence.format(&node);
        let payload = (self.settings.presence)(PresenceReason::Started);
        self.sources.retained.set(presence.clone(), payload);
        self.tell(LinkStatus::Up).await;

        let subscribed = subscribe(
            client,
            &node,
            (self.intake.is_open(), self.intake.birth_topic()),
            self.sources.events.clone(),
        );
        let acknowledge = |ack| client.acknowledge(ack);
        let intake = self.intake.run(received, acknowledge, &stop.intake);
        let drain = self.settings.timing.drain;
        let presence_for = Arc::clone(&self.settings.presence);
        let publish = async {
            let mut publisher = Publisher::new(client, &mut self.sources, presence);
            publisher.run(&stop.all, drain).await;
            // Made only now, because it says since when the node is away.
            let goodbye = presence_for(PresenceReason::Stopped);
            publisher.say_goodbye(goodbye, GOODBYE).await;
        };
        let incoming = async {
            tokio::join!(subscribed, intake);
        };
        tokio::select! {
            () = publish => {}
            () = incoming => {}
        }
    }

    /// Tells how the link is, if that is another than was told last.
    async fn tell(&mut self, status: LinkStatus) {
        if self.status.as_ref() == Some(&status) {
            return;
        }
        if let LinkStatus::Down(reason) = &status {
            tracing::warn!("{reason}");
        }
        self.status = Some(status.clone());
        let event = Event::LinkChanged {
            link: Link::Broker,
            status,
        };
        // A supervisor that has gone needs no telling.
        let _ = self.sources.events.send(event).await;
    }
}

/// Subscribes to the commands, and to the start of Home Assistant. That is done on every connection: a
/// session that the broker kept may be older than the subscription, and to subscribe twice does no
/// harm, as retained messages are left out.
async fn subscribe(
    client: &Client,
    node: &edge_agent_core::topic::NodeName,
    (open, birth): (bool, Option<String>),
    events: mpsc::Sender<Event>,
) {
    if let Some(topic) = birth
        && let Err(reason) = client.subscribe(&topic, false, QoS::AtMostOnce).await
    {
        tracing::warn!(
            "the broker refuses the subscription to {topic} ({reason}): when Home Assistant starts, it has \
             to find in the broker what it is told of this node"
        );
    }
    if !open {
        return;
    }
    let topic = Topic::Command.format(node);
    let fault = client.subscribe(&topic, false, QoS::AtLeastOnce).await.err().map(|reason| {
        let fault = format!(
            "the broker refuses the subscription to {topic} ({reason}), so commands cannot arrive: check its access list"
        );
        tracing::warn!("{fault}");
        fault
    });
    // A supervisor that has gone needs no telling.
    let _ = events
        .send(Event::Impaired {
            part: INTAKE,
            fault,
        })
        .await;
}
