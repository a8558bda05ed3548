//! Rows of what ingresses do: releases that requests go to, and the tables that ingresses have.

use serde::{Deserialize, Serialize};

use super::super::{EndpointView, IngressState, IngressView, RecentView, RoutedView, RoutesView};
use super::{PARTS, RowView};
use crate::id::{Counter, EnvironmentId, ServiceName};
use crate::time::Timestamp;
use crate::traffic::Weight;

/// A release of a service that requests are routed to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteRow {
    /// The environment of the service.
    pub environment: EnvironmentId,
    /// The service.
    pub service: ServiceName,
    /// The release; none for requests that found no instance.
    pub release: Option<Counter>,
    /// Its share in thousandths; none where all endpoints are one pool.
    pub weight: Option<Weight>,
    /// The requests that it got lately.
    pub recent: Option<RecentView>,
    /// Endpoints that take requests, those of lost hosts left out.
    pub serving: u32,
    /// Endpoints of the release in the table, the first ones.
    pub endpoints: Vec<EndpointView>,
    /// The names under which clients reach the service.
    pub names: Vec<String>,
}

/// An ingress, and the table of one environment there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IngressRow {
    /// The environment.
    pub environment: EnvironmentId,
    /// The ingress.
    pub ingress: IngressView,
    /// When the newest table was made. An older coordinator does not tell; then nothing is excused by it.
    #[serde(default = "long_ago")]
    pub issued_at: Timestamp,
}

const fn long_ago() -> Timestamp {
    Timestamp::ZERO
}

impl IngressRow {
    /// Its table, compared with the newest one; as far as it has told.
    pub fn state(&self, now: Timestamp) -> IngressState {
        self.ingress.state(self.issued_at, now)
    }
}

impl RowView {
    /// The releases of an environment that requests are routed to, a row each. Requests that found no instance have a row of
    /// their own, and so has a service without one.
    pub fn routes(view: &RoutesView) -> Vec<Self> {
        let rows = view.services.iter().flat_map(|routed| {
            let releases = routed.releases.iter();
            let released = releases.map(|of| row(view, routed, Some(of.release), of.weight, of.recent));
            let is_bare = routed.releases.is_empty() || routed.nobody.is_some();
            let nobody = is_bare.then(|| row(view, routed, None, None, routed.nobody));
            released.chain(nobody)
        });
        rows.collect()
    }

    /// The ingresses of an environment, a row each.
    pub fn ingresses(view: &RoutesView) -> Vec<Self> {
        let rows = view.ingresses.iter().map(|ingress| {
            let (environment, ingress) = (view.environment.clone(), ingress.clone());
            Self::Ingress(Box::new(IngressRow { environment, ingress, issued_at: view.issued_at }))
        });
        rows.collect()
    }
}

fn row(
    view: &RoutesView,
    routed: &RoutedView,
    release: Option<Counter>,
    weight: Option<Weight>,
    recent: Option<RecentView>,
) -> RowView {
    let of = |endpoint: &&EndpointView| release.is_some() && endpoint.release == release;
    let serving = routed.endpoints.iter().filter(of).filter(|endpoint| endpoint.is_serving()).count();
    RowView::Route(Box::new(RouteRow {
        environment: view.environment.clone(),
        service: routed.service.clone(),
        release,
        weight,
        recent,
        serving: u32::try_from(serving).unwrap_or(u32::MAX),
        endpoints: routed.endpoints.iter().filter(of).take(PARTS).cloned().collect(),
        names: routed.names.iter().map(crate::release::Route::name).collect(),
    }))
}
