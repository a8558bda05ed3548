//! The rights of callers: one table. A method that is not in it is refused to everybody.
//!
//! The table says which role a call needs at all; calls about one environment then ask
//! [`Caller::may`] for that environment, once they know which it is.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{Either, FutureExt, Map, Ready, ready};
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};
use windlass_certs::identity::{Grant, OperatorRole, PeerIdentity, Role};
use windlass_certs::tls::ConnectInfo;
use windlass_core::quota::{Source, printable};
use windlass_core::{EnvironmentId, FleetId};

use super::in_flight::InFlight;
use crate::metrics::Metrics;
use crate::peers::Peers;

/// The requirement of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Nothing: it proves what it must by itself.
    Nothing,
    /// Any valid certificate of the fleet.
    Member,
    /// An agent's.
    Agent,
    /// An operator's with at least this role, in some environment.
    Operator(OperatorRole),
    /// An operator's with at least this role, for the whole fleet.
    Fleet(OperatorRole),
}

use Needs::{Agent, Fleet, Member, Nothing, Operator};
use OperatorRole::{Admin, Deployer, Viewer};

#[rustfmt::skip]
const TABLE: &[(&str, Needs)] = &[
    ("/windlass.v1.Enrolment/Join", Nothing),
    ("/windlass.v1.Enrolment/JoinOperator", Nothing),
    ("/windlass.v1.Enrolment/Challenge", Nothing),
    ("/windlass.v1.Enrolment/Renew", Nothing),

    ("/windlass.v1.AgentLink/Connect", Agent),
    ("/windlass.v1.AgentLink/FetchRelease", Agent),
    ("/windlass.v1.AgentLink/FetchTrust", Agent),
    ("/windlass.v1.AgentLink/SendLogs", Agent),

    ("/windlass.v1.Control/CreateHostToken", Fleet(Admin)),
    ("/windlass.v1.Control/SteerHost", Fleet(Admin)),
    ("/windlass.v1.Control/PreviewRecovery", Fleet(Viewer)),
    ("/windlass.v1.Control/Recover", Fleet(Admin)),
    ("/windlass.v1.Control/ListHosts", Operator(Viewer)),
    ("/windlass.v1.Control/GetHost", Operator(Viewer)),
    ("/windlass.v1.Control/GetService", Operator(Viewer)),
    ("/windlass.v1.Control/Preview", Operator(Viewer)),
    ("/windlass.v1.Control/SubmitRelease", Operator(Deployer)),
    ("/windlass.v1.Control/ListReleases", Operator(Viewer)),
    ("/windlass.v1.Control/GetRelease", Operator(Viewer)),
    ("/windlass.v1.Control/ListQuarantine", Operator(Viewer)),
    ("/windlass.v1.Control/ClearQuarantine", Operator(Deployer)),
    ("/windlass.v1.Control/Rollback", Operator(Deployer)),
    ("/windlass.v1.Control/ListRollouts", Operator(Viewer)),
    ("/windlass.v1.Control/GetRollout", Operator(Viewer)),
    ("/windlass.v1.Control/ExplainRollout", Operator(Viewer)),
    ("/windlass.v1.Control/WatchRollout", Operator(Viewer)),
    ("/windlass.v1.Control/SteerRollout", Operator(Deployer)),
    ("/windlass.v1.Control/SteerService", Operator(Deployer)),
    ("/windlass.v1.Control/GetStatus", Operator(Viewer)),
    ("/windlass.v1.Control/GetHistory", Operator(Viewer)),
    ("/windlass.v1.Control/WatchFleet", Operator(Viewer)),
    ("/windlass.v1.Control/ListRoutes", Operator(Viewer)),
    ("/windlass.v1.Control/ForgetIngress", Fleet(Admin)),
    ("/windlass.v1.Control/StreamLogs", Operator(Viewer)),
    ("/windlass.v1.Control/StreamEvents", Operator(Viewer)),
    ("/windlass.v1.Control/AddOperator", Fleet(Admin)),
    ("/windlass.v1.Control/ListOperators", Fleet(Viewer)),
    ("/windlass.v1.Control/RevokeOperator", Fleet(Admin)),
    ("/windlass.v1.Control/GetVersion", Operator(Viewer)),
    ("/windlass.v1.Control/GetTrust", Operator(Viewer)),
    ("/windlass.v1.Control/PublishTrust", Fleet(Admin)),
    ("/windlass.v1.Control/StreamAudit", Fleet(Viewer)),

    ("/grpc.health.v1.Health/Check", Member),
    ("/grpc.health.v1.Health/Watch", Member),
    ("/grpc.health.v1.Health/List", Member),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Member),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Member),
];

/// Whether `peer` may call `path`.
fn decide(path: &str, fleet: &FleetId, peer: Option<&PeerIdentity>) -> Result<(), Status> {
    let Some((_, needs)) = TABLE.iter().find(|(known, _)| *known == path) else {
        return Err(Status::unimplemented("there is no such method"));
    };
    if *needs == Nothing {
        return Ok(());
    }
    let Some(peer) = peer else {
        return Err(Status::unauthenticated("this needs a client certificate of the fleet"));
    };
    if peer.identity.fleet() != fleet {
        return Err(Status::permission_denied("the certificate is of another fleet"));
    }
    let grant = peer.grant.as_ref();
    let allowed = match needs {
        Nothing | Member => true,
        Agent => peer.identity.role() == Role::Agent,
        Operator(role) => grant.is_some_and(|grant| grant.role >= *role),
        Fleet(role) => grant.is_some_and(|grant| grant.allows_fleet(*role)),
    };
    if allowed { Ok(()) } else { Err(denied(needs)) }
}

fn denied(needs: &Needs) -> Status {
    Status::permission_denied(match needs {
        Nothing | Member => "refused".to_owned(),
        Agent => "only agents may call this".to_owned(),
        Operator(role) => format!("this needs an operator with role `{role}`"),
        Fleet(role) => format!("this needs an operator with role `{role}` for all environments"),
    })
}

/// As the audit log writes it: `operator/alice`.
fn member(peer: &PeerIdentity) -> String {
    format!("{}/{}", peer.identity.role(), peer.identity.name())
}

/// Names of methods that write nothing down. Of all others each identity has a quota.
const READING: &[&str] =
    &["Get", "List", "Stream", "Watch", "Explain", "Preview", "Fetch", "Challenge", "Check", "SendLogs"];

fn writes(path: &str) -> bool {
    let (service, method) = path.rsplit_once('/').unwrap_or(("", path));
    service.starts_with("/windlass.") && !READING.iter().any(|reading| method.starts_with(reading))
}

/// The caller, once the table has let them in.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Its address and its certificate.
    pub connection: ConnectInfo,
}

impl Caller {
    /// The sender of `request`.
    pub(crate) fn of<T>(request: &tonic::Request<T>) -> Result<Self, Status> {
        let connection = request.extensions().get::<ConnectInfo>().cloned();
        connection.map(|connection| Self { connection }).ok_or_else(|| Status::internal("no connection"))
    }

    /// Its certificate.
    pub(crate) fn peer(&self) -> Result<&Arc<PeerIdentity>, Status> {
        let none = || Status::unauthenticated("this needs a client certificate of the fleet");
        self.connection.peer.as_ref().ok_or_else(none)
    }

    /// As the audit log writes it: `operator/alice`.
    pub(crate) fn actor(&self) -> String {
        self.connection.peer.as_ref().map_or_else(|| "stranger".to_owned(), |peer| member(peer))
    }

    /// Refuses unless the operator has `role` in `environment`.
    pub(crate) fn may(&self, role: OperatorRole, environment: &EnvironmentId) -> Result<(), Status> {
        if self.grant().is_some_and(|grant| grant.allows(role, environment)) {
            return Ok(());
        }
        let text = format!("this needs an operator with role `{role}` in environment `{environment}`");
        Err(Status::permission_denied(text))
    }

    /// Whether the operator may see what is in `environment`.
    pub(crate) fn sees(&self, environment: &EnvironmentId) -> bool {
        self.grant().is_some_and(|grant| grant.allows(Viewer, environment))
    }

    /// Whether the operator may see what belongs to no environment.
    pub(crate) fn sees_fleet(&self) -> bool {
        self.grant().is_some_and(|grant| grant.allows_fleet(Viewer))
    }

    fn grant(&self) -> Option<&Grant> {
        self.connection.peer.as_ref()?.grant.as_ref()
    }
}

/// Puts the table in front of every service.
#[derive(Clone)]
pub(crate) struct AccessLayer {
    /// Whose certificates count.
    pub fleet: FleetId,
    /// The metrics that calls are counted in.
    pub metrics: Metrics,
    /// Calls that were begun and not answered.
    pub(super) calls: InFlight,
    /// Allowances of peers.
    pub peers: Peers,
}

impl AccessLayer {
    fn may_write(&self, peer: &PeerIdentity, path: &str) -> bool {
        let is_admin = peer.grant.as_ref().is_some_and(|grant| grant.allows_fleet(Admin));
        self.peers.may_write(&member(peer), is_admin, path)
    }

    /// Writes down that a call was refused, within bounds; who is refused again and again loses its connection.
    fn deny(&self, path: &str, status: &Status, connection: Option<&ConnectInfo>) {
        // A stranger chooses the path: only known ones become a label.
        let known = status.code() != Code::Unimplemented;
        self.metrics.denied(if known { path } else { "unknown" });
        let Some(connection) = connection else { return };
        let from = Source::of(connection.remote.ip()).to_string();
        let peer = connection.peer.as_deref();
        self.peers.log_limited(&from, || {
            let who = printable(&peer.map_or_else(|| "stranger".to_owned(), member), 40);
            let path = printable(path, 48);
            tracing::info!(%path, code = ?status.code(), %who, %from, "denied a call");
        });
        if self.peers.denied(&peer.map_or(from, member)) {
            connection.cancel.cancel();
        }
    }
}

/// A service behind the table.
#[derive(Clone)]
pub(crate) struct Access<S> {
    inner: S,
    layer: AccessLayer,
}

impl<S> Layer<S> for AccessLayer {
    type Service = Access<S>;
    fn layer(&self, inner: S) -> Access<S> {
        Access { inner, layer: self.clone() }
    }
}

type Counted<F, O> = Map<F, Box<dyn FnOnce(O) -> O + Send>>;

impl<S, B, R> Service<Request<B>> for Access<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send,
    R: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future =
        Either<Ready<Result<S::Response, S::Error>>, Counted<S::Future, Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let connection = request.extensions().get::<ConnectInfo>();
        let peer = connection.and_then(|connection| connection.peer.as_deref());
        let metrics = self.layer.metrics.clone();
        if let Err(status) = decide(request.uri().path(), &self.layer.fleet, peer) {
            self.layer.deny(request.uri().path(), &status, connection);
            return Either::Left(ready(Ok(status.into_http())));
        }
        // One of the table: a stranger's own could be long.
        let path = request.uri().path().to_owned();
        if let Some(peer) = peer
            && writes(&path)
            && !self.layer.may_write(peer, &path)
        {
            metrics.denied(&path);
            let status = Status::resource_exhausted("too many changes by one identity; wait a minute");
            return Either::Left(ready(Ok(status.into_http())));
        }
        let Some(call) = self.layer.calls.begin(connection) else {
            metrics.denied(&path);
            let status = Status::resource_exhausted("too many calls at once");
            return Either::Left(ready(Ok(status.into_http())));
        };
        let count = move |outcome: Result<S::Response, S::Error>| {
            drop(call);
            if let Ok(response) = &outcome {
                let status = Status::from_header_map(response.headers());
                metrics.rpc(&path, status.map_or(Code::Ok, |status| status.code()));
            }
            outcome
        };
        Either::Right(self.inner.call(request).map(Box::new(count)))
    }
}

#[cfg(test)]
mod tests;
