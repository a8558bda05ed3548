//! Instances that have metrics of their own, in the format of Prometheus' `http_sd_configs`: those of services with a port
//! named [`PORT`].

use std::collections::BTreeMap;

use serde::Serialize;
use windlass_core::ServiceId;
use windlass_core::observation::InstanceState;
use windlass_core::view::StatusView;

use crate::config::Detail;
use crate::coordinator::Coordinator;
use crate::scrape::{INSTANCES, Place, status};

/// The name of the port at which an instance answers a scrape.
const PORT: &str = "metrics";

/// One group of targets: here one instance.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Group {
    /// Addresses with ports.
    targets: [String; 1],
    /// Labels that a scrape configuration may keep under another name.
    labels: BTreeMap<&'static str, String>,
}

/// Every instance that answers scrapes, as JSON. Empty where the coordinator may not name instances.
pub(crate) fn targets(coordinator: &Coordinator, place: &Place) -> String {
    let mut groups = Vec::new();
    if place.detail == Detail::Instances {
        let now = coordinator.ledger.now();
        let fresh = BTreeMap::new();
        let ids: Vec<ServiceId> = coordinator.ledger.read(|state| state.services.keys().cloned().collect());
        for id in ids {
            let view = coordinator.ledger.read(|state| status(coordinator, state, &id, &fresh, now));
            groups.extend(view.iter().flat_map(of_service).take(INSTANCES - groups.len().min(INSTANCES)));
        }
    }
    serde_json::to_string(&groups).unwrap_or_else(|_infallible| "[]".to_owned())
}

fn of_service(view: &StatusView) -> impl Iterator<Item = Group> {
    view.instances.iter().filter_map(move |instance| {
        let runs = matches!(
            instance.state,
            InstanceState::Starting
                | InstanceState::Unready
                | InstanceState::Healthy
                | InstanceState::Draining
        );
        let address = instance.endpoints.get(PORT).filter(|_| runs)?;
        let labels = [
            ("__meta_windlass_environment", view.environment.to_string()),
            ("__meta_windlass_service", view.service.to_string()),
            ("__meta_windlass_release", instance.release.to_string()),
            ("__meta_windlass_slot", instance.slot.index.to_string()),
            ("__meta_windlass_instance", instance.id.clone()),
            ("__meta_windlass_host", instance.host.to_string()),
        ];
        Some(Group { targets: [address.clone()], labels: BTreeMap::from(labels) })
    })
}
