//! What stands in the outbox: one message for the broker, with the little that deciding about it
//! needs in front of its bytes.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::SystemTime;

use edge_agent_core::event::Fact;
use edge_agent_core::retention::{Class, Entry};
use edge_agent_core::topic::{NodeName, Topic};
use edge_agent_core::wire::CloudEvent;
use jiff::Timestamp;
use ulid::Ulid;

/// The largest payload of an event, in bytes. Larger values cost sled disproportionately.
pub const MAX_EVENT: usize = 8 * 1024;

/// The largest result envelope, in bytes. It is never made smaller, because it is signed.
pub const MAX_RESULT: usize = 32 * 1024;

/// The version byte of the layout that [`encode`] writes.
const LAYOUT: u8 = 1;

/// Version, class, target, time, subject and the length of the id.
const HEADER: usize = 1 + 1 + 1 + 8 + 8 + 1;

/// Something that is to be stored.
#[derive(Debug, Clone, PartialEq)]
pub enum NewRecord {
    /// A fact. It has its id from the start, so that a write that is tried again after an error
    /// makes no second event of it.
    Event { id: Ulid, fact: Fact },
    /// The sealed answer to a command.
    Result {
        /// The id of the command.
        command: String,
        /// The signed envelope.
        envelope: Vec<u8>,
        /// When it was given.
        at: Timestamp,
    },
}

impl NewRecord {
    /// A fact under a fresh id.
    #[must_use]
    pub fn event(fact: Fact) -> Self {
        let time = SystemTime::from(fact.at.max(Timestamp::UNIX_EPOCH));
        Self::Event {
            id: Ulid::from_datetime(time),
            fact,
        }
    }

    /// What decides about dropping it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Event { fact, .. } => fact.class,
            Self::Result { .. } => Class::CommandResult,
        }
    }

    /// When it happened.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Event { fact, .. } => fact.at,
            Self::Result { at, .. } => *at,
        }
    }
}

/// Where a record goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// The topic `event`, not retained.
    Event,
    /// The topic `result/<command id>`, retained, expiring.
    Result(String),
}

impl Target {
    /// The topic of the contract.
    #[must_use]
    pub fn topic(&self) -> Topic {
        match self {
            Self::Event => Topic::Event,
            Self::Result(command) => Topic::Result(command.clone()),
        }
    }
}

/// A record as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place; strictly growing over the life of the node.
    pub sequence: u64,
    /// What decides about dropping it.
    pub class: Class,
    /// When it happened.
    pub at: Timestamp,
    /// Where it goes.
    pub target: Target,
    /// The bytes for the broker.
    pub payload: Vec<u8>,
}

/// The part of a stored value in front of the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) class: Class,
    pub(super) at: Timestamp,
    pub(super) subject: u64,
    target: u8,
    id_length: usize,
}

impl Header {
    /// Reads the header of a stored value; `None` for bytes that this version did not write.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let header = value.get(..HEADER)?;
        if header[0] != LAYOUT || header[2] > 1 {
            return None;
        }
        let id_length = usize::from(header[19]);
        value.get(HEADER..HEADER + id_length)?;
        Some(Self {
            class: Class::from_byte(header[1])?,
            target: header[2],
            at: Timestamp::from_millisecond(i64::from_be_bytes(header[3..11].try_into().ok()?))
                .ok()?,
            subject: u64::from_be_bytes(header[11..19].try_into().ok()?),
            id_length,
        })
    }

    pub(super) fn entry(&self, sequence: u64) -> Entry {
        Entry {
            sequence,
            class: self.class,
            subject: self.subject,
        }
    }
}

/// Reads a stored value; `None` for bytes that this version did not write.
pub(super) fn decode(sequence: u64, value: &[u8]) -> Option<Record> {
    let header = Header::read(value)?;
    let payload_at = HEADER + header.id_length;
    let id = std::str::from_utf8(&value[HEADER..payload_at]).ok()?;
    Some(Record {
        sequence,
        class: header.class,
        at: header.at,
        target: match header.target {
            0 => Target::Event,
            _ => Target::Result(id.to_owned()),
        },
        payload: value[payload_at..].to_vec(),
    })
}

/// The value to store for a record under a sequence; `None` when it is beyond every limit.
pub(super) fn encode(record: &NewRecord, sequence: u64, node: &NodeName) -> Option<Vec<u8>> {
    let (target, subject, id, payload) = match record {
        NewRecord::Event { id, fact } => (
            0,
            subject_hash(&fact.subject),
            "",
            event_payload(*id, fact, sequence, node)?,
        ),
        NewRecord::Result {
            command, envelope, ..
        } => {
            if envelope.len() > MAX_RESULT {
                return None;
            }
            (1, subject_hash(command), command.as_str(), envelope.clone())
        }
    };
    let mut value = Vec::with_capacity(HEADER + id.len() + payload.len());
    value.extend([LAYOUT, record.class() as u8, target]);
    value.extend(record.at().as_millisecond().to_be_bytes());
    value.extend(subject.to_be_bytes());
    value.push(u8::try_from(id.len()).ok()?);
    value.extend(id.as_bytes());
    value.extend(payload);
    Some(value)
}

fn event_payload(id: Ulid, fact: &Fact, sequence: u64, node: &NodeName) -> Option<Vec<u8>> {
    let mut event = CloudEvent {
        specversion: "1.0".to_owned(),
        id: id.to_string(),
        source: node.source(),
        kind: fact.kind.clone().into_owned(),
        subject: fact.subject.clone(),
        time: fact.at,
        datacontenttype: "application/json".to_owned(),
        sequence: format!("{sequence:020}"),
        data: fact.data.clone(),
    };
    let payload = serde_json::to_vec(&event).ok()?;
    if payload.len() <= MAX_EVENT {
        return Some(payload);
    }
    // That it happened, when and to what is worth more than the details that make it too large.
    event.subject = event.subject.chars().take(512).collect();
    event.data = serde_json::json!({ "omitted_bytes": payload.len() });
    serde_json::to_vec(&event).ok()
}

/// Equal subjects have equal hashes within one version of the agent; a collision only costs the
/// older of two deploy states its place on the shelf.
fn subject_hash(subject: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    subject.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(data: serde_json::Value) -> Fact {
        Fact {
            class: Class::DeployState,
            kind: "edge.app.state".into(),
            subject: "shop".to_owned(),
            at: "2026-11-24T20:31:28.123Z".parse().unwrap(),
            data,
        }
    }

    fn node() -> NodeName {
        NodeName::new("pi-01").unwrap()
    }

    #[test]
    fn a_fact_becomes_a_cloud_event() {
        let new = NewRecord::event(fact(serde_json::json!({"state": "Healthy"})));
        let value = encode(&new, 42, &node()).unwrap();
        let record = decode(42, &value).unwrap();
        assert_eq!(record.class, Class::DeployState);
        assert_eq!(record.target, Target::Event);
        let event: serde_json::Value = serde_json::from_slice(&record.payload).unwrap();
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["source"], "edge/v1/pi-01");
        assert_eq!(event["type"], "edge.app.state");
        assert_eq!(event["subject"], "shop");
        assert_eq!(event["time"], "2026-11-24T20:31:28.123Z");
        assert_eq!(event["sequence"], "00000000000000000042");
        assert_eq!(event["data"]["state"], "Healthy");
        let id: Ulid = event["id"].as_str().unwrap().parse().unwrap();
        assert_eq!(
            i64::try_from(id.timestamp_ms()).unwrap(),
            record.at.as_millisecond()
        );
    }

    #[test]
    fn a_second_write_of_a_fact_keeps_its_id() {
        let new = NewRecord::event(fact(serde_json::Value::Null));
        let id = |sequence| {
            let value = encode(&new, sequence, &node()).unwrap();
            let payload = decode(sequence, &value).unwrap().payload;
            serde_json::from_slice::<CloudEvent>(&payload).unwrap().id
        };
        assert_eq!(id(1), id(2));
    }

    #[test]
    fn details_that_are_too_large_are_left_out_and_the_fact_stays() {
        let new = NewRecord::event(fact(serde_json::json!("x".repeat(MAX_EVENT))));
        let record = decode(1, &encode(&new, 1, &node()).unwrap()).unwrap();
        assert!(record.payload.len() <= MAX_EVENT);
        let event: CloudEvent = serde_json::from_slice(&record.payload).unwrap();
        assert_eq!(event.subject, "shop");
        assert!(event.data["omitted_bytes"].as_u64().unwrap() > MAX_EVENT as u64);
    }

    #[test]
    fn a_result_keeps_its_bytes() {
        let new = NewRecord::Result {
            command: "01J0".to_owned(),
            envelope: b"{\"payload\":\"\"}".to_vec(),
            at: Timestamp::UNIX_EPOCH,
        };
        let record = decode(7, &encode(&new, 7, &node()).unwrap()).unwrap();
        assert_eq!(record.target, Target::Result("01J0".to_owned()));
        assert_eq!(record.class, Class::CommandResult);
        assert_eq!(record.payload, b"{\"payload\":\"\"}");
    }

    #[test]
    fn bytes_of_another_layout_are_not_read() {
        let value = encode(&NewRecord::event(fact(serde_json::Value::Null)), 1, &node()).unwrap();
        for (at, byte) in [(0, 9), (1, 6), (2, 2)] {
            let mut other = value.clone();
            other[at] = byte;
            assert_eq!(decode(1, &other), None);
        }
        for length in 0..HEADER {
            assert_eq!(decode(1, &value[..length]), None);
        }
    }
}
