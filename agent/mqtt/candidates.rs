//! What waits for its verification when more comes than can be verified.
//!
//! A flood of well-formed envelopes cannot be told from commands without trying their signatures,
//! and there is time for a part of them only. Who is left out is drawn by lot, so that no place in
//! the flood is better than another; and what is left out is remembered for a while: when the very
//! same envelope comes again, as `edge-agent send` and `drone` see to, it goes before everything
//! that is new. A flood that is never the same twice cannot hold that up.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

use edge_agent_core::event::Delivery;

/// Candidates that wait. Below the receive maximum, or the broker would give no more while all of
/// them wait, and the flood would pile up there, with the command in it.
const WAITING: usize = 16;

/// Envelopes that are remembered, as 8 bytes each; in all about 2 MiB. At 10,000 a second this
/// reaches back six seconds.
const REMEMBERED: usize = 64 * 1024;

/// An envelope of the right form.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) delivery: Delivery,
    pub(super) payload: Vec<u8>,
    mark: u64,
    /// It was left out before.
    again: bool,
}

/// What became of a new candidate.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// There was room.
    Waits,
    /// This delivery, perhaps its own, is left out for it.
    LeftOut(Delivery),
    /// It was tried a moment ago, and no known key had signed it.
    Tried,
}

/// The candidates, and what is remembered of those that are gone.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    waiting: VecDeque<Candidate>,
    left_out: Marks,
    tried: Marks,
    hasher: RandomState,
}

impl Candidates {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Forgets those that wait: the connection that they came over has ended.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Takes one in. `lot`, from 0 to 1, decides who goes if there is no room.
    pub(super) fn push(&mut self, delivery: Delivery, payload: Vec<u8>, lot: f64) -> Place {
        let mark = self.hasher.hash_one(&payload);
        let is_full = self.waiting.len() >= WAITING;
        // Without a flood everything is tried, as the keyring may have changed since.
        if is_full && self.tried.contains(mark) {
            return Place::Tried;
        }
        let again = self.left_out.contains(mark);
        self.waiting.push_back(Candidate {
            delivery,
            payload,
            mark,
            again,
        });
        if !is_full {
            return Place::Waits;
        }
        let Some(out) = self.draw(lot).and_then(|at| self.waiting.remove(at)) else {
            return Place::Waits;
        };
        self.left_out.insert(out.mark);
        Place::LeftOut(out.delivery)
    }

    /// Who has to go: one that is here for the first time, if there is one.
    fn draw(&self, lot: f64) -> Option<usize> {
        let new: Vec<usize> = (0..self.waiting.len())
            .filter(|&at| self.waiting.get(at).is_some_and(|it| !it.again))
            .collect();
        let from = if new.is_empty() {
            (0..self.waiting.len()).collect()
        } else {
            new
        };
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a lot among a few"
        )]
        let drawn = (lot * from.len() as f64) as usize;
        from.get(drawn.min(from.len().checked_sub(1)?)).copied()
    }

    /// The next one to verify: first one that was left out before, then the oldest.
    pub(super) fn pop(&mut self) -> Option<Candidate> {
        let at = self.waiting.iter().position(|it| it.again).unwrap_or(0);
        self.waiting.remove(at)
    }

    /// Notes that no known key has signed this one.
    pub(super) fn note_tried(&mut self, candidate: &Candidate) {
        self.tried.insert(candidate.mark);
    }
}

/// The last of many, by their hash. The hash is keyed anew with every start, so nobody can aim at
/// the mark of another envelope.
#[derive(Debug, Default)]
struct Marks {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Marks {
    fn contains(&self, mark: u64) -> bool {
        self.known.contains(&mark)
    }

    fn insert(&mut self, mark: u64) {
        if !self.known.insert(mark) {
            return;
        }
        self.order.push_back(mark);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn junk(number: u64) -> Vec<u8> {
        number.to_le_bytes().to_vec()
    }

    /// A lot that is another one each time.
    fn lot(number: u64) -> f64 {
        f64::from(u32::try_from(number * 7919 % 1000).unwrap()) / 1000.0
    }

    #[test]
    fn what_was_left_out_goes_first_when_it_comes_again() {
        let mut candidates = Candidates::default();
        let command = b"command".to_vec();
        for number in 0..WAITING as u64 {
            assert_eq!(candidates.push(number, junk(number), 0.5), Place::Waits);
        }
        // The lot falls on the newest, which is the command.
        assert_eq!(
            candidates.push(100, command.clone(), 1.0),
            Place::LeftOut(100)
        );
        let Place::LeftOut(other) = candidates.push(101, command, 1.0) else {
            panic!("another one goes this time")
        };
        assert!(other < 100);
        for number in 1000..3000 {
            candidates.push(number, junk(number), lot(number));
        }
        assert_eq!(candidates.pop().unwrap().delivery, 101);
    }

    #[test]
    fn every_place_in_a_flood_has_the_same_chance() {
        let mut candidates = Candidates::default();
        let mut verified = 0;
        for number in 0..100_000_u64 {
            candidates.push(number, junk(number), lot(number));
            // One of four can be verified.
            if number % 4 == 0 && candidates.pop().is_some() {
                verified += 1;
            }
            assert!(candidates.waiting.len() <= WAITING);
        }
        assert_eq!(verified, 25_000);
        assert!(candidates.left_out.known.len() <= REMEMBERED);
    }

    #[test]
    fn what_was_tried_is_not_tried_again_in_a_flood() {
        let mut candidates = Candidates::default();
        candidates.push(1, junk(1), 0.0);
        let first = candidates.pop().unwrap();
        candidates.note_tried(&first);
        assert_eq!(candidates.push(2, junk(1), 0.0), Place::Waits);
        for number in 2..40 {
            candidates.push(number, junk(number), 0.0);
        }
        assert_eq!(candidates.push(50, junk(1), 0.0), Place::Tried);
    }
}
