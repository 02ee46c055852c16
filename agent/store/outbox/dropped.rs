//! What had to go for lack of room, and the event that tells of it.

use edge_agent_core::clock::format_timestamp;
use edge_agent_core::event::Fact;
use edge_agent_core::retention::Class;
use jiff::Timestamp;

/// Bytes of one stored entry: class, count, oldest and newest.
const ENTRY: usize = 1 + 8 + 8 + 8;

/// Records of one class that were dropped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropped {
    pub class: Class,
    pub count: u64,
    /// When the oldest of them happened.
    pub oldest: Timestamp,
    /// When the newest of them happened.
    pub newest: Timestamp,
}

impl Dropped {
    /// One record.
    pub(super) fn one(class: Class, at: Timestamp) -> Self {
        Self {
            class,
            count: 1,
            oldest: at,
            newest: at,
        }
    }

    /// The fact that tells of them.
    pub(super) fn fact(self) -> Fact {
        Fact {
            class: Class::Agent,
            kind: "edge.outbox.dropped".into(),
            subject: self.class.as_str().to_owned(),
            at: self.newest,
            data: serde_json::json!({
                "class": self.class.as_str(),
                "count": self.count,
                "oldest": format_timestamp(self.oldest),
                "newest": format_timestamp(self.newest),
                "reason": "full",
            }),
        }
    }
}

/// Adds up by class.
pub(super) fn merge(all: &mut Vec<Dropped>, more: &[Dropped]) {
    for drop in more {
        match all.iter_mut().find(|known| known.class == drop.class) {
            Some(known) => {
                known.count += drop.count;
                known.oldest = known.oldest.min(drop.oldest);
                known.newest = known.newest.max(drop.newest);
            }
            None => all.push(*drop),
        }
    }
}

pub(super) fn count(all: &[Dropped]) -> u64 {
    all.iter().map(|drop| drop.count).sum()
}

pub(super) fn encode(all: &[Dropped]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(all.len() * ENTRY);
    for drop in all {
        bytes.push(drop.class as u8);
        bytes.extend(drop.count.to_be_bytes());
        bytes.extend(drop.oldest.as_millisecond().to_be_bytes());
        bytes.extend(drop.newest.as_millisecond().to_be_bytes());
    }
    bytes
}

/// Reads what [`encode`] wrote; what makes no sense is left out.
pub(super) fn decode(bytes: &[u8]) -> Vec<Dropped> {
    bytes.chunks_exact(ENTRY).filter_map(entry).collect()
}

fn entry(bytes: &[u8]) -> Option<Dropped> {
    let time = |from: usize| {
        let millis = i64::from_be_bytes(bytes.get(from..from + 8)?.try_into().ok()?);
        Timestamp::from_millisecond(millis).ok()
    };
    Some(Dropped {
        class: Class::from_byte(*bytes.first()?)?,
        count: u64::from_be_bytes(bytes.get(1..9)?.try_into().ok()?),
        oldest: time(9)?,
        newest: time(17)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_can_be_stored_and_read_again() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut all = vec![Dropped::one(Class::LinkChange, at(5))];
        merge(&mut all, &[Dropped::one(Class::LinkChange, at(2))]);
        merge(&mut all, &[Dropped::one(Class::HealthSample, at(9))]);
        assert_eq!((all.len(), count(&all)), (2, 3));
        assert_eq!((all[0].oldest, all[0].newest), (at(2), at(5)));
        assert_eq!(decode(&encode(&all)), all);
        assert_eq!(decode(&[9; ENTRY * 2 - 1]), []);
    }
}
