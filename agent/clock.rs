//! The one place that reads the clocks.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

use edge_agent_core::clock::Now;
use jiff::Timestamp;

/// When this version was released, 2026-11-24: a lower bound for the time that no clock can fall
/// below. A constant rather than the time of the build, so that a build can be reproduced.
pub const RELEASED: Timestamp = Timestamp::constant(1_795_478_400, 0);

/// Where the supervisor gets the time from; tests and the demo have clocks of their own.
pub trait Clock: Send + Sync {
    /// One reading of all clocks.
    fn now(&self) -> Now;
}

/// The clocks of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock {
    /// Take the wall clock for synchronized whatever the system says: for machines whose clock is
    /// right but which cannot tell, such as virtual machines and containers.
    pub trusted: bool,
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let now = now();
        Now {
            synchronized: self.trusted || now.synchronized,
            ..now
        }
    }
}

/// One reading of the machine's clocks. Monotonic time counts from the first reading.
#[must_use]
pub fn now() -> Now {
    static START: OnceLock<Instant> = OnceLock::new();
    Now {
        wall: Timestamp::now(),
        monotonic: START.get_or_init(Instant::now).elapsed(),
        synchronized: crate::health::clock_synchronized(Path::new("/")) == Some(true),
    }
}
