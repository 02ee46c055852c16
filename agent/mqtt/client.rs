//! rumqttc: how a client is set up, how its event loop is driven, and what goes in and out of it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::FutureExt;
use futures::future::BoxFuture;
use rumqttc::{
    AckMode, AsyncClient, ConnectionError, EventLoop, LastWill, LastWillProperties, ManualAck,
    MqttOptions, Outgoing, Packet, PubAckReason, PublishNoticeError, PublishOptions,
    PublishProperties, PublishResult, QoS, RetainForwardRule, SubscribeFilter, SubscribeReasonCode,
    Transport,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::empty_session::EmptySession;
use super::fault::Fault;
use super::publisher::{Answer, Message, Publish};
use super::tls;
use crate::config;

/// What may arrive in one packet, in bytes: an envelope of 8 KiB and its topic. Told to the broker,
/// which then leaves larger ones out.
pub(super) const MAX_INCOMING: u32 = 10 * 1024;

/// The limit after a broker has sent more than it was told, so that what is in its queue can be
/// taken out of it, and refused.
pub(super) const MAX_INCOMING_ONCE: u32 = 1024 * 1024;

/// What is published in one packet, in bytes; a broker may allow less.
const MAX_OUTGOING: usize = 64 * 1024;

/// Bytes of a packet that are neither topic nor payload, at most.
const OVERHEAD: usize = 128;

/// Publishes in flight. Without this limit rumqttc keeps tables for 65,535 of them.
pub(super) const IN_FLIGHT: u16 = 32;

/// Commands that the broker may deliver before the first of them is acknowledged.
const RECEIVE_MAXIMUM: u16 = 32;

/// Requests between the publisher and the event loop: more than can be in flight, and an
/// acknowledgement for everything that may wait in the intake, because one that is not sent takes up
/// a place at the broker for as long as the connection lasts.
const REQUESTS: usize = 64 + 2 * super::intake::WAITING;

/// How long a connection may take to come about, TLS and CONNACK included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// What a client is to be like.
pub(super) struct Setup {
    pub(super) client_id: String,
    /// `None`: nothing outlives the connection.
    pub(super) will: Option<Will>,
    pub(super) clean_start: bool,
    pub(super) max_incoming: u32,
}

/// What the broker is to publish, retained, when the connection is lost.
pub(super) struct Will {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) delay: Duration,
}

/// Makes a client and its event loop; nothing is connected yet. Reads the files that the settings
/// name, so it blocks for a moment.
///
/// # Errors
/// When a file cannot be read or used.
pub(super) fn build(mqtt: &config::Mqtt, setup: Setup) -> anyhow::Result<(Client, EventLoop)> {
    let mut options = MqttOptions::new(setup.client_id, (mqtt.host.clone(), mqtt.port));
    options
        .set_keep_alive(mqtt.keep_alive_seconds)
        .set_connect_timeout(CONNECT_TIMEOUT)
        .set_ack_mode(AckMode::Manual)
        .set_clean_start(setup.clean_start)
        .set_max_packet_size(Some(setup.max_incoming))
        .set_receive_maximum(Some(RECEIVE_MAXIMUM))
        .set_outgoing_inflight_upper_limit(IN_FLIGHT);
    let mut network = options.network_options();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    if !setup.clean_start {
        options
            .set_session_expiry_interval(Some(mqtt.session_expiry_seconds))
            .set_session_store(EmptySession);
    }
    if let Some(will) = setup.will {
        options.set_last_will(last_will(will));
    }
    if mqtt.tls {
        options.set_transport(Transport::tls_with_config(tls::configuration(mqtt)?));
    }
    match (&mqtt.username, password(mqtt)?) {
        (Some(username), Some(password)) => {
            options.set_credentials(username, password);
        }
        (Some(username), None) => {
            options.set_username(username);
        }
        (None, Some(password)) => {
            options.set_password(password);
        }
        (None, None) => {}
    }
    let (client, event_loop) = AsyncClient::builder(options)
        .capacity(REQUESTS)
        .try_build()
        .context("the MQTT client cannot be set up")?;
    let client = Client {
        client,
        max_packet: MAX_OUTGOING,
    };
    Ok((client, event_loop))
}

fn last_will(will: Will) -> LastWill {
    let delay = u32::try_from(will.delay.as_secs()).unwrap_or(u32::MAX);
    let properties = LastWillProperties {
        delay_interval: Some(delay),
        payload_format_indicator: None,
        message_expiry_interval: None,
        content_type: None,
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    };
    LastWill::new(
        will.topic,
        will.payload,
        QoS::AtLeastOnce,
        true,
        Some(properties),
    )
}

/// The password, without the line end that editors leave.
fn password(mqtt: &config::Mqtt) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(path) = &mqtt.password_file else {
        return Ok(None);
    };
    let mut password = tls::read(path).context("mqtt.password_file")?;
    while password
        .last()
        .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
    {
        password.pop();
    }
    Ok(Some(password))
}

/// A message that arrived on a topic that was subscribed to.
pub(super) struct Received {
    pub(super) topic: Vec<u8>,
    pub(super) payload: Vec<u8>,
    pub(super) retained: bool,
    pub(super) ack: Ack,
}

/// What acknowledges one message; nothing for QoS 0.
pub(super) struct Ack(Option<ManualAck>);

impl Ack {
    /// The message came with QoS 0.
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    #[cfg(test)]
    pub(super) fn for_test(pkid: u16) -> Self {
        Self((pkid > 0).then(|| ManualAck::PubAck(rumqttc::PubAck::new(pkid, None))))
    }

    #[cfg(test)]
    pub(super) fn id_for_test(&self) -> u16 {
        match &self.0 {
            Some(ManualAck::PubAck(ack)) => ack.pkid,
            _ => 0,
        }
    }
}

/// What the broker said when it took the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepted {
    /// The largest packet that it takes, in bytes.
    pub(super) max_packet: Option<u32>,
    /// It has kept the session of an earlier connection.
    pub(super) session_present: bool,
}

/// Runs the event loop until the connection ends, which it always does with a fault; after
/// [`Client::disconnect`] the fault means nothing. Messages that find `received` full are left to
/// the broker, which delivers them again on the next connection.
///
/// The event loop must not be polled anew for every event beside other work: a poll that is dropped
/// halfway may lose what it was about to send. So this future is polled to its end.
pub(super) async fn drive(
    mut event_loop: EventLoop,
    mqtt: &config::Mqtt,
    accepted: oneshot::Sender<Accepted>,
    received: mpsc::Sender<Received>,
    on_overflow: impl Fn(),
) -> Fault {
    let mut accepted = Some(accepted);
    let mut deadline = Instant::now() + CONNECT_TIMEOUT + CONNECT_TIMEOUT;
    loop {
        let Ok(polled) = tokio::time::timeout_at(deadline, event_loop.poll()).await else {
            return Fault::silent(mqtt);
        };
        let packet = match polled {
            Ok(rumqttc::Event::Incoming(packet)) => packet,
            // Either it was ordered, or rumqttc answers what it does not understand.
            Ok(rumqttc::Event::Outgoing(Outgoing::Disconnect))
            | Err(ConnectionError::RequestsDone) => {
                return Fault::new("the connection was closed by this node after a protocol fault");
            }
            Ok(_) => continue,
            Err(error) => {
                let fault = Fault::of(&error, mqtt);
                return match accepted {
                    Some(_) => fault.before_it_was_accepted(),
                    None => fault,
                };
            }
        };
        // The broker may have changed the keep-alive.
        deadline = Instant::now() + event_loop.options.keep_alive() * 2;
        match packet {
            Packet::ConnAck(ack) => {
                let properties = ack.properties.as_ref();
                let said = Accepted {
                    max_packet: properties.and_then(|it| it.max_packet_size),
                    session_present: ack.session_present,
                };
                if let Some(accepted) = accepted.take() {
                    // Nobody listens any more when the end was ordered meanwhile.
                    let _ = accepted.send(said);
                }
            }
            Packet::Publish(publish) => {
                let message = Received {
                    topic: publish.topic.to_vec(),
                    retained: publish.retain,
                    ack: Ack(match publish.qos {
                        QoS::AtMostOnce => None,
                        _ => Some(ManualAck::PubAck(rumqttc::PubAck::new(publish.pkid, None))),
                    }),
                    payload: publish.payload.to_vec(),
                };
                if received.try_send(message).is_err() {
                    on_overflow();
                }
            }
            _ => {}
        }
    }
}

/// The sending side of a connection. Everything is queued at once and in order.
#[derive(Clone)]
pub(super) struct Client {
    client: AsyncClient,
    max_packet: usize,
}

impl Client {
    /// Takes over the limits that the broker named.
    pub(super) fn accept(&mut self, accepted: Accepted) {
        let limit = accepted
            .max_packet
            .and_then(|limit| usize::try_from(limit).ok());
        self.max_packet = limit.map_or(MAX_OUTGOING, |limit| limit.min(MAX_OUTGOING));
    }

    /// Subscribes, retained messages left out or not; resolves with what is wrong, if
    /// anything.
    pub(super) fn subscribe(
        &self,
        topic: &str,
        retained: bool,
        qos: QoS,
    ) -> BoxFuture<'static, Result<(), String>> {
        let mut filter = SubscribeFilter::new(topic, qos);
        filter.preserve_retain = true;
        if !retained {
            filter.retain_forward_rule = RetainForwardRule::Never;
        }
        let notice = match self.client.try_subscribe_many_tracked([filter]) {
            Ok(notice) => notice,
            Err(error) => return std::future::ready(Err(error.to_string())).boxed(),
        };
        async move {
            let suback = notice
                .wait_async()
                .await
                .map_err(|error| error.to_string())?;
            match suback.return_codes.first() {
                Some(SubscribeReasonCode::Success(_)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        }
        .boxed()
    }

    pub(super) fn acknowledge(&self, ack: Ack) {
        if let Some(ack) = ack.0
            && let Err(error) = self.client.try_manual_ack(ack)
        {
            // The broker delivers it again on the next connection.
            tracing::debug!(%error, "an acknowledgement was not sent");
        }
    }

    /// Sends DISCONNECT once what is in flight is acknowledged, or after `limit`; then
    /// [`drive`] ends.
    pub(super) fn disconnect(&self, limit: Duration) {
        if let Err(error) = self.client.try_disconnect_with_timeout(limit) {
            tracing::debug!(%error, "DISCONNECT was not sent");
        }
    }
}

impl Publish for Client {
    fn publish(&self, message: Message) -> BoxFuture<'static, Answer> {
        let size = message.topic.len() + message.payload.len() + OVERHEAD;
        if size > self.max_packet {
            // Sending it would end the connection, and the next one, and so on.
            let limit = self.max_packet;
            let answer =
                Answer::Refused(format!("its {size} bytes are above the limit of {limit}"));
            return std::future::ready(answer).boxed();
        }
        let properties = PublishProperties {
            message_expiry_interval: message.expiry_seconds,
            content_type: message.content_type.map(str::to_owned),
            ..PublishProperties::default()
        };
        let options = PublishOptions::at_least_once()
            .retain(message.retain)
            .properties(properties);
        let queued = self
            .client
            .try_publish_tracked(message.topic, message.payload, options);
        match queued {
            Ok(notice) => async move { answer(notice.wait_async().await) }.boxed(),
            Err(error) => {
                tracing::debug!(%error, "a publish was not queued");
                std::future::ready(Answer::Lost).boxed()
            }
        }
    }
}

fn answer(result: Result<PublishResult, PublishNoticeError>) -> Answer {
    match result {
        Ok(PublishResult::Qos1(ack)) => match ack.reason {
            PubAckReason::Success => Answer::Accepted { anyone: true },
            PubAckReason::NoMatchingSubscribers => Answer::Accepted { anyone: false },
            reason => Answer::Refused(format!("{reason:?}")),
        },
        Ok(_) => Answer::Accepted { anyone: true },
        Err(PublishNoticeError::RetainNotSupported) => {
            Answer::Refused("it does not keep retained messages".to_owned())
        }
        Err(error) => {
            tracing::debug!(%error, "a publish was not acknowledged");
            Answer::Lost
        }
    }
}

/// Makes a client in a thread where reading files and parsing certificates hold nothing up.
///
/// # Errors
/// As [`build`].
pub(super) async fn build_aside(
    mqtt: &Arc<config::Mqtt>,
    setup: Setup,
) -> anyhow::Result<(Client, EventLoop)> {
    let mqtt = Arc::clone(mqtt);
    tokio::task::spawn_blocking(move || build(&mqtt, setup)).await?
}
