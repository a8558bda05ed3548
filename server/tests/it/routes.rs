//! Traffic tables through the coordinator's doors: signed, numbered, kept over restarts, raised after a restore.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Instant;

use tonic::Code;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_core::release::{Release, Route};
use windlass_core::traffic::{
    Counts, EndpointState, EndpointTraffic, IngressReport, ROUTES_VERSIONS, ReleaseTraffic, Routes,
    ServiceTraffic, TableInForce,
};
use windlass_core::{Digest, Timestamp};
use windlass_proto::json::encode;
use windlass_proto::pb;

use crate::agent::{Agent, Players};
use crate::fleet::{Fleet, now, until};
use crate::release::release;
use crate::rollouts::{deploy, follow, request, status};

/// Tables with their envelopes.
type Taken = Vec<(Routes, Vec<u8>)>;

/// The beginning of every ingress. From then on each release gets ten requests a second, of which one in twenty fails.
static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

fn counted() -> ReleaseTraffic {
    let requests = u64::try_from(BEGUN.elapsed().as_millis() / 100).unwrap();
    let weighted = Counts {
        requests,
        server_error: requests / 20,
        success: requests - requests / 20,
        to_head: if requests > 0 { vec![(64, requests)] } else { Vec::new() },
        ..Counts::default()
    };
    ReleaseTraffic { weighted, ..ReleaseTraffic::default() }
}

/// The ingress beside an agent: tables that came, with their envelopes, and whether it is of the version before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ingress(Arc<Mutex<Taken>>, bool);

impl Ingress {
    /// Takes a table, and answers with the report that acknowledges it.
    pub(crate) fn take(&self, envelope: &[u8]) -> pb::IngressReport {
        let parsed = Envelope::parse(envelope, PayloadType::Routes.max_len()).unwrap();
        let routes: Routes = serde_json::from_slice(parsed.payload_bytes()).unwrap();
        let report = self.report(&routes, Digest::of(parsed.payload_bytes()));
        self.0.lock().unwrap().push((routes, envelope.to_vec()));
        report
    }

    /// Reports again by the newest table, with what was counted since.
    pub(crate) fn again(&self) -> Option<pb::IngressReport> {
        let (routes, envelope) = self.newest()?;
        let parsed = Envelope::parse(&envelope, PayloadType::Routes.max_len()).unwrap();
        Some(self.report(&routes, Digest::of(parsed.payload_bytes())))
    }

    fn report(&self, routes: &Routes, digest: Digest) -> pb::IngressReport {
        let endpoint = |e: &windlass_core::traffic::Endpoint| EndpointTraffic {
            address: (e.address, e.number).into(),
            release: e.release,
            state: EndpointState::Healthy,
            in_flight: if e.draining { 0 } else { 3 },
            tunnels: 0,
        };
        let services = routes.services.iter().map(|service| {
            let endpoints = service.endpoints.iter().map(endpoint).collect();
            let id = windlass_core::ServiceId::new(routes.environment.clone(), service.service.clone());
            let releases = service.releases.iter().map(|share| (share.release, counted())).collect();
            (id, ServiceTraffic { endpoints, releases, ..ServiceTraffic::default() })
        });
        let in_force = TableInForce { epoch: routes.epoch, seq: routes.seq, digest, applied_at: now() };
        let report = IngressReport {
            process: 7,
            started_at: Timestamp::ZERO,
            at: now(),
            program: "test".to_owned(),
            routes_versions: if self.1 { Vec::new() } else { ROUTES_VERSIONS.to_vec() },
            listens: Vec::new(),
            ending: false,
            tables: [(routes.environment.clone(), in_force)].into(),
            refused: BTreeMap::new(),
            services: services.collect(),
            unrouted: 0,
            bad_requests: 0,
            cut_services: 0,
        };
        pb::IngressReport { report: encode(&report) }
    }

    /// The positions of a hello.
    pub(crate) fn positions(&self) -> Vec<pb::RoutesPosition> {
        let tables = self.0.lock().unwrap();
        let newest = tables.iter().max_by_key(|(routes, _)| routes.seq);
        let position = |(routes, _): &(Routes, Vec<u8>)| pb::RoutesPosition {
            environment: routes.environment.to_string(),
            seq: routes.seq,
            epoch: routes.epoch,
        };
        newest.into_iter().map(position).collect()
    }

    fn newest(&self) -> Option<(Routes, Vec<u8>)> {
        self.0.lock().unwrap().last().cloned()
    }

    /// Counters of the releases that the newest table routes to.
    fn serving(&self) -> Vec<u64> {
        let newest = self.newest().map(|(routes, _)| routes);
        let service = newest.as_ref().and_then(|routes| routes.services.first());
        let serves = |release: &Digest| {
            service.is_some_and(|of| of.endpoints.iter().any(|e| &e.release == release && !e.draining))
        };
        let shares = service.iter().flat_map(|of| &of.releases).filter(|share| serves(&share.release));
        shares.map(|share| share.counter.0).collect()
    }
}

pub(crate) fn routed(counter: u64, content: &str, host: &str) -> Release {
    let mut release = release(counter, 2, content);
    release.version = 2;
    release.spec.traffic.routes =
        vec![Route { host: host.to_owned(), path: "/".to_owned(), port: "http".to_owned(), preview: false }];
    release
}

async fn fleet_with_ingress() -> (Fleet, Players, Ingress) {
    fleet_with(Ingress::default()).await
}

async fn fleet_with(ingress: Ingress) -> (Fleet, Players, Ingress) {
    let fleet = Fleet::start().await;
    let mut players = Players::default();
    for (n, host) in ["web-1", "web-2"].into_iter().enumerate() {
        let mut agent = Agent::joined(&fleet, host).await;
        agent.publishes = true;
        agent.ingress = (n == 0).then(|| ingress.clone());
        players.add(&fleet, agent).await;
        fleet.wait_for(host, "connected").await;
    }
    (fleet, players, ingress)
}

async fn routes(fleet: &Fleet) -> serde_json::Value {
    let request = pb::ListRoutesRequest { service: "default/web".to_owned() };
    let answer = fleet.control("viewer/default").await.list_routes(request).await.unwrap().into_inner();
    serde_json::from_slice::<serde_json::Value>(&answer.view).unwrap()[0].take()
}

#[tokio::test]
async fn a_deploy_leads_to_a_signed_table_and_its_report_is_shown() {
    let (fleet, _players, ingress) = fleet_with_ingress().await;
    assert_eq!(deploy(&fleet, &routed(1, "one", "web.example.com")).await, "succeeded");
    until("both instances are in a table", async || {
        ingress.newest().is_some_and(|(routes, _)| routes.services[0].endpoints.len() == 2)
    })
    .await;
    let (first, envelope) = ingress.newest().unwrap();
    let parsed = Envelope::parse(&envelope, PayloadType::Routes.max_len()).unwrap();
    let verified = parsed.verify(PayloadType::Routes, &fleet.document.dispatch_keys()).unwrap();
    assert_eq!(verified.decode::<Routes>().unwrap(), first, "signed by the dispatch key");
    assert_eq!(first.check(), Ok(()));
    assert_eq!(first.names[0].host, "web.example.com");

    assert_eq!(deploy(&fleet, &routed(2, "two", "web.example.com")).await, "succeeded");
    until("the new instances have taken over", async || ingress.serving() == [2]).await;
    let (second, _) = ingress.newest().unwrap();
    assert!(second.seq > first.seq, "{} after {}", second.seq, first.seq);

    until("the ingress has acknowledged", async || {
        let shown = routes(&fleet).await;
        shown["ingresses"][0]["acknowledged"] == shown["seq"] && shown["ingresses"][0]["in_flight"] == 6
    })
    .await;
    let shown = routes(&fleet).await;
    assert_eq!(shown["ingresses"][0]["host"], "web-1", "{shown}");
    let service = &shown["services"][0];
    assert_eq!(service["endpoints"][0]["release"], "r2", "{shown}");
    assert_eq!(service["endpoints"][0]["state"], "serving", "{shown}");
    assert_eq!(service["names"][0]["host"], "web.example.com", "{shown}");

    let forget = || pb::ForgetIngressRequest { host: "web-9".to_owned() };
    let refused = fleet.control("admin/default").await.forget_ingress(forget()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let unknown = fleet.control("admin/*").await.forget_ingress(forget()).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let forget = pb::ForgetIngressRequest { host: "web-1".to_owned() };
    fleet.control("admin/*").await.forget_ingress(forget).await.unwrap();
    assert_eq!(routes(&fleet).await["ingresses"], serde_json::json!([]), "it counts no more");
}

/// One that does not read the newest version would refuse it, and stay on the table before.
#[tokio::test]
async fn tables_are_written_as_every_ingress_reads_them() {
    for (is_old, newest) in [(false, 2), (true, 1)] {
        let (fleet, _players, ingress) = fleet_with(Ingress(Arc::default(), is_old)).await;
        assert_eq!(deploy(&fleet, &routed(1, "one", "web.example.com")).await, "succeeded");
        until("it serves", async || ingress.serving() == [1]).await;
        assert_eq!(deploy(&fleet, &routed(2, "two", "web.example.com")).await, "succeeded");
        until("the next one serves", async || ingress.serving() == [2]).await;
        let tables = ingress.0.lock().unwrap();
        let versions = tables.iter().map(|(routes, _)| routes.version);
        assert_eq!(versions.max(), Some(newest), "of the version before: {is_old}");
        let last = &tables.last().unwrap().0;
        assert_eq!((last.version, last.check()), (Routes::version_for(&last.services), Ok(())));
    }
}

#[tokio::test]
async fn two_services_of_an_environment_cannot_have_one_name() {
    let (fleet, _players, _ingress) = fleet_with_ingress().await;
    let mut control = fleet.control("deployer/default").await;
    let first = routed(1, "one", "web.example.com");
    let preview =
        pb::PreviewRequest { release: serde_json::to_vec(&first).unwrap().into(), ..Default::default() };
    let plan = control.preview(preview).await.unwrap().into_inner();
    let plan: serde_json::Value = serde_json::from_slice(&plan.view).unwrap();
    let said = "nothing answers at `web.example.com` yet: no ingress serves `default`";
    assert!(plan["warnings"][0].as_str().unwrap().starts_with(said), "{plan}");
    assert_eq!(deploy(&fleet, &first).await, "succeeded");
    let mut other = first;
    other.service = "api".parse().unwrap();
    let refused = control.submit_release(request(&fleet, &other)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.message(), "`web.example.com/` leads to the service `web` already");
    let payload = serde_json::to_vec(&other).unwrap().into();
    let preview = pb::PreviewRequest { release: payload, ..Default::default() };
    assert_eq!(
        control.preview(preview).await.unwrap_err().code(),
        Code::FailedPrecondition,
        "and `plan` says so"
    );
    other.spec.traffic.routes[0].path = "/v1".to_owned();
    control.submit_release(request(&fleet, &other)).await.unwrap();
}

#[tokio::test]
async fn two_environments_of_an_ingress_cannot_have_one_name() {
    let (fleet, _players, ingress) = fleet_with_ingress().await;
    let mut control = fleet.control("viewer/another").await;
    let mut first = routed(1, "one", "web.example.com");
    first.spec.traffic.routes[0].path = "/v1".to_owned();
    assert_eq!(deploy(&fleet, &first).await, "succeeded");
    until("it serves", async || !ingress.serving().is_empty()).await;
    let mut other = first;
    (other.environment, other.service) = ("another".parse().unwrap(), "api".parse().unwrap());
    // A slash at the end of a path makes no other name of it.
    other.spec.traffic.routes[0].path = "/v1/".to_owned();
    let payload = serde_json::to_vec(&other).unwrap().into();
    let preview = pb::PreviewRequest { release: payload, ..Default::default() };
    let refused = control.preview(preview).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let said = "leads to `default/web` already, and the ingress of web-1 serves both environments";
    assert!(refused.message().ends_with(said), "{}", refused.message());
}

/// A release of a service that calls others by name.
fn named(name: &str, counter: u64, uses: &[&str]) -> Release {
    let mut release = release(counter, 2, name);
    release.service = name.parse().unwrap();
    release.spec.uses = uses.iter().map(|name| name.parse().unwrap()).collect();
    release.version = release.spec.version();
    release
}

#[tokio::test]
async fn a_service_that_others_call_stops_only_by_force() {
    let (fleet, _players, ingress) = fleet_with_ingress().await;
    assert_eq!(deploy(&fleet, &routed(1, "one", "web.example.com")).await, "succeeded");
    until("the ingress counts", async || !ingress.serving().is_empty()).await;
    assert_eq!(deploy(&fleet, &named("api", 1, &[])).await, "succeeded");
    assert_eq!(deploy(&fleet, &named("shop", 1, &["api"])).await, "succeeded");
    let stop = |service: &str, force| pb::SteerServiceRequest {
        service: format!("default/{service}"),
        action: pb::ServiceAction::Stop.into(),
        force,
        ..Default::default()
    };
    let mut control = fleet.control("deployer/default").await;
    let refused = control.steer_service(stop("api", false)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let said = "`default/api` is called by `default/shop` (`uses`), whose calls would fail";
    assert_eq!(refused.message(), said);
    control.steer_service(stop("shop", false)).await.unwrap();
    control.steer_service(stop("api", false)).await.unwrap();
}

#[tokio::test]
async fn a_service_that_calls_others_is_placed_beside_an_ingress() {
    let (fleet, _players, ingress) = fleet_with_ingress().await;
    // A first table has the ingress of web-1 report.
    assert_eq!(deploy(&fleet, &routed(1, "one", "web.example.com")).await, "succeeded");
    until("the ingress counts", async || !ingress.serving().is_empty()).await;
    let mut db = named("db", 1, &[]);
    db.spec.ports.get_mut("http").unwrap().protocol = windlass_core::release::PortProtocol::Tcp;
    db.version = db.spec.version();
    let mut control = fleet.control("deployer/default").await;
    control.submit_release(request(&fleet, &db)).await.unwrap();

    let refused = control.submit_release(request(&fleet, &named("shop", 1, &["db"]))).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.message(), "`uses: [db]`: TCP is not balanced, and `db` has no other port");
    let preview = |release: &Release| pb::PreviewRequest {
        release: serde_json::to_vec(release).unwrap().into(),
        ..Default::default()
    };
    assert!(control.preview(preview(&named("shop", 1, &["db"]))).await.is_err(), "and `plan` says so");

    let shop = named("shop", 1, &["later", "web"]);
    let plan = control.preview(preview(&shop)).await.unwrap().into_inner();
    let plan: serde_json::Value = serde_json::from_slice(&plan.view).unwrap();
    let said = "`uses: [later]`: there is no service `later` in `default` yet";
    assert!(plan["warnings"][0].as_str().unwrap().starts_with(said), "{plan}");
    let hosts: Vec<&str> =
        plan["slots"].as_array().unwrap().iter().filter_map(|slot| slot["host"].as_str()).collect();
    assert_eq!(hosts, ["web-1", "web-1"], "{plan}");
    let why = plan["refused"][0]["reason"].as_str().unwrap();
    assert!(
        plan["refused"][0]["host"] == "web-2" && why.starts_with("no ingress: `uses` needs one"),
        "{plan}"
    );
    let submitted = control.submit_release(request(&fleet, &shop)).await.unwrap().into_inner();
    assert!(submitted.warnings[0].starts_with(said), "{submitted:?}");
}

#[tokio::test]
async fn a_service_that_serves_a_name_stops_only_by_force() {
    let (fleet, _players, ingress) = fleet_with_ingress().await;
    assert_eq!(deploy(&fleet, &routed(1, "one", "web.example.com")).await, "succeeded");
    until("it serves the name", async || ingress.serving() == [1]).await;
    let asks = |action: pb::ServiceAction, force| pb::SteerServiceRequest {
        service: "default/web".to_owned(),
        action: action.into(),
        force,
        ..Default::default()
    };
    let mut control = fleet.control("deployer/default").await;
    for action in [pb::ServiceAction::Stop, pb::ServiceAction::Remove] {
        let refused = control.steer_service(asks(action, false)).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(
            refused.message(),
            "`default/web` serves web.example.com, and nothing would answer there any more"
        );
    }
    control.steer_service(asks(pb::ServiceAction::Stop, true)).await.unwrap();
    until("nothing answers", async || ingress.serving().is_empty()).await;
    // Nothing is taken from anybody now.
    control.steer_service(asks(pb::ServiceAction::Remove, false)).await.unwrap();
}

#[tokio::test]
async fn names_that_a_release_leaves_behind_are_named() {
    let (fleet, _players, _ingress) = fleet_with_ingress().await;
    let mut control = fleet.control("deployer/default").await;
    let bare = release(1, 2, "one");
    assert_eq!(deploy(&fleet, &bare).await, "succeeded");
    assert_eq!(deploy(&fleet, &routed(2, "two", "web.example.com")).await, "succeeded");
    let said = |release: &str, has: &str| {
        format!("`web.example.com/` leads nowhere after this: {release} has {has}")
    };
    let preview = async |release: &Release| -> Vec<serde_json::Value> {
        let release = serde_json::to_vec(release).unwrap().into();
        let request = pb::PreviewRequest { release, ..Default::default() };
        let plan = fleet.control("viewer/default").await.preview(request).await.unwrap().into_inner();
        let plan: serde_json::Value = serde_json::from_slice(&plan.view).unwrap();
        plan["warnings"].as_array().unwrap().clone()
    };
    assert_eq!(preview(&release(3, 2, "three")).await[0], said("r3", "no `route`"));
    assert_eq!(preview(&routed(3, "three", "other.example.com")).await[0], said("r3", "no such `route`"));
    for kept in ["web.example.com", "*.example.com"] {
        let warnings = preview(&routed(3, "three", kept)).await;
        assert!(!warnings.iter().any(|text| text.to_string().contains("after this")), "{kept}: {warnings:?}");
    }

    // A caller that asks is told before; one that does not is warned.
    let back = |ask| pb::RollbackRequest { service: "default/web".to_owned(), to: "r1".to_owned(), ask };
    let refused = control.rollback(back(true)).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, &*said("r1", "no `route`")));
    assert_eq!(status(&fleet).await["release"], "r2", "nothing was begun");
    let begun = control.rollback(back(false)).await.unwrap().into_inner();
    assert_eq!(begun.warnings, [said("r1", "no `route`")]);
    assert_eq!(follow(&fleet, &begun.rollout).await, "succeeded");

    let again = pb::RollbackRequest { to: "r2".to_owned(), ..back(true) };
    let begun = control.rollback(again).await.unwrap().into_inner();
    assert!(begun.warnings.is_empty(), "{begun:?}");
    assert_eq!(follow(&fleet, &begun.rollout).await, "succeeded");
    let submitted = control.submit_release(request(&fleet, &release(3, 2, "three"))).await.unwrap();
    assert_eq!(submitted.into_inner().warnings[0], said("r3", "no `route`"));
}

#[tokio::test]
async fn an_agent_that_cannot_read_routes_gets_none() {
    let fleet = Fleet::start().await;
    let mut players = Players::default();
    let mut old = Agent::joined(&fleet, "web-1").await;
    old.release_versions = Vec::new();
    players.add(&fleet, old).await;
    fleet.wait_for("web-1", "connected").await;
    let mut plain = release(1, 1, "one");
    assert_eq!(deploy(&fleet, &plain).await, "succeeded", "what says nothing of traffic, it reads");
    plain = routed(2, "two", "web.example.com");
    let mut control = fleet.control("deployer/default").await;
    let refused = control.submit_release(request(&fleet, &plain)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("agents of web-1 are too old"), "{}", refused.message());
    assert_eq!(status(&fleet).await["release"], "r1");
}

#[tokio::test]
async fn a_restart_keeps_the_number_and_a_restore_raises_it() {
    let (mut fleet, mut players, ingress) = fleet_with_ingress().await;
    assert_eq!(deploy(&fleet, &routed(1, "one", "web.example.com")).await, "succeeded");
    until("both instances are in a table", async || {
        ingress.newest().is_some_and(|(routes, _)| routes.services[0].endpoints.len() == 2)
    })
    .await;
    until("the table stands", async || {
        let seq = ingress.newest().unwrap().0.seq;
        routes(&fleet).await["seq"] == seq
    })
    .await;
    let (before, envelope) = ingress.newest().unwrap();
    fleet.kill().await;
    let agents = [players.ended().await.0, players.ended().await.0];
    let count = ingress.0.lock().unwrap().len();
    fleet.run().await;
    for agent in agents {
        players.add(&fleet, agent).await;
    }
    until("the table is said again", async || ingress.0.lock().unwrap().len() > count).await;
    assert_eq!(ingress.0.lock().unwrap()[count], (before.clone(), envelope), "the very same bytes");

    // A table of a life that this store has forgotten: number 40.
    fleet.kill().await;
    let agents = [players.ended().await.0, players.ended().await.0];
    ingress.0.lock().unwrap().push((Routes { seq: before.seq + 40, ..before.clone() }, Vec::new()));
    fleet.run().await;
    for agent in agents {
        players.add(&fleet, agent).await;
    }
    until("a table above it comes", async || {
        ingress
            .newest()
            .is_some_and(|(routes, envelope)| !envelope.is_empty() && routes.seq > before.seq + 40)
    })
    .await;
    let (raised, _) = ingress.newest().unwrap();
    assert_eq!((raised.names, raised.services), (before.names, before.services), "it says the same");
    assert!(fleet.events().await.iter().any(|event| event.contains("routes.raised")));
}
