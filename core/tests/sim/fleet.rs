//! The releases and facts that the model uses.

use std::collections::BTreeMap;

use windlass_core::host::{HostFacts, HostPolicy};
use windlass_core::release::{
    Health, Image, OnFailure, OnLost, Placement, Release, Resources, RollbackOn, Scale, Security, Spec,
    Strategy,
};
use windlass_core::{Amount, Counter, Digest, Size, Span, Timestamp};

pub(crate) fn release(counter: u64, replicas: u32) -> Release {
    Release {
        version: 1,
        fleet: "sim".parse().unwrap(),
        environment: "production".parse().unwrap(),
        service: "web".parse().unwrap(),
        counter: Counter(counter),
        created_at: Timestamp::ZERO,
        author: "sim".to_owned(),
        spec: Spec {
            image: Image {
                reference: format!("127.0.0.1:5000/web:v{counter}"),
                repository: "127.0.0.1:5000/web".to_owned(),
                digest: Digest::of(&counter.to_be_bytes()),
                platform: "linux/amd64".to_owned(),
                size: 1,
            },
            command: None,
            args: None,
            workdir: None,
            scale: Scale::Replicas { min: replicas, max: replicas },
            placement: Placement::default(),
            ports: BTreeMap::new(),
            main_port: None,
            env: BTreeMap::new(),
            files: BTreeMap::new(),
            volumes: BTreeMap::new(),
            resources: Resources {
                cpu_millis: 100,
                memory: Size::from_bytes(64 << 20),
                pids: 64,
                gpus: None,
            },
            security: Security::default(),
            health: Health::default(),
            strategy: Strategy::Rolling {
                batch: Amount::Percent(25),
                max_surge: Amount::Percent(25),
                max_unavailable: Amount::Count(0),
                order: Default::default(),
                min_ready: Span::from_secs(5),
            },
            soak: Span::from_secs(10),
            progress_deadline: Span::from_secs(120),
            stop_timeout: Span::from_secs(10),
            on_failure: OnFailure::RollbackAll,
            rollback_on: RollbackOn { restarts: 1, unhealthy_for: Span::from_secs(120) },
            on_lost: OnLost::default(),
            floor: None,
        },
    }
}

pub(crate) fn facts() -> HostFacts {
    HostFacts {
        platform: "linux/amd64".to_owned(),
        cpu_millis: 4000,
        memory: 8 << 30,
        address: "127.0.0.1".to_owned(),
        policy: HostPolicy { registries: vec!["127.0.0.1:5000".to_owned()], ..HostPolicy::default() },
        ..HostFacts::default()
    }
}
