//! Chance that repeats itself: the same seed gives the same numbers, on every machine.

use std::time::Duration;

/// Keys made from it are for nothing else than a fleet that is made up.
#[derive(Debug, Clone)]
pub(crate) struct Dice(fastrand::Rng);

impl Dice {
    /// Dice of their own for every number beside a seed.
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        // Far from each other, so that neighbours do not resemble.
        let apart = number.wrapping_mul(0xd134_2543_de82_ef95);
        Self(fastrand::Rng::with_seed(seed ^ apart))
    }

    /// From 0 up to 1.
    pub(crate) fn share(&mut self) -> f64 {
        self.0.f64()
    }

    /// Between two numbers.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.share()
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    pub(crate) fn number(&mut self, below: u64) -> u64 {
        self.0.u64(..below)
    }

    /// One of the first `count` numbers.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.0.usize(..count.max(1))
    }

    pub(crate) fn one_of<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len())]
    }

    /// A waiting time between two numbers of seconds.
    pub(crate) fn seconds(&mut self, low: f64, high: f64) -> Duration {
        Duration::from_secs_f64(self.between(low, high))
    }

    /// How long until something that comes by itself, so often on the average.
    pub(crate) fn wait(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-self.between(1e-6, 1.0).ln())
    }

    /// About the middle, rarely far from it.
    pub(crate) fn noise(&mut self) -> f64 {
        (0..4).map(|_| self.share() - 0.5).sum::<f64>()
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill(&mut bytes);
        bytes
    }

    /// A commit.
    pub(crate) fn sha(&mut self) -> String {
        self.hexadecimal::<20>()
    }

    /// What follows `sha256:`.
    pub(crate) fn digest(&mut self) -> String {
        self.hexadecimal::<32>()
    }

    /// Like the kernel's boot id.
    pub(crate) fn uuid(&mut self) -> String {
        let digits = self.hexadecimal::<16>();
        let ends = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
        ends.map(|(from, to)| &digits[from..to]).join("-")
    }

    fn hexadecimal<const N: usize>(&mut self) -> String {
        let bytes = self.bytes::<N>();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
