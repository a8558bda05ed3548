//! The memory of inner networks.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::id::{EnvironmentId, ServiceName};
use crate::network::{InnerNetwork, MAX_CALLED, MAX_NETWORKS};

/// The memory of an inner network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkMemory {
    /// Its addresses.
    pub subnet: Ipv4Net,
    /// The instances that are in it, and the services that each of them calls by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub instances: BTreeMap<String, BTreeSet<ServiceName>>,
}

impl NetworkMemory {
    /// A network of these addresses that nothing is in yet.
    pub const fn of(subnet: Ipv4Net) -> Self {
        Self { subnet, instances: BTreeMap::new() }
    }
}

/// The networks as an ingress is told of them.
pub(crate) fn told(
    networks: &BTreeMap<EnvironmentId, NetworkMemory>,
    called: &BTreeMap<EnvironmentId, BTreeSet<ServiceName>>,
) -> Vec<InnerNetwork> {
    let told = networks.iter().filter_map(|(environment, known)| {
        let planned = called.get(environment).into_iter().flatten();
        let uses: BTreeSet<ServiceName> =
            known.instances.values().flatten().chain(planned).cloned().collect();
        let uses: BTreeSet<ServiceName> = uses.into_iter().take(MAX_CALLED).collect();
        let network = InnerNetwork { environment: environment.clone(), subnet: known.subnet, uses };
        (!network.uses.is_empty()).then_some(network)
    });
    told.take(MAX_NETWORKS).collect()
}
