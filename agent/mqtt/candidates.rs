//! What waits for its verification when more comes than can be verified.
//!
//! A flood of well-formed envelopes cannot be told from commands without trying their signatures,
//! and there is time for a part of them only. Acknowledgements go out in the order of arrival, so
//! whoever waits holds up all that came after it, and the broker gives no more than a few before
//! they are acknowledged: if the oldest waited for its turn, the flood would pile up in the broker
//! until its queue is full, and the command with it. So the oldest is left out as soon as enough has
//! come after it. Whether its turn came before is up to the moment, which nobody outside can choose;
//! and what is left out is remembered for a while: when the very same envelope comes again, as
//! `edge-agent send` and `drone` see to, it goes before everything that is new. A flood that is never
//! the same twice cannot hold that up.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

use edge_agent_core::event::Delivery;

/// Messages from the oldest that waits on, itself included, that may be without acknowledgement.
/// Well below the 20 that mosquitto gives unless told otherwise, so that it always gives more.
const SPAN: usize = 10;

/// The same for one that was left out before: it has the next turn, and should live to see it.
const SPAN_AGAIN: usize = 16;

/// As many wait in a flood only. Without one everything is tried, as the keyring may have changed
/// since.
const PRESSED: usize = 4;

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
    Waits,
    /// It was tried a moment ago, and no known key had signed it.
    Tried,
}

/// The candidates, oldest first, and what is remembered of those that are gone.
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

    /// Takes one in.
    pub(super) fn push(&mut self, delivery: Delivery, payload: Vec<u8>) -> Place {
        let mark = self.hasher.hash_one(&payload);
        if self.waiting.len() >= PRESSED && self.tried.contains(mark) {
            return Place::Tried;
        }
        let again = self.left_out.contains(mark);
        self.waiting.push_back(Candidate {
            delivery,
            payload,
            mark,
            again,
        });
        Place::Waits
    }

    /// Leaves out the oldest, if too much has come after it. `span` tells how many messages from a
    /// delivery on are not acknowledged.
    pub(super) fn leave_out(&mut self, span: impl Fn(Delivery) -> usize) -> Option<Delivery> {
        let oldest = self.waiting.front()?;
        let limit = if oldest.again { SPAN_AGAIN } else { SPAN };
        if span(oldest.delivery) <= limit {
            return None;
        }
        let out = self.waiting.pop_front()?;
        self.left_out.insert(out.mark);
        Some(out.delivery)
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

    /// Nothing is acknowledged: the span is what has come since.
    fn since(last: Delivery) -> impl Fn(Delivery) -> usize {
        move |delivery| usize::try_from(last - delivery + 1).unwrap()
    }

    #[test]
    fn the_oldest_goes_when_enough_has_come_after_it_and_first_when_it_comes_again() {
        let mut candidates = Candidates::default();
        for number in 1..=SPAN as u64 {
            assert_eq!(candidates.push(number, junk(number)), Place::Waits);
            assert_eq!(candidates.leave_out(since(number)), None);
        }
        let next = SPAN as u64 + 1;
        candidates.push(next, junk(next));
        assert_eq!(candidates.leave_out(since(next)), Some(1));
        assert_eq!(candidates.leave_out(since(next)), None);
        candidates.push(next + 1, junk(1));
        assert_eq!(candidates.pop().unwrap().delivery, next + 1);
        assert_eq!(candidates.pop().unwrap().delivery, 2, "then in order");
    }

    #[test]
    fn one_that_comes_again_lives_longer_but_does_not_hold_up_the_rest_for_ever() {
        let mut candidates = Candidates::default();
        candidates.push(1, junk(1));
        assert_eq!(candidates.leave_out(since(SPAN as u64 + 1)), Some(1));
        candidates.push(100, junk(1));
        let at = |span: usize| since(99 + span as u64);
        assert_eq!(candidates.leave_out(at(SPAN + 1)), None);
        assert_eq!(candidates.leave_out(at(SPAN_AGAIN)), None);
        assert_eq!(candidates.leave_out(at(SPAN_AGAIN + 1)), Some(100));
    }

    #[test]
    fn a_flood_leaves_a_bounded_memory() {
        let mut candidates = Candidates::default();
        for number in 0..200_000_u64 {
            candidates.push(number, junk(number));
            candidates.leave_out(since(number));
            assert!(candidates.waiting.len() <= SPAN);
        }
        assert_eq!(candidates.left_out.known.len(), REMEMBERED);
        assert_eq!(candidates.left_out.order.len(), REMEMBERED);
    }

    #[test]
    fn what_was_tried_is_not_tried_again_in_a_flood() {
        let mut candidates = Candidates::default();
        candidates.push(1, junk(1));
        let first = candidates.pop().unwrap();
        candidates.note_tried(&first);
        assert_eq!(candidates.push(2, junk(1)), Place::Waits);
        for number in 3..3 + PRESSED as u64 {
            candidates.push(number, junk(number));
        }
        assert_eq!(candidates.push(50, junk(1)), Place::Tried);
    }
}
