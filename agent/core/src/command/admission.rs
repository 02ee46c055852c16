//! Audience, time and sequence: whether a verified command is taken on, and what must be remembered.
//!
//! The clock of a Pi is a lower bound at best after a start, so time is judged against a *floor*:
//! the latest of the build time, the last synchronized time and the last accepted `iat`. It never
//! decreases, not even over a restart.
//!
//! What is remembered is bounded, and nothing is forgotten that is still needed: the sequence of a key
//! for a scope stays until nothing that was issued before can be unexpired, and an entry until its
//! command has expired against the floor and has ended. Only when there is no room for a new command
//! the oldest is forgotten that has ended: its sequence still keeps it from being executed again, but
//! its result cannot be given again. When none has ended, the new command is refused (`busy`).

use jiff::Timestamp;

use super::envelope::VerifiedCommand;
use super::unsigned::UnsignedCommand;
use super::{Refusal, RefusalCode};
use crate::clock::{Now, format_timestamp};
use crate::topic::NodeName;
use crate::wire::ResultState;

pub use super::record::{
    Highwater, LedgerEntry, LedgerRecord, LedgerState, MAX_ENTRIES, MAX_HIGHWATER,
    MAX_RECORD_BYTES, RecordError, RolloutTerms,
};

/// How far the clock of an issuer may be ahead of ours, in seconds.
pub const MAX_AHEAD_SECONDS: i64 = 5 * 60;

/// How far one accepted `iat` advances the floor while the clock is not synchronized, in seconds: a
/// week. An issuer with a wrong clock then costs at most that, instead of every later command.
pub const MAX_ADVANCE_SECONDS: i64 = 7 * 24 * 60 * 60;

/// How often the synchronized time alone is worth a write, in seconds.
const SAVE_SECONDS: i64 = 60 * 60;

/// Bytes of a record that are kept free for the results of the commands in it.
const RESERVE_BYTES: usize = 14 * 1024;

/// What has been accepted, and what time it is at least.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    record: LedgerRecord,
    /// The synchronized time that was last worth a write.
    saved_at: i64,
}

/// What is to become of a verified command.
#[derive(Debug, Clone, PartialEq)]
pub enum Admission {
    /// Take it on: write [`Ledger::record`], acknowledge, execute.
    Admit,
    /// The clock cannot tell yet whether it has expired: ask again when it is synchronized, and
    /// refuse it with `clock_unsynchronized` when that takes too long.
    Park,
    /// The very same command was admitted before: give its last result again.
    Repeat(Box<LedgerEntry>),
    /// Do not obey.
    Refuse(Refusal),
}

impl Ledger {
    /// The ledger of a node that has never accepted anything.
    #[must_use]
    pub fn new(build_time: Timestamp) -> Self {
        Self::restore(LedgerRecord::default(), build_time)
    }

    /// The ledger as it was written last.
    #[must_use]
    pub fn restore(record: LedgerRecord, build_time: Timestamp) -> Self {
        let mut record = record;
        record.built_at = record.built_at.max(build_time.as_second());
        Self {
            saved_at: record.synchronized_at,
            record,
        }
    }

    /// What must be on the medium before anything that follows from it is done.
    #[must_use]
    pub fn record(&self) -> LedgerRecord {
        self.record.clone()
    }

    /// What time it is at least, as far as can be trusted.
    #[must_use]
    pub fn floor(&self) -> Timestamp {
        Timestamp::from_second(self.floor_seconds()).unwrap_or(Timestamp::MAX)
    }

    fn floor_seconds(&self) -> i64 {
        let record = &self.record;
        record
            .built_at
            .max(record.synchronized_at)
            .max(record.issued_at)
    }

    /// The entry of a command that was admitted and is not forgotten yet.
    #[must_use]
    pub fn entry(&self, id: &str) -> Option<&LedgerEntry> {
        self.record.entries.iter().find(|entry| entry.id == id)
    }

    /// The commands that were admitted and have no final result, oldest first. After a restart
    /// these must be looked up, and never simply be run again.
    pub fn unfinished(&self) -> impl Iterator<Item = &LedgerEntry> {
        self.record
            .entries
            .iter()
            .filter(|entry| entry.state == LedgerState::Admitted)
    }

    /// Decides on a verified command. `scope` is that of its action
    /// ([`super::payload::Action::scope`]). After [`Admission::Admit`] the ledger knows the
    /// command; after everything else it knows what it knew before, or better what time it is.
    pub fn consider(
        &mut self,
        now: Now,
        node: &NodeName,
        command: &VerifiedCommand,
        scope: &str,
    ) -> Admission {
        self.advance(now);
        self.forget();
        match self.judge(now, node, command, scope) {
            Ok(Some(settled)) => settled,
            Ok(None) => {
                let before = self.record.clone();
                self.admit(now, command, scope);
                if let Err(refusal) = self.make_room() {
                    self.record = before;
                    return Admission::Refuse(refusal);
                }
                Admission::Admit
            }
            Err(refusal) => Admission::Refuse(refusal),
        }
    }

    /// `None`: nothing stands against it.
    fn judge(
        &self,
        now: Now,
        node: &NodeName,
        verified: &VerifiedCommand,
        scope: &str,
    ) -> Result<Option<Admission>, Refusal> {
        let command = verified.command();
        judge_audience(node, &command.audience)?;
        if let Some(entry) = self.entry(&command.id) {
            if entry.digest == verified.digest() {
                return Ok(Some(Admission::Repeat(Box::new(entry.clone()))));
            }
            return Err(Refusal::new(
                RefusalCode::IdReused,
                format!(
                    "the id `{}` belongs to another command; take a new one",
                    command.id
                ),
            ));
        }
        self.judge_time(now, command.issued_at, command.expires_at)?;
        // A sequence that is too low stays too low, so there is no point in parking it.
        self.judge_sequence(verified, scope)?;
        if now.synchronized {
            Ok(None)
        } else {
            Ok(Some(Admission::Park))
        }
    }

    /// Whether a command without a signature is for this node and for this time. It is not taken down:
    /// who may order nothing must not fill the ledger.
    ///
    /// # Errors
    /// `wrong_audience`, `expired` or `not_yet_valid`.
    pub fn judge_unsigned(
        &mut self,
        now: Now,
        node: &NodeName,
        unsigned: &UnsignedCommand,
    ) -> Result<(), Refusal> {
        self.advance(now);
        let command = unsigned.command();
        judge_audience(node, &command.audience)?;
        self.judge_time(now, command.issued_at, command.expires_at)
    }

    fn judge_time(&self, now: Now, issued_at: i64, expires_at: i64) -> Result<(), Refusal> {
        let floor = self.floor_seconds();
        if expires_at <= floor {
            return Err(Refusal::new(
                RefusalCode::Expired,
                format!(
                    "expired at {}; it is {} at least",
                    shown(expires_at),
                    shown(floor)
                ),
            ));
        }
        // It is never earlier than the floor, whatever the clock says now.
        let ahead = issued_at.saturating_sub(now.unix_seconds().max(floor));
        if now.synchronized && ahead > MAX_AHEAD_SECONDS {
            return Err(Refusal::new(
                RefusalCode::NotYetValid,
                format!(
                    "issued at {}, which is {ahead} s ahead; check the clock of the issuer",
                    shown(issued_at)
                ),
            ));
        }
        Ok(())
    }

    fn judge_sequence(&self, verified: &VerifiedCommand, scope: &str) -> Result<(), Refusal> {
        let sequence = verified.command().sequence;
        let above = self.record.highwater.iter().find(|mark| {
            mark.scope == scope
                && verified.counters().contains(&mark.key_id)
                && sequence <= mark.sequence
        });
        match above {
            None => Ok(()),
            Some(mark) => Err(Refusal::new(
                RefusalCode::Replayed,
                format!(
                    "sequence {sequence} is not above {}, the last one accepted from the key `{}` \
                     for `{scope}`",
                    mark.sequence, mark.key_id
                ),
            )),
        }
    }

    fn admit(&mut self, now: Now, verified: &VerifiedCommand, scope: &str) {
        let command = verified.command();
        let believed = if now.synchronized {
            now.unix_seconds()
        } else {
            self.floor_seconds().saturating_add(MAX_ADVANCE_SECONDS)
        };
        let record = &mut self.record;
        record.issued_at = record.issued_at.max(command.issued_at.min(believed));
        let until = command.expires_at.max(verified.sequence_horizon());
        for key_id in verified.counters() {
            let known = record
                .highwater
                .iter_mut()
                .find(|mark| mark.scope == scope && mark.key_id == *key_id);
            match known {
                Some(mark) => {
                    mark.sequence = mark.sequence.max(command.sequence);
                    mark.until = mark.until.max(until);
                }
                None => record.highwater.push(Highwater {
                    key_id: key_id.clone(),
                    scope: scope.to_owned(),
                    sequence: command.sequence,
                    until,
                }),
            }
        }
        record.entries.push(LedgerEntry {
            id: command.id.clone(),
            digest: verified.digest(),
            expires_at: command.expires_at,
            cmd: command.name().to_owned(),
            application: command.action.application().map(str::to_owned),
            rollout: RolloutTerms::of(&command.action),
            state: LedgerState::Admitted,
            n: 0,
            key_ids: verified.key_ids().to_vec(),
            at: now.wall,
            message: String::new(),
            reason: None,
            told: false,
        });
    }

    /// Forgets what has ended, the oldest first, until the rest fits the medium.
    fn make_room(&mut self) -> Result<(), Refusal> {
        while let Some(refusal) = self.too_full() {
            if !self.forget_one() {
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Forgets the oldest command that has ended. One that was rejected before its sequence was
    /// noted has nothing but its entry to keep it from being executed, so those stay.
    fn forget_one(&mut self) -> bool {
        let entries = &mut self.record.entries;
        let ended = |entry: &LedgerEntry| match entry.state {
            LedgerState::Admitted | LedgerState::Done(ResultState::Rejected) => false,
            LedgerState::Done(_) => entry.told,
        };
        let oldest = entries.iter().position(ended);
        oldest.map(|at| entries.remove(at)).is_some()
    }

    fn too_full(&self) -> Option<Refusal> {
        let record = &self.record;
        let full = record.entries.len() > MAX_ENTRIES
            || record.highwater.len() > MAX_HIGHWATER
            || record.to_bytes().len() > MAX_RECORD_BYTES - RESERVE_BYTES;
        full.then(|| {
            Refusal::new(
                RefusalCode::Busy,
                "too many commands that have neither ended nor expired; wait until some have",
            )
        })
    }

    /// Takes note of the time. True when the synchronized time has advanced so far, an hour, that
    /// [`Ledger::record`] should be written for it alone.
    pub fn observe(&mut self, now: Now) -> bool {
        self.advance(now);
        self.forget();
        let due = self.record.synchronized_at.saturating_sub(self.saved_at) >= SAVE_SECONDS;
        if due {
            self.saved_at = self.record.synchronized_at;
        }
        due
    }

    fn advance(&mut self, now: Now) {
        if now.synchronized {
            let record = &mut self.record;
            record.synchronized_at = record.synchronized_at.max(now.unix_seconds());
        }
    }

    /// Drops what can no longer matter.
    fn forget(&mut self) {
        let floor = self.floor_seconds();
        let record = &mut self.record;
        record
            .entries
            .retain(|entry| entry.expires_at > floor || !entry.told);
        record.highwater.retain(|mark| mark.until > floor);
    }
}

fn judge_audience(node: &NodeName, audience: &[String]) -> Result<(), Refusal> {
    if audience.iter().any(|name| name == node.as_str()) {
        return Ok(());
    }
    let message = format!("for {}; this is {node}", audience.join(", "));
    Err(Refusal::new(RefusalCode::WrongAudience, message))
}

fn shown(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), format_timestamp)
}

mod own;
#[cfg(test)]
mod tests;
