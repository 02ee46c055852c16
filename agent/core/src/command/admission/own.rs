//! What becomes of an admitted command, and what the node orders by itself.

use super::{Ledger, LedgerEntry, LedgerState, MAX_ENTRIES, MAX_RECORD_BYTES, RESERVE_BYTES};
use crate::clock::Now;
use crate::command::envelope::VerifiedCommand;
use crate::command::memory::{MAX_MEMORIES, Memory};
use crate::command::record::kept_message;
use crate::command::{Refusal, RefusalCode};
use crate::wire::ResultState;

/// How long the node remembers an order of its own, in seconds.
const OWN_SECONDS: i64 = 24 * 60 * 60;

impl Ledger {
    /// Notes a result of an admitted command: `n` is its number. A final state ends the command.
    /// What is not known is ignored, and an end is never taken back.
    pub fn complete(&mut self, id: &str, state: ResultState, n: u32) {
        self.complete_with(id, (state, None, ""), n);
    }

    /// As [`Ledger::complete`], with the code and the message of the result, so that it can be given
    /// again as it was.
    pub fn complete_with(
        &mut self,
        id: &str,
        (state, reason, message): (ResultState, Option<RefusalCode>, &str),
        n: u32,
    ) {
        let entry = self.record.entries.iter_mut().find(|entry| entry.id == id);
        let Some(entry) = entry else { return };
        entry.n = entry.n.max(n);
        if state.is_final() && entry.state == LedgerState::Admitted {
            entry.state = LedgerState::Done(state);
            entry.rollout = None;
            entry.reason = reason;
            entry.message = kept_message(message);
        }
    }

    /// Notes that a command was rejected for a reason that time may take away, so that it is not
    /// carried out when it is delivered once more. False when there is no room, and nothing is noted.
    pub fn reject(&mut self, now: Now, verified: &VerifiedCommand, refusal: &Refusal) -> bool {
        let command = verified.command();
        if self.entry(&command.id).is_some() {
            return false;
        }
        let before = self.record.clone();
        self.record.entries.push(LedgerEntry {
            id: command.id.clone(),
            digest: verified.digest(),
            expires_at: command.expires_at,
            cmd: command.name().to_owned(),
            application: command.action.application().map(str::to_owned),
            rollout: None,
            state: LedgerState::Done(ResultState::Rejected),
            n: 1,
            key_ids: verified.key_ids().to_vec(),
            at: now.wall,
            message: kept_message(&refusal.message),
            reason: Some(refusal.code),
            told: false,
        });
        let fits = self.make_room().is_ok();
        if !fits {
            self.record = before;
        }
        fits
    }

    /// The commands whose final result may not have come to the outbox before a restart.
    pub fn untold(&self) -> impl Iterator<Item = &LedgerEntry> {
        self.record
            .entries
            .iter()
            .filter(|entry| entry.state != LedgerState::Admitted && !entry.told)
    }

    /// The final results of the commands of which `is_told` is true are with the outbox. True when
    /// that is new.
    pub fn tell_those(&mut self, is_told: impl Fn(&str) -> bool) -> bool {
        let mut new = false;
        for entry in &mut self.record.entries {
            if entry.state != LedgerState::Admitted && !entry.told && is_told(&entry.id) {
                entry.told = true;
                new = true;
            }
        }
        new
    }

    /// What is remembered of an application, `namespace/name`.
    #[must_use]
    pub fn memory(&self, application: &str) -> Option<&Memory> {
        let mut memories = self.record.memories.iter();
        memories.find(|memory| memory.application == application)
    }

    /// Replaces what is remembered of an application. What has not changed for longest is forgotten
    /// when there is no room.
    pub fn remember(&mut self, memory: Memory) {
        let memories = &mut self.record.memories;
        memories.retain(|known| known.application != memory.application);
        memories.push(memory);
        let surplus = memories.len().saturating_sub(MAX_MEMORIES);
        memories.drain(..surplus);
        while self.record.memories.len() > 1 && self.is_large() {
            self.record.memories.remove(0);
        }
    }

    /// Takes on an order of the node's own for an application; `cause` says why. With `left` it is to
    /// leave that revision, which it does at most once. After true, write [`Ledger::record`] before it is carried out.
    pub fn admit_own(
        &mut self,
        now: Now,
        (id, cmd): (&str, &str),
        (application, left): (&str, Option<&str>),
        cause: &str,
    ) -> bool {
        self.advance(now);
        self.forget();
        if self.entry(id).is_some() {
            return false;
        }
        let memory = match left {
            None => None,
            Some(left) => {
                let known = self.memory(application).cloned();
                let mut memory = known.unwrap_or_else(|| Memory::new(application));
                if memory.left.iter().any(|known| known == left) || !memory.note_left(left) {
                    return false;
                }
                Some(memory)
            }
        };
        if self.record.entries.len() >= MAX_ENTRIES && !self.forget_one() {
            return false;
        }
        if let Some(memory) = memory {
            self.remember(memory);
        }
        let from = now.unix_seconds().max(self.floor_seconds());
        self.record.entries.push(LedgerEntry {
            id: id.to_owned(),
            digest: [0; 32],
            expires_at: from.saturating_add(OWN_SECONDS),
            cmd: cmd.to_owned(),
            application: Some(application.to_owned()),
            rollout: None,
            state: LedgerState::Admitted,
            n: 0,
            key_ids: Vec::new(),
            at: now.wall,
            message: kept_message(cause),
            reason: None,
            told: false,
        });
        true
    }

    /// Whether what is remembered leaves too little room for what must be.
    fn is_large(&self) -> bool {
        let room = MAX_RECORD_BYTES - RESERVE_BYTES;
        self.record.to_bytes().len() > room - room / 4
    }
}
