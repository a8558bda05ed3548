use std::future::Future;

use windlass_core::observation::{SlotObservation, SlotStatus};
use windlass_core::{Digest, Timestamp};
use windlass_proto::pb::LogNote;

use super::*;
use crate::fixture::container;
use crate::runtime::fake::FakeEngine;

fn line(nanos: i64, length: usize) -> Line {
    let text = "x".repeat(length);
    Line(pb::LogLine { nanos, instance: "web".to_owned(), text, ..pb::LogLine::default() })
}

#[test]
fn a_batch_has_at_most_64_kib_unless_a_line_is_longer() {
    let (mut gathered, now) = (Gathered::default(), Instant::now());
    for n in 0..1000 {
        gathered.push(line(n, 200), now);
    }
    gathered.push(line(1000, 1 << 20), now);
    let (mut seen, mut batches) = (Vec::new(), 0);
    while !gathered.is_empty() {
        let batch = gathered.take(now);
        let bytes: usize = batch.iter().map(|line| line.text.len()).sum();
        assert!(bytes <= LOG_BATCH || batch.len() == 1);
        seen.extend(batch.iter().map(|line| line.nanos));
        batches += 1;
    }
    assert_eq!(seen, (0..=1000).collect::<Vec<_>>());
    assert!(batches < 12, "{batches}");
}

/// An engine with one container, which writes, and a reader that follows it.
struct Followed {
    engine: FakeEngine,
    batches: mpsc::Receiver<Batch>,
    answering: tokio::task::JoinSet<Option<String>>,
    _report: watch::Sender<Arc<Observation>>,
}

fn now() -> Timestamp {
    Timestamp::from_millis(1)
}

impl Followed {
    fn new() -> Self {
        let engine = FakeEngine::new(now);
        engine.world().containers.insert("c1".to_owned(), container());
        let seen = Arc::new(Observation { slots: vec![slot()], ..Observation::default() });
        let (report, seen) = watch::channel(seen);
        let request = pb::LogRequest {
            service: "production/web".to_owned(),
            follow: true,
            all: true,
            ..pb::LogRequest::default()
        };
        let wanted = Arc::new(Wanted::read(&request).unwrap());
        let (out, batches) = mpsc::channel(2);
        let answer = Answer { runtime: Arc::new(engine.clone()), wanted, report: seen };
        let mut answering = tokio::task::JoinSet::new();
        answering.spawn(answer.run(out));
        Self { engine, batches, answering, _report: report }
    }

    fn write(&self, count: usize) {
        let mut world = self.engine.world();
        let from = world.log.len();
        world.log.extend((from..from + count).map(|n| format!("{n} {}", "x".repeat(200))));
    }

    /// Reads up to the line with this number.
    async fn read_to(&mut self, last: i64) -> Vec<pb::LogLine> {
        let mut lines: Vec<pb::LogLine> = Vec::new();
        while lines.last().is_none_or(|line| line.nanos < last) {
            lines.extend(soon(self.batches.recv()).await.expect("more lines").lines);
        }
        lines
    }

    /// Waits until nobody reads the engine's log.
    async fn until_closed(&self) {
        let closed = async {
            while self.engine.world().log_streams > 0 {
                sleep(Duration::from_millis(50)).await;
            }
        };
        soon(closed).await;
    }
}

async fn soon<T>(waited: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), waited).await.expect("in time")
}

#[tokio::test(start_paused = true)]
async fn a_paused_follower_gets_every_line_once() {
    let mut followed = Followed::new();
    followed.write(100);
    let mut seen = followed.read_to(100).await;
    followed.write(50_000);
    followed.until_closed().await;
    followed.write(1000); // and nobody holds the engine back
    seen.extend(followed.read_to(51_100).await);
    assert!(seen.iter().all(|line| line.note == 0));
    assert!(seen.iter().map(|line| line.nanos).eq(1..=51_100), "{} lines", seen.len());
    followed.write(1);
    assert_eq!(followed.read_to(51_101).await.len(), 1, "it goes on");
    drop(followed.batches);
    assert_eq!(soon(followed.answering.join_next()).await.unwrap().unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn lines_the_engine_lost_in_a_pause_get_no_number() {
    let mut followed = Followed::new();
    followed.write(100);
    let mut seen = followed.read_to(100).await;
    followed.write(49_900);
    followed.until_closed().await;
    followed.engine.world().log_lost = 40_000;
    seen.extend(followed.read_to(50_000).await);
    let (notes, lines): (Vec<_>, Vec<_>) = seen.iter().partition(|line| line.note != 0);
    let [note] = notes[..] else { panic!("{} notes", notes.len()) };
    assert_eq!((note.note(), note.dropped), (LogNote::Dropped, 0));
    assert!(!note.text.contains(|c: char| c.is_ascii_digit()), "{}", note.text);
    let until = note.nanos;
    assert!((1000..40_000).contains(&until), "what was read before the pause: {until}");
    assert!(lines.iter().map(|line| line.nanos).eq((1..=until).chain(40_001..=50_000)));
}

#[tokio::test(start_paused = true)]
async fn a_container_that_goes_in_a_pause_leaves_a_word() {
    let mut followed = Followed::new();
    followed.write(100);
    let mut lines = followed.read_to(100).await;
    followed.write(50_000);
    followed.until_closed().await;
    followed.engine.world().containers.clear();
    while !lines.iter().any(|line| line.note() == LogNote::Dropped) {
        lines.extend(soon(followed.batches.recv()).await.expect("a note").lines);
    }
    let note = lines.pop().unwrap();
    assert!(note.text.contains("the container was removed"), "{}", note.text);
    assert!(lines.iter().map(|line| line.nanos).eq(1..=note.nanos), "the note stands where they end");
}

/// The answer of a host with an instance of `production/web r1`, and nothing written there.
async fn told(request: pb::LogRequest) -> Option<String> {
    let seen = Arc::new(Observation { slots: vec![slot()], ..Observation::default() });
    let (_report, report) = watch::channel(seen);
    let wanted = Arc::new(Wanted::read(&request).unwrap());
    let engine = FakeEngine::new(now);
    engine.world().containers.insert("c1".to_owned(), container());
    let (out, _batches) = mpsc::channel(2);
    soon(Answer { runtime: Arc::new(engine), wanted, report }.run(out)).await
}

#[tokio::test(start_paused = true)]
async fn a_release_that_runs_elsewhere_is_no_gap() {
    let of = |service: &str, release: &str| pb::LogRequest {
        service: service.to_owned(),
        release: release.to_owned(),
        ..pb::LogRequest::default()
    };
    assert_eq!(told(of("production/web", "r1")).await, None);
    assert_eq!(told(of("production/web", "r2")).await, None);
    assert_eq!(told(of("production/db", "")).await.as_deref(), Some("no such instance on this host"));
}

fn slot() -> SlotObservation {
    let instance = serde_json::json!({
        "id": "web.0", "container": "c1", "release": Digest::of(b"release"), "counter": "r1",
        "state": "healthy", "since": now(), "available": true, "endpoints": {}, "restarts": 0,
    });
    SlotObservation {
        slot: "production/web/0".parse().unwrap(),
        release: None,
        status: SlotStatus::Settled,
        pulled: true,
        checking: false,
        pull: None,
        instances: vec![serde_json::from_value(instance).unwrap()],
        trouble: None,
    }
}
