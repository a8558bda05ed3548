//! An engine in memory, for tests: it obeys, records what it was asked, and fails when told to.

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use windlass_core::observation::PullProgress;
use windlass_core::reconcile::{
    Container, ContainerState, Launch, Likeness, LocalImage, RestartPolicy, VerifiedRelease,
};
use windlass_core::release::Image;
use windlass_core::{Digest, EnvironmentId, Timestamp};

use super::{
    Command, EngineEvent, EngineInfo, EventKind, HeldBind, HostBinds, Listed, LogLine, LogOptions, Networks,
    OnProgress, PullError, Runtime, RuntimeError, RuntimeStream, Source,
};

use world::LogStream;
pub use world::World;

/// An engine in memory. Clones are the same engine.
#[derive(Debug, Clone)]
pub struct FakeEngine {
    world: Arc<Mutex<World>>,
    events: broadcast::Sender<EngineEvent>,
    now: fn() -> Timestamp,
}

impl FakeEngine {
    /// An empty engine that takes the time from `now`.
    pub fn new(now: fn() -> Timestamp) -> Self {
        let (events, _) = broadcast::channel(256);
        Self { world: Arc::default(), events, now }
    }

    /// The world, to look at it or to change it.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the process of an instance; the engine starts it again if it was told to.
    pub fn exit(&self, instance: &str, code: i64) {
        let now = (self.now)();
        let mut world = self.world();
        let Some(seen) = world.containers.values_mut().find(|seen| seen.instance == instance) else { return };
        seen.last_exit = Some((code, false));
        if seen.policy == RestartPolicy::UnlessStopped {
            seen.restarts += 1;
            seen.state = ContainerState::Running { started_at: now };
        } else {
            seen.state = ContainerState::Exited { code, oom_killed: false, finished_at: now };
        }
        let event = EngineEvent { container: seen.id.clone(), kind: EventKind::Died(code) };
        drop(world);
        self.events.send(event).ok();
    }

    /// Answers as soon as it does not hang.
    async fn awake(&self) {
        while self.world().hung {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn answering(&self) -> Result<MutexGuard<'_, World>, RuntimeError> {
        let world = self.world();
        if world.down { Err(RuntimeError::Unavailable("the engine is down".into())) } else { Ok(world) }
    }

    fn change(
        &self,
        verb: &str,
        id: &str,
        change: impl FnOnce(&mut Container, Timestamp),
    ) -> Result<(), RuntimeError> {
        let now = (self.now)();
        let mut world = self.answering()?;
        let Some(seen) = world.containers.get_mut(id) else {
            return Err(RuntimeError::NotFound { what: "container", name: id.to_owned() });
        };
        change(seen, now);
        let line = format!("{verb} {}", seen.instance);
        world.journal.push(line);
        drop(world);
        self.events.send(EngineEvent { container: id.to_owned(), kind: EventKind::Changed }).ok();
        Ok(())
    }
}

impl Runtime for FakeEngine {
    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        self.awake().await;
        drop(self.answering()?);
        Ok(EngineInfo {
            platform: "linux/amd64".to_owned(),
            data_root: "/".to_owned(),
            ..EngineInfo::default()
        })
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        self.awake().await;
        let world = self.answering()?;
        let state = |seen: &Container| format!("{:?}", seen.state);
        Ok(world.containers.values().map(|seen| Listed { id: seen.id.clone(), state: state(seen) }).collect())
    }

    async fn inspect(&self, id: &str) -> Result<Option<Container>, RuntimeError> {
        self.awake().await;
        let is_stuck =
            |world: &World| world.containers.get(id).is_some_and(|seen| world.stuck.contains(&seen.instance));
        while is_stuck(&self.world()) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(self.answering()?.containers.get(id).cloned())
    }

    async fn is_made_as(&self, id: &str, _release: &VerifiedRelease) -> Result<bool, RuntimeError> {
        self.awake().await;
        Ok(self.answering()?.containers.get(id).is_some_and(|seen| seen.likeness == Likeness::Same))
    }

    async fn hold(&self, images: &BTreeSet<Digest>) -> Result<(), RuntimeError> {
        self.awake().await;
        self.answering()?.held.clone_from(images);
        Ok(())
    }

    async fn images(&self) -> Result<BTreeMap<Digest, LocalImage>, RuntimeError> {
        self.awake().await;
        Ok(self.answering()?.images.clone())
    }

    async fn pull(&self, image: &Image, progress: OnProgress<'_>) -> Result<LocalImage, PullError> {
        self.awake().await;
        let takes = {
            let mut world = self.answering().map_err(PullError::Engine)?;
            world.journal.push(format!("pull {}", image.digest.short()));
            world.pull_takes
        };
        progress(PullProgress { done: 0, total: image.size });
        tokio::time::sleep(takes).await;
        let mut world = self.answering().map_err(PullError::Engine)?;
        if let Some(failure) = world.pulls.pop_front() {
            return Err(failure);
        }
        let local = LocalImage {
            id: format!("id-of-{}", image.digest.short()),
            size: image.size,
            origins: Some([image.repository.clone()].into()),
        };
        world.images.insert(image.digest, local.clone());
        Ok(local)
    }

    async fn remove_image(&self, id: &str) -> Result<(), RuntimeError> {
        self.awake().await;
        let mut world = self.answering()?;
        world.images.retain(|_, image| image.id != id);
        world.journal.push(format!("remove image {id}"));
        Ok(())
    }

    async fn networks(&self) -> Result<Networks, RuntimeError> {
        self.awake().await;
        let world = self.answering()?;
        if world.hides_networks {
            return Err(RuntimeError::Refused { doing: "list networks", message: "forbidden".to_owned() });
        }
        Ok(world.networks.clone())
    }

    async fn remove_network(&self, environment: &EnvironmentId) -> Result<(), RuntimeError> {
        self.awake().await;
        let mut world = self.answering()?;
        world.networks.own.remove(environment);
        world.journal.push(format!("remove network {environment}"));
        Ok(())
    }

    async fn create(&self, launch: &Launch) -> Result<String, RuntimeError> {
        self.awake().await;
        let now = (self.now)();
        let mut world = self.answering()?;
        world.serial += 1;
        let id = format!("c{}", world.serial);
        let spec = &launch.release.release.spec;
        let container = Container {
            id: id.clone(),
            instance: launch.instance.clone(),
            slot: launch.slot.clone(),
            release: launch.release.digest,
            content: launch.release.content,
            counter: launch.release.release.counter,
            generation: launch.generation,
            side: launch.side,
            ports: launch.ports.iter().map(|(name, port)| (name.clone(), port.host)).collect(),
            memory: spec.resources.memory.bytes(),
            gpus: launch.gpus.clone(),
            created_at: now,
            state: ContainerState::Created,
            policy: RestartPolicy::No,
            restarts: 0,
            last_exit: None,
            health: None,
            plan: Some(launch.plan),
            name: launch.instance.clone(),
            likeness: Likeness::Same,
            answers: Default::default(),
        };
        for volume in spec.volumes.values() {
            let Some(path) = volume.host_path.clone() else { continue };
            let (container, name, is_writable) = (id.clone(), launch.instance.clone(), !volume.read_only);
            let bind = HeldBind { container, name, is_up: false, volume: None, path, is_writable };
            world.binds.binds.push(bind);
        }
        if let Some(network) = &launch.network {
            let environment = launch.slot.service.environment.clone();
            if world.networks.own.insert(environment, network.subnet).is_none() {
                world.journal.push(format!("create network {}", network.name));
            }
        }
        world.containers.insert(id.clone(), container);
        world.journal.push(format!("create {}", launch.instance));
        Ok(id)
    }

    async fn start(&self, id: &str) -> Result<(), RuntimeError> {
        self.awake().await;
        if let Some(failure) = self.answering()?.starts.pop_front() {
            return Err(failure);
        }
        self.change("start", id, |seen, now| {
            seen.restarts = 0;
            seen.state = ContainerState::Running { started_at: now };
        })
    }

    async fn stop(&self, id: &str) -> Result<(), RuntimeError> {
        self.awake().await;
        let takes = self.answering()?.stop_takes;
        tokio::time::sleep(takes).await;
        self.change("stop", id, |seen, now| {
            seen.state = ContainerState::Exited { code: 143, oom_killed: false, finished_at: now };
        })
    }

    async fn remove(&self, id: &str, _instance: &str) -> Result<(), RuntimeError> {
        self.awake().await;
        let mut world = self.answering()?;
        let Some(seen) = world.containers.get(id) else { return Ok(()) };
        if seen.state.is_up() {
            return Err(RuntimeError::Refused {
                doing: "remove the container",
                message: "it runs".to_owned(),
            });
        }
        let line = format!("remove {}", seen.instance);
        world.containers.remove(id);
        world.journal.push(line);
        drop(world);
        self.events.send(EngineEvent { container: id.to_owned(), kind: EventKind::Destroyed }).ok();
        Ok(())
    }

    async fn folder(&self, source: Source<'_>) -> Result<Option<PathBuf>, RuntimeError> {
        self.awake().await;
        match source {
            Source::Bind(path) => Ok(Some(path.into())),
            Source::Volume(name) => Ok(self.answering()?.folders.get(name).cloned()),
        }
    }

    async fn host_binds(&self) -> Result<HostBinds, RuntimeError> {
        self.awake().await;
        let world = self.answering()?;
        let mut found = world.binds.clone();
        found.binds.retain_mut(|bind| {
            let seen = world.containers.get(&bind.container);
            bind.is_up = seen.map_or(bind.is_up, |seen| seen.state.is_up());
            seen.is_some() || bind.is_up // a container of somebody else
        });
        Ok(found)
    }

    async fn tidy(&self, _here: &BTreeSet<String>) {}

    async fn keep_running(&self, id: &str) -> Result<(), RuntimeError> {
        self.awake().await;
        self.change("keep", id, |seen, _| seen.policy = RestartPolicy::UnlessStopped)
    }

    async fn never_restart(&self, id: &str) -> Result<(), RuntimeError> {
        self.awake().await;
        self.change("never restart", id, |seen, _| seen.policy = RestartPolicy::No)
    }

    fn logs(&self, _id: &str, options: LogOptions) -> RuntimeStream<LogLine> {
        let next = {
            let mut world = self.world();
            world.log_streams += 1;
            let tail = options.tail.map_or(usize::MAX, |tail| tail as usize);
            world.log.len().saturating_sub(tail).max(world.log_lost)
        };
        let stream = LogStream { world: self.world.clone(), next, follow: options.follow };
        Box::pin(futures_util::stream::unfold(stream, LogStream::next))
    }

    async fn exec(&self, _id: &str, _argv: &[String], limit: Duration) -> Result<Command, RuntimeError> {
        let late = |_| RuntimeError::TimedOut { doing: "run a command", after: limit };
        tokio::time::timeout(limit, self.awake()).await.map_err(late)?;
        let hangs = {
            let mut world = self.answering()?;
            world.execs += 1;
            world.exec_runs |= world.exec_hangs;
            if !world.exec_hangs {
                return Ok(Command::Exited(world.exec_code));
            }
            limit
        };
        tokio::time::sleep(hangs).await;
        Ok(Command::GoesOn("e1".to_owned()))
    }

    async fn goes_on(&self, _command: &str) -> Result<bool, RuntimeError> {
        Ok(self.answering()?.exec_runs)
    }

    fn events(&self) -> RuntimeStream<EngineEvent> {
        let events = BroadcastStream::new(self.events.subscribe());
        Box::pin(events.filter_map(|event| async move { event.ok().map(Ok) }))
    }
}
