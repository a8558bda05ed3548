//! Counts the instances of a service that run at one time, all along, as the engines know them: for what must never run
//! twice. [`crate::Watch`] asks who serves; this one also sees what is cut off and what answers nobody.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::wait;

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The census. Ask [`Census::end`] for what it counted.
#[derive(Debug)]
pub struct Census {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Count>>>,
}

/// The instances at one time; unchanged until the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Since the census began.
    pub at: Duration,
    /// Instances by host and container.
    pub running: BTreeSet<(String, String)>,
}

impl Census {
    /// Begins to count.
    pub fn begin(service: &str, hosts: &[Host]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, service, hosts) = (Arc::clone(&stop), service.to_owned(), hosts.to_vec());
        let thread = std::thread::spawn(move || {
            let begun_at = Instant::now();
            let mut counts: Vec<Count> = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let running = count(&service, &hosts);
                if counts.last().is_none_or(|last| last.running != running) {
                    counts.push(Count { at: begun_at.elapsed(), running });
                }
                wait::pause(LOOK_EVERY);
            }
            counts
        });
        Self { stop, thread: Some(thread) }
    }

    /// Ends it: every change of what ran, the oldest first.
    ///
    /// # Panics
    /// If an engine did not answer meanwhile: then nothing is known.
    #[track_caller]
    pub fn end(mut self) -> Vec<Count> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("ended once").join().expect("every engine answers all along")
    }
}

impl Drop for Census {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn count(service: &str, hosts: &[Host]) -> BTreeSet<(String, String)> {
    let on = |host: &Host| {
        let running = host.engine.running(service).expect("the engine answers");
        running.into_iter().map(|container| (host.name.clone(), container.id)).collect::<Vec<_>>()
    };
    hosts.iter().flat_map(on).collect()
}
