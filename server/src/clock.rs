//! The time. Code that decides gets it as an argument; code that asks for it has this handle, so that a
//! simulated coordinator lives in simulated time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use windlass_core::Timestamp;

/// The begin of this process's steady clock.
static STARTED: OnceLock<Instant> = OnceLock::new();

/// A clock. Clones of a manual one show the same time.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    /// The machine's own.
    System,
    /// One that stands still between two settings; milliseconds.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that shows `now` until it is set.
    pub fn manual(now: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(now.as_millis()))))
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(match &self.0 {
            Source::System => jiff::Timestamp::now().as_millisecond(),
            Source::Manual(millis) => millis.load(Ordering::Relaxed),
        })
    }

    /// Now, by a clock that nobody sets: for spans, not for dates. It counts from some time before the first call.
    pub fn steady(&self) -> Duration {
        match &self.0 {
            Source::System => STARTED.get_or_init(Instant::now).elapsed(),
            Source::Manual(millis) => {
                Duration::from_millis(u64::try_from(millis.load(Ordering::Relaxed)).unwrap_or(0))
            }
        }
    }

    /// Sets a manual clock, forward or back. The machine's is not ours to set.
    pub fn set(&self, now: Timestamp) {
        if let Source::Manual(millis) = &self.0 {
            millis.store(now.as_millis(), Ordering::Relaxed);
        }
    }
}
