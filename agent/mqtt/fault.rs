//! What the end of a connection means: a sentence for people, and how long to keep away.

use std::io;

use rumqttc::tokio_rustls::rustls::{self, AlertDescription, CertificateError};
use rumqttc::{
    ConnectReturnCode, ConnectionError, DisconnectReasonCode, StateError, TlsError, mqttbytes,
};

use crate::config;

/// Why a connection ended or was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// For people: what is wrong and what to do.
    pub(super) sentence: String,
    /// Another client took the session.
    pub(super) taken_over: bool,
    /// The broker closed the connection and said nothing. Not every broker says that another client
    /// took the session; Debian's mosquitto does not.
    pub(super) closed: bool,
    /// The broker sent a packet above the limit, although it was told of it.
    pub(super) oversized: bool,
}

impl Fault {
    pub(super) fn new(sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
            taken_over: false,
            closed: false,
            oversized: false,
        }
    }

    /// Nothing has arrived for longer than the keep-alive allows.
    pub(super) fn silent(mqtt: &config::Mqtt) -> Self {
        Self::new(format!(
            "{} has not answered within twice the keep-alive of {} s: the network may be broken",
            broker(mqtt),
            mqtt.keep_alive_seconds
        ))
    }

    pub(super) fn of(error: &ConnectionError, mqtt: &config::Mqtt) -> Self {
        let broker = broker(mqtt);
        match error {
            ConnectionError::Io(error) | ConnectionError::Tls(TlsError::Io(error)) => {
                Self::of_io(error, &broker, mqtt)
            }
            ConnectionError::Tls(error) => Self::new(tls_sentence(error, &broker, mqtt)),
            ConnectionError::Timeout(_) => Self::new(format!(
                "{broker} did not answer in time: check mqtt.url, the network and the firewall"
            )),
            ConnectionError::ConnectionRefused(code) => Self::new(refused(*code, &broker)),
            ConnectionError::MqttState(error) => Self::of_state(error, &broker, mqtt),
            ConnectionError::NotConnAck(_) => Self::new(format!("{broker} does not speak MQTT 5")),
            other => Self::new(format!("the connection to {broker} failed: {other}")),
        }
    }

    fn of_state(error: &StateError, broker: &str, mqtt: &config::Mqtt) -> Self {
        match error {
            StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)) => {
                Self::of_io(error, broker, mqtt)
            }
            StateError::AwaitPingResp => Self::silent(mqtt),
            StateError::ConnectionAborted => Self::closed(broker),
            StateError::ConnFail { reason } => Self::new(refused(*reason, broker)),
            StateError::ServerDisconnect {
                reason_code,
                reason_string,
            } => Self::sent_away(*reason_code, reason_string.as_deref(), broker),
            StateError::IncomingPacketTooLarge { .. }
            | StateError::Deserialization(mqttbytes::Error::PayloadSizeLimitExceeded { .. }) => {
                Self {
                    oversized: true,
                    ..Self::new(format!(
                        "{broker} sent a packet above the limit that it was told"
                    ))
                }
            }
            other => Self::new(format!("the connection to {broker} broke: {other}")),
        }
    }

    fn sent_away(code: DisconnectReasonCode, text: Option<&str>, broker: &str) -> Self {
        let said = text
            .map(|text| format!(" ({})", limited(text)))
            .unwrap_or_default();
        let sentence = match code {
            DisconnectReasonCode::SessionTakenOver => format!(
                "another client took over this node's session at {broker}{said}: is a second agent running under the same node name?"
            ),
            DisconnectReasonCode::KeepAliveTimeout => {
                format!("{broker} has not heard from this node in time{said}")
            }
            DisconnectReasonCode::NotAuthorized => {
                format!("{broker} does not authorise this node{said}: check its access list")
            }
            DisconnectReasonCode::ServerShuttingDown => format!("{broker} is shutting down{said}"),
            other => format!("{broker} closed the connection: {other:?}{said}"),
        };
        Self {
            taken_over: code == DisconnectReasonCode::SessionTakenOver,
            ..Self::new(sentence)
        }
    }

    fn of_io(error: &io::Error, broker: &str, mqtt: &config::Mqtt) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe => Self::closed(broker),
            _ => Self::new(io_sentence(error, broker, mqtt)),
        }
    }

    fn closed(broker: &str) -> Self {
        Self {
            closed: true,
            ..Self::new(format!(
                "{broker} closed the connection without giving a reason"
            ))
        }
    }

    /// The connection ended before the broker took it. One that closes it then mostly does so over
    /// the credentials, or because it expects TLS.
    pub(super) fn before_it_was_accepted(mut self) -> Self {
        if self.closed {
            self.sentence.push_str(
                " before it accepted it: check the user name and password, and whether it expects TLS (mqtts://)",
            );
        }
        self
    }

    /// The broker takes the connection and closes it, again and again: most likely somebody else
    /// wants the session.
    pub(super) fn suspect_another_client(mut self) -> Self {
        self.taken_over = true;
        self.sentence.push_str(
            ", again and again: is a second agent running under the same node name, or does the broker refuse what this node does?",
        );
        self
    }
}

fn broker(mqtt: &config::Mqtt) -> String {
    format!("the broker {}:{}", mqtt.host, mqtt.port)
}

/// What the other side says goes to logs and payloads only up to here.
fn limited(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}

fn refused(code: ConnectReturnCode, broker: &str) -> String {
    match code {
        ConnectReturnCode::BadUserNamePassword => format!(
            "{broker} refuses the user name or password: check mqtt.username and mqtt.password_file"
        ),
        ConnectReturnCode::NotAuthorized => format!(
            "{broker} does not authorise this node: check mqtt.username, mqtt.password_file and the broker's access list"
        ),
        ConnectReturnCode::ClientIdentifierNotValid | ConnectReturnCode::BadClientId => {
            format!("{broker} refuses the client id of this node")
        }
        ConnectReturnCode::UnsupportedProtocolVersion
        | ConnectReturnCode::RefusedProtocolVersion => {
            format!("{broker} does not speak MQTT 5")
        }
        ConnectReturnCode::Banned => format!("{broker} has banned this node"),
        other => format!("{broker} refuses the connection: {other:?}"),
    }
}

fn io_sentence(error: &io::Error, broker: &str, mqtt: &config::Mqtt) -> String {
    if let Some(tls) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        return rustls_sentence(tls, broker, mqtt);
    }
    // The standard library has no kind for this; the text is its own and stable.
    if error.to_string().contains("failed to lookup address") {
        return format!(
            "the name {} does not resolve: check mqtt.url and the name servers",
            mqtt.host
        );
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("{broker} refuses connections: is it running, and is the port right?")
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            format!("there is no route to {broker}: check the network")
        }
        io::ErrorKind::TimedOut => {
            format!("{broker} did not answer in time: check mqtt.url, the network and the firewall")
        }
        _ => format!("the connection to {broker} failed: {error}"),
    }
}

fn tls_sentence(error: &TlsError, broker: &str, mqtt: &config::Mqtt) -> String {
    match error {
        TlsError::Io(error) => io_sentence(error, broker, mqtt),
        TlsError::TLS(error) => rustls_sentence(error, broker, mqtt),
        TlsError::DNSName(_) => format!("{} is not a name that a certificate can have", mqtt.host),
        other => format!("TLS with {broker} failed: {other}"),
    }
}

fn rustls_sentence(error: &rustls::Error, broker: &str, mqtt: &config::Mqtt) -> String {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
    match error {
        // Two CAs of one name are told apart by the signature alone.
        InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            format!(
                "the certificate of {broker} is signed by an unknown CA: name the right one with mqtt.ca_file"
            )
        }
        InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            format!("the certificate of {broker} has expired, or this node's clock is wrong")
        }
        InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => {
            format!("the certificate of {broker} is not valid yet: this node's clock may be wrong")
        }
        InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!(
            "the certificate of {broker} is for another name than {}",
            mqtt.host
        ),
        InvalidCertificate(other) => {
            format!("the certificate of {broker} does not hold: {other:?}")
        }
        AlertReceived(AlertDescription::CertificateExpired) => {
            format!("{broker} says that this node's certificate has expired (mqtt.cert_file)")
        }
        AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRevoked
            | AlertDescription::AccessDenied,
        ) => format!("{broker} does not accept this node's certificate (mqtt.cert_file): {error}"),
        InvalidMessage(_) => format!("{broker} does not speak TLS on this port"),
        other => format!("TLS with {broker} failed: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn mqtt() -> config::Mqtt {
        config::Mqtt {
            host: "broker.example".to_owned(),
            port: 8883,
            tls: true,
            ca_file: None,
            cert_file: None,
            key_file: None,
            username: None,
            password_file: None,
            keep_alive_seconds: 30,
            session_expiry_seconds: 60,
        }
    }

    fn disconnect(reason_code: DisconnectReasonCode) -> ConnectionError {
        ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code,
            reason_string: Some("said\nso".repeat(100)),
        })
    }

    fn tls(error: rustls::Error) -> ConnectionError {
        ConnectionError::Tls(TlsError::Io(io::Error::new(
            io::ErrorKind::InvalidData,
            error,
        )))
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn every_fault_has_a_sentence_of_its_own() {
        let lookup = "failed to lookup address information: Name or service not known";
        let faults = [
            (
                "does not resolve",
                ConnectionError::Io(io::Error::other(lookup)),
            ),
            (
                "is it running",
                ConnectionError::Io(io::ErrorKind::ConnectionRefused.into()),
            ),
            (
                "mqtt.password_file",
                ConnectionError::ConnectionRefused(ConnectReturnCode::BadUserNamePassword),
            ),
            (
                "access list",
                ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized),
            ),
            (
                "unknown CA",
                tls(rustls::Error::InvalidCertificate(
                    CertificateError::UnknownIssuer,
                )),
            ),
            (
                "has expired",
                tls(rustls::Error::InvalidCertificate(CertificateError::Expired)),
            ),
            (
                "another name",
                tls(rustls::Error::InvalidCertificate(
                    CertificateError::NotValidForName,
                )),
            ),
            (
                "mqtt.cert_file",
                tls(rustls::Error::AlertReceived(
                    AlertDescription::CertificateRequired,
                )),
            ),
            (
                "second agent",
                disconnect(DisconnectReasonCode::SessionTakenOver),
            ),
            (
                "shutting down",
                disconnect(DisconnectReasonCode::ServerShuttingDown),
            ),
            (
                "keep-alive",
                ConnectionError::MqttState(StateError::AwaitPingResp),
            ),
            (
                "without giving a reason",
                ConnectionError::MqttState(StateError::ConnectionAborted),
            ),
        ];
        let mut sentences = BTreeSet::new();
        for (part, error) in &faults {
            let sentence = Fault::of(error, &mqtt()).sentence;
            assert!(sentence.contains(part), "{sentence}");
            assert!(sentence.contains("broker.example"), "{sentence}");
            assert!(
                sentence.len() < 400 && !sentence.contains('\n'),
                "{sentence}"
            );
            sentences.insert(sentence);
        }
        assert_eq!(sentences.len(), faults.len());
    }

    #[test]
    fn a_session_that_was_taken_over_is_told_apart() {
        let fault = |code| Fault::of(&disconnect(code), &mqtt());
        assert!(fault(DisconnectReasonCode::SessionTakenOver).taken_over);
        assert!(!fault(DisconnectReasonCode::ServerBusy).taken_over);
    }

    #[test]
    fn an_alert_after_the_handshake_is_still_about_the_certificate() {
        // With TLS 1.3 the broker judges our certificate when the handshake is over for us.
        let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        let io = io::Error::new(io::ErrorKind::InvalidData, alert);
        let error = StateError::Deserialization(mqttbytes::Error::Io(io));
        let sentence = Fault::of(&ConnectionError::MqttState(error), &mqtt()).sentence;
        assert!(sentence.contains("mqtt.cert_file"), "{sentence}");
    }

    #[test]
    fn a_silent_end_gets_the_hint_that_fits_its_moment() {
        let reset = || ConnectionError::Io(io::ErrorKind::ConnectionReset.into());
        let early = Fault::of(&reset(), &mqtt()).before_it_was_accepted();
        assert!(early.sentence.contains("mqtts://") && !early.taken_over);
        let often = Fault::of(&reset(), &mqtt()).suspect_another_client();
        assert!(often.sentence.contains("second agent") && often.taken_over);
        let refused = ConnectionError::Io(io::ErrorKind::ConnectionRefused.into());
        let refused = Fault::of(&refused, &mqtt());
        assert_eq!(refused.clone().before_it_was_accepted(), refused);
    }

    #[test]
    fn an_oversized_packet_is_told_apart() {
        let error = mqttbytes::Error::PayloadSizeLimitExceeded {
            pkt_size: 20_000,
            max: 10_000,
        };
        let error = ConnectionError::MqttState(StateError::Deserialization(error));
        assert!(Fault::of(&error, &mqtt()).oversized);
    }
}
