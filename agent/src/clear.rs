//! `remove-workloads`: stops and removes every container of this host, for a host that is given up.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use windlass_core::host::HostPolicy;
use windlass_core::reconcile::LocalHost;

use crate::config::Config;
use crate::data::{DataDir, DataError};
use crate::member::{Member, MemberError};
use crate::runtime::docker::{ConnectError, DockerEngine};
use crate::runtime::{Runtime, RuntimeError, answer};

/// Containers that are stopped at once.
const AT_ONCE: usize = 8;

/// The reason that containers are left.
#[derive(Debug, thiserror::Error)]
pub enum ClearError {
    /// The agent's folder.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Membership.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// The engine's address.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The engine.
    #[error("failed to remove the containers of this host")]
    Engine(#[from] RuntimeError),
}

impl ClearError {
    /// Returns the next step of the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Data(error) => error.hint(),
            Self::Member(error) => error.hint(),
            Self::Connect(_) => None,
            Self::Engine(_) => {
                Some("does the engine answer? Name it with `--engine unix:///…`, and try again".to_owned())
            }
        }
    }
}

/// Stops and removes the containers of this host's fleet, and the networks that they were in; answers with their number. No agent may run meanwhile.
pub async fn remove_workloads(config: &Config) -> Result<usize, ClearError> {
    let data = DataDir::open(&config.data)?;
    let _lock = data.lock()?;
    let member = Member::load(&data)?;
    let local = LocalHost {
        fleet: member.fleet,
        host: member.host,
        address: member.address,
        policy: HostPolicy::default(),
    };
    let engine = DockerEngine::new(&config.engine, Arc::new(local), &data.files())?;
    Ok(clear(&engine).await?)
}

async fn clear<R: Runtime>(engine: &R) -> Result<usize, RuntimeError> {
    let listed = answer(engine.list()).await?;
    let each = futures_util::stream::iter(listed).map(|seen| async move {
        let Some(found) = answer(engine.inspect(&seen.id)).await? else { return Ok(0) };
        if found.state.is_up() {
            engine.stop(&seen.id).await?;
        }
        engine.remove(&seen.id, &found.instance).await?;
        Ok::<usize, RuntimeError>(1)
    });
    let removed = each
        .buffer_unordered(AT_ONCE)
        .try_fold(0, |sum, one| async move { Ok::<_, RuntimeError>(sum + one) })
        .await?;
    for environment in answer(engine.networks()).await?.own.keys() {
        engine.remove_network(environment).await?;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use windlass_core::Digest;
    use windlass_core::reconcile::{Launch, LaunchNetwork, PlanNumber, VerifiedRelease};

    use super::*;
    use crate::clock;
    use crate::runtime::fake::FakeEngine;

    #[tokio::test]
    async fn every_container_of_the_host_is_stopped_and_removed() {
        let engine = FakeEngine::new(clock::now);
        for serial in 1..=12 {
            let launch = Launch {
                plan: PlanNumber { epoch: 1, seq: 1 },
                slot: "production/web/0".parse().unwrap(),
                instance: format!("production.web.0.r1.{serial}"),
                release: Arc::new(VerifiedRelease::new(Digest::of(b"r1"), crate::fixture::release(1))),
                generation: 0,
                image: "sha256:1".to_owned(),
                side: 0,
                ports: BTreeMap::new(),
                gpus: Vec::new(),
                network: Some(LaunchNetwork {
                    name: "windlass.demo.h1.production".to_owned(),
                    subnet: "10.210.0.0/24".parse().unwrap(),
                }),
                hook: None,
            };
            let id = engine.create(&launch).await.unwrap();
            if serial % 2 == 0 {
                engine.start(&id).await.unwrap();
            }
        }
        assert_eq!(clear(&engine).await.unwrap(), 12);
        assert!(engine.world().containers.is_empty() && engine.world().networks.own.is_empty());
        assert_eq!(clear(&engine).await.unwrap(), 0);
        engine.world().down = true;
        assert!(clear(&engine).await.unwrap_err().is_unavailable());
    }
}
