//! Inner networks: a bridge for each environment of which a container calls services by name.

use std::collections::HashMap;

use bollard::Docker;
use bollard::models::{Ipam, IpamConfig, Network, NetworkCreateRequest};
use ipnet::Ipv4Net;
use windlass_core::EnvironmentId;
use windlass_core::network::{engine_name, gateway};
use windlass_core::reconcile::{LaunchNetwork, LocalHost};

use super::super::labels::{ENVIRONMENT, FLEET, HOST};
use super::super::{Networks, RuntimeError};
use super::error::{self, refused};

const MAKE: &str = "create the network";

/// The networks of the engine.
pub(super) async fn list(docker: &Docker, local: &LocalHost) -> Result<Networks, RuntimeError> {
    let all = docker.list_networks(None).await.map_err(refused("list networks"))?;
    let mut networks = Networks::default();
    for network in &all {
        let subnets = subnets(network.ipam.as_ref());
        match (own(local, network), subnets.first()) {
            (Some(environment), Some(subnet)) => drop(networks.own.insert(environment, *subnet)),
            (Some(_) | None, _) => networks.others.extend(subnets),
        }
    }
    Ok(networks)
}

/// The environment of a network that was made for this agent.
fn own(local: &LocalHost, network: &Network) -> Option<EnvironmentId> {
    let labels = network.labels.as_ref()?;
    let says = |label: &str, value: &str| labels.get(label).is_some_and(|found| found == value);
    let environment: EnvironmentId = labels.get(ENVIRONMENT)?.parse().ok()?;
    let is_named = network.name.as_deref() == Some(&engine_name(&local.fleet, &local.host, &environment));
    let is_own = is_named && says(FLEET, local.fleet.as_str()) && says(HOST, local.host.as_str());
    is_own.then_some(environment)
}

fn subnets(ipam: Option<&Ipam>) -> Vec<Ipv4Net> {
    let configs = ipam.and_then(|ipam| ipam.config.as_ref()).into_iter().flatten();
    configs.filter_map(|config| config.subnet.as_ref()?.parse::<Ipv4Net>().ok()).collect()
}

/// Has the network there, with the addresses that were journaled for it.
pub(super) async fn ensure(
    docker: &Docker,
    local: &LocalHost,
    environment: &EnvironmentId,
    wanted: &LaunchNetwork,
) -> Result<(), RuntimeError> {
    if has(docker, wanted).await? {
        return Ok(());
    }
    let labels =
        [(FLEET, local.fleet.as_str()), (HOST, local.host.as_str()), (ENVIRONMENT, environment.as_str())];
    let labels = labels.map(|(label, value)| (label.to_owned(), value.to_owned()));
    let config = IpamConfig {
        subnet: Some(wanted.subnet.to_string()),
        gateway: Some(gateway(wanted.subnet).to_string()),
        ..Default::default()
    };
    let request = NetworkCreateRequest {
        name: wanted.name.clone(),
        driver: Some("bridge".to_owned()),
        ipam: Some(Ipam { config: Some(vec![config]), ..Default::default() }),
        labels: Some(HashMap::from(labels)),
        ..Default::default()
    };
    match docker.create_network(request).await {
        Ok(_) => {
            tracing::info!(%environment, subnet = %wanted.subnet, "an inner network was made");
            Ok(())
        }
        // An agent that died may have asked for it: then it is there.
        Err(_) if has(docker, wanted).await? => Ok(()),
        Err(error) => Err(refused(MAKE)(error)),
    }
}

/// Returns whether the network is there; one of other addresses is an error, and the next decision takes them over.
async fn has(docker: &Docker, wanted: &LaunchNetwork) -> Result<bool, RuntimeError> {
    match docker.inspect_network(&wanted.name, None).await {
        Ok(found) if subnets(found.ipam.as_ref()).first() == Some(&wanted.subnet) => Ok(true),
        Ok(_) => {
            let message =
                format!("`{}` is there and has other addresses than {}", wanted.name, wanted.subnet);
            Err(RuntimeError::Refused { doing: MAKE, message })
        }
        Err(error) if error::status(&error) == Some(404) => Ok(false),
        Err(error) => Err(refused("inspect a network")(error)),
    }
}

/// Removes the network of an environment; one that has gone is no error.
pub(super) async fn remove(
    docker: &Docker,
    local: &LocalHost,
    environment: &EnvironmentId,
) -> Result<(), RuntimeError> {
    match docker.remove_network(&engine_name(&local.fleet, &local.host, environment)).await {
        Err(error) if error::status(&error) == Some(404) => Ok(()),
        removed => removed.map_err(refused("remove a network")),
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::host::HostPolicy;

    use super::*;

    #[test]
    fn only_a_network_with_our_name_and_labels_is_ours() {
        let local = LocalHost {
            fleet: "demo".parse().unwrap(),
            host: "h1".parse().unwrap(),
            address: "127.0.0.1".to_owned(),
            policy: HostPolicy::default(),
        };
        let network = |name: &str, host: &str| -> Network {
            serde_json::from_value(serde_json::json!({
                "Name": name,
                "IPAM": { "Config": [{ "Subnet": "10.210.3.0/24" }, { "Subnet": "fd00::/64" }] },
                "Labels": { FLEET: "demo", HOST: host, ENVIRONMENT: "production" },
            }))
            .unwrap()
        };
        let production: EnvironmentId = "production".parse().unwrap();
        let ours = network("windlass.demo.h1.production", "h1");
        assert_eq!(own(&local, &ours), Some(production));
        assert_eq!(subnets(ours.ipam.as_ref()), ["10.210.3.0/24".parse::<Ipv4Net>().unwrap()]);
        assert_eq!(own(&local, &network("other", "h1")), None);
        assert_eq!(own(&local, &network("windlass.demo.h1.production", "h2")), None);
        assert_eq!(own(&local, &Network::default()), None);
    }
}
