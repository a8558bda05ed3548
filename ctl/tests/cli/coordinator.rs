//! A coordinator that answers from a script, and a registry with one image. Both end with the test.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};
use windlass_certs::ca::{CertificateAuthority, Leaf};
use windlass_certs::dsse::Envelope;
use windlass_certs::identity::Identity;
use windlass_certs::revocation::Revocations;
use windlass_certs::tls::{AcceptOptions, ServerTls, listen};
use windlass_core::release::Release;
use windlass_core::{Digest, Timestamp};
use windlass_proto::pb;
use windlass_proto::pb::control_server::{Control, ControlServer};
use windlass_proto::pb::enrolment_server::{Enrolment, EnrolmentServer};

use crate::Desk;

pub(crate) const ROLLOUT: &str = "0193ab00-0000-7000-8000-000000000001";

/// The course of one call of `WatchRollout`.
#[derive(Clone)]
pub(crate) enum Watch {
    /// Sends these states, then ends as a coordinator that stops does.
    Views(Vec<Value>),
    /// Says no.
    Refuse(Code),
    /// Sends these, then nothing more.
    Hang(Vec<Value>),
}

#[derive(Default)]
pub(crate) struct Script {
    /// The last counter of every service.
    pub(crate) last_counter: u64,
    /// So many submissions lose the race.
    pub(crate) races: u64,
    /// Submissions answer that nothing changes.
    pub(crate) unchanged: bool,
    /// One per call; the last one is repeated.
    pub(crate) watches: VecDeque<Watch>,
    /// The answers of `GetStatus`.
    pub(crate) status: Value,
    /// The same, one per call and the last one again; `null` says that there is no such service.
    pub(crate) statuses: VecDeque<Value>,
    /// The answer of `SteerService`; a refusal if there is none.
    pub(crate) heard: Option<pb::SteerServiceResponse>,
    /// The requests so far.
    pub(crate) told: Vec<pb::SteerServiceRequest>,
    /// Services that `SteerService` does not know.
    pub(crate) unknown: Vec<String>,
    /// The services and hosts that it knows; every one where there is no such list.
    pub(crate) knows: Option<Vec<String>>,
    /// The screens of each call of `WatchFleet`, one every 100 ms; it does not know the call without any.
    pub(crate) screens: Vec<Value>,
    /// The screens that were asked for.
    pub(crate) watched: Vec<pb::WatchFleetRequest>,
    /// The answers of `SteerRollout`, one per call; a refusal if there is none.
    pub(crate) steering: VecDeque<Value>,
    /// The requests so far.
    pub(crate) steered: Vec<pb::SteerRolloutRequest>,
    /// The answer to `ListRollouts`.
    pub(crate) rollouts: Value,
    /// Rollouts that were asked for by `GetRollout`.
    pub(crate) asked: Vec<String>,
    /// The targets of rollbacks.
    pub(crate) rolled_back: Vec<pb::RollbackRequest>,
    /// Its words about names that a rollback would leave without a service.
    pub(crate) lost: Vec<String>,
    /// The answer to `ListQuarantine` and `ClearQuarantine`.
    pub(crate) quarantine: Value,
    /// The requests to clear.
    pub(crate) cleared: Vec<pb::ClearQuarantineRequest>,
    /// The answer to `ListHosts`; it does not know the call if there is none.
    pub(crate) hosts: Value,
    /// The answer to `ListReleases`; it does not know the call if there is none.
    pub(crate) releases: Value,
    /// The answer to `GetHost`.
    pub(crate) host: Value,
    /// Its version; it does not know the call if there is none.
    pub(crate) version: Option<String>,
    /// Entries of the audit log.
    pub(crate) audit: Vec<Vec<u8>>,
    /// The events of each call of `StreamEvents`, by number, and the code with which it ends.
    pub(crate) events: VecDeque<(Vec<u64>, Code)>,
    /// The beginning that each of these calls asked for.
    pub(crate) events_from: Vec<Option<u64>>,
    /// Releases that were submitted.
    pub(crate) submitted: Vec<Release>,
    /// The recovery view of a restored coordinator.
    pub(crate) recovery: Value,
    /// The recovery requests so far.
    pub(crate) recovered: Vec<pb::RecoverRequest>,
    /// The token that it answers with, whatever was asked, and until when it says that it is good.
    pub(crate) token: (String, i64),
    /// Every version of the trust document that it has.
    pub(crate) trust: Vec<Vec<u8>>,
    /// The revocation list that it passes on.
    pub(crate) revocations: Vec<u8>,
    /// The certificate that it answers a renewal or a join with, made of the request.
    pub(crate) certify: Option<Certify>,
}

/// A certificate chain for a request (DER).
pub(crate) type Certify = Box<dyn Fn(&[u8]) -> String + Send>;

pub(crate) struct Coordinator {
    pub(crate) address: String,
    pub(crate) script: Arc<Mutex<Script>>,
    _runtime: Runtime,
}

impl Coordinator {
    /// Of the fleet that `desk` has made.
    pub(crate) fn start(desk: &Desk, script: Script) -> Self {
        let runtime = Runtime::new().unwrap();
        let script = Arc::new(Mutex::new(script));
        let ca = CertificateAuthority::load(&desk.path("server/ca")).unwrap();
        let name = Identity::coordinator(ca.fleet().clone(), "coordinator".parse().unwrap());
        let now = Timestamp::from_millis(jiff::Timestamp::now().as_millisecond());
        let own = ca.issue_new(&Leaf::coordinator(name, 1), now).unwrap();
        let tls = ServerTls::new(&own, &[ca.certificate().clone()], Revocations::new()).unwrap();
        let stub = Stub(script.clone());
        let address = runtime.block_on(async {
            let (acceptor, incoming) =
                listen("127.0.0.1:0".parse().unwrap(), tls, AcceptOptions::default()).unwrap();
            let address = acceptor.local_addr().unwrap().to_string();
            let serve = tonic::transport::Server::builder()
                .add_service(ControlServer::new(stub.clone()))
                .add_service(EnrolmentServer::new(stub))
                .serve_with_incoming(incoming);
            runtime.spawn(acceptor.run(CancellationToken::new()));
            runtime.spawn(serve);
            address
        });
        Self { address, script, _runtime: runtime }
    }
}

/// A rollout in `state`.
pub(crate) fn view(state: &str, changed: bool) -> Value {
    let ended = matches!(state, "succeeded" | "rolled_back" | "aborted" | "failed" | "superseded" | "paused");
    json!({
        "rollout": ROLLOUT, "service": "web", "environment": "default", "kind": "deploy", "release": "r2", "from": "r1",
        "state": state, "outcome": if ended { json!(state) } else { Value::Null }, "reason": null, "changed": changed,
        "waiting": [], "actor": "operator/alice", "created_at": "2026-11-22T12:00:00.000Z",
        "state_since": "2026-11-22T12:00:05.000Z", "duration_ms": 5000, "total": 1, "available": 0, "slots": [],
        "failures": [], "stragglers": [], "serving": { "r1": 1 },
    })
}

#[derive(Clone)]
struct Stub(Arc<Mutex<Script>>);

type Items<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Stub {
    /// Refuses a name that the coordinator does not know; an empty one stands for all.
    fn known(&self, kind: &str, name: &str) -> Result<(), Status> {
        let script = self.0.lock().unwrap();
        let is_known = |known: &Vec<String>| name.is_empty() || known.iter().any(|one| one == name);
        if script.knows.as_ref().is_none_or(is_known) {
            return Ok(());
        }
        let mut status = Status::not_found(format!("there is no {kind} `{name}`"));
        let (hint, list) = if kind == "host" { ("host ls", "hosts") } else { ("status", "services") };
        let hint = format!("`windlass {hint}` shows the {list}");
        status.metadata_mut().insert("windlass-hint", hint.parse().unwrap());
        Err(status)
    }

    fn submitted(&self) -> (String, String) {
        let script = self.0.lock().unwrap();
        let rollout = if script.unchanged { String::new() } else { ROLLOUT.to_owned() };
        (rollout, format!("r{}", script.last_counter))
    }
}

// What `async_trait` makes of a method: it does not look into macros.
macro_rules! not_needed {
    ($($method:ident, $request:ident, $response:ident;)*) => { $(
        fn $method<'me, 'call>(
            &'me self,
            _: Request<pb::$request>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<pb::$response>, Status>> + Send + 'call>>
        where
            'me: 'call,
            Self: 'call,
        {
            Box::pin(async { Err(Status::unimplemented(stringify!($method))) })
        }
    )* };
}

#[tonic::async_trait]
impl Control for Stub {
    type WatchRolloutStream = Items<pb::WatchRolloutResponse>;
    type WatchFleetStream = Items<pb::WatchFleetResponse>;
    type StreamLogsStream = Items<pb::StreamLogsResponse>;
    type StreamEventsStream = Items<pb::StreamEventsResponse>;
    type StreamAuditStream = Items<pb::StreamAuditResponse>;

    async fn get_service(
        &self,
        _: Request<pb::GetServiceRequest>,
    ) -> Result<Response<pb::GetServiceResponse>, Status> {
        let last_counter = self.0.lock().unwrap().last_counter;
        Ok(Response::new(pb::GetServiceResponse {
            fleet: "demo".to_owned(),
            last_counter,
            current: Vec::new().into(),
        }))
    }

    async fn submit_release(
        &self,
        request: Request<pb::SubmitReleaseRequest>,
    ) -> Result<Response<pb::SubmitReleaseResponse>, Status> {
        let envelope = Envelope::parse(&request.into_inner().envelope, 1 << 20).unwrap();
        let release: Release = serde_json::from_slice(envelope.payload_bytes()).unwrap();
        {
            let mut script = self.0.lock().unwrap();
            script.last_counter += 1;
            if script.races > 0 {
                script.races -= 1;
                return Err(Status::aborted("the counter is taken"));
            }
            script.submitted.push(release);
        }
        let (rollout, release) = self.submitted();
        let unchanged = rollout.is_empty();
        Ok(Response::new(pb::SubmitReleaseResponse { rollout, release, unchanged, ..Default::default() }))
    }

    async fn rollback(
        &self,
        request: Request<pb::RollbackRequest>,
    ) -> Result<Response<pb::RollbackResponse>, Status> {
        let request = request.into_inner();
        let (ask, lost) = (request.ask, self.0.lock().unwrap().lost.clone());
        self.0.lock().unwrap().rolled_back.push(request);
        if let (true, [lost, ..]) = (ask, &lost[..]) {
            return Err(Status::failed_precondition(lost));
        }
        let (rollout, release) = self.submitted();
        Ok(Response::new(pb::RollbackResponse { rollout, release, warnings: lost }))
    }

    async fn watch_rollout(
        &self,
        _: Request<pb::WatchRolloutRequest>,
    ) -> Result<Response<Self::WatchRolloutStream>, Status> {
        let next = {
            let mut script = self.0.lock().unwrap();
            if script.watches.len() > 1 {
                script.watches.pop_front()
            } else {
                script.watches.front().cloned()
            }
        };
        let item = |view: Value| Ok(pb::WatchRolloutResponse { view: view.to_string().into_bytes().into() });
        let stream: Self::WatchRolloutStream = match next {
            None => return Err(Status::not_found("there is no such rollout")),
            Some(Watch::Refuse(code)) => return Err(Status::new(code, "no")),
            Some(Watch::Views(views)) => {
                let stop = Err(Status::unavailable("the coordinator is stopping"));
                Box::pin(tokio_stream::iter(views.into_iter().map(item).chain([stop])))
            }
            Some(Watch::Hang(views)) => {
                Box::pin(tokio_stream::iter(views.into_iter().map(item)).chain(tokio_stream::pending()))
            }
        };
        Ok(Response::new(stream))
    }

    async fn watch_fleet(
        &self,
        request: Request<pb::WatchFleetRequest>,
    ) -> Result<Response<Self::WatchFleetStream>, Status> {
        let mut script = self.0.lock().unwrap();
        script.watched.push(request.into_inner());
        if script.screens.is_empty() {
            return Err(Status::unimplemented("there is no such method"));
        }
        let screens = script.screens.clone().into_iter().map(|screen| {
            let view = screen.to_string().into_bytes().into();
            let at = jiff::Timestamp::now().as_millisecond();
            Ok(pb::WatchFleetResponse { view, at, ..Default::default() })
        });
        let same = || {
            Ok(pb::WatchFleetResponse { at: jiff::Timestamp::now().as_millisecond(), ..Default::default() })
        };
        let pause = std::time::Duration::from_millis(100);
        let all = tokio_stream::iter(screens).chain(tokio_stream::iter(std::iter::repeat_with(same)));
        Ok(Response::new(Box::pin(all.throttle(pause))))
    }

    async fn steer_rollout(
        &self,
        request: Request<pb::SteerRolloutRequest>,
    ) -> Result<Response<pb::SteerRolloutResponse>, Status> {
        let mut script = self.0.lock().unwrap();
        let request = request.into_inner();
        let resumes = request.action() == pb::RolloutAction::Resume;
        script.steered.push(request);
        let view = script.steering.pop_front().ok_or_else(|| match resumes {
            true => Status::failed_precondition("a rollout that is advancing cannot be resumed"),
            false => Status::permission_denied("this needs an operator with role `deployer`"),
        })?;
        Ok(Response::new(pb::SteerRolloutResponse { view: view.to_string().into_bytes().into() }))
    }

    async fn steer_service(
        &self,
        request: Request<pb::SteerServiceRequest>,
    ) -> Result<Response<pb::SteerServiceResponse>, Status> {
        self.known("service", &request.get_ref().service)?;
        let mut script = self.0.lock().unwrap();
        let request = request.into_inner();
        if script.unknown.contains(&request.service) {
            return Err(Status::not_found(format!("there is no service `{}`", request.service)));
        }
        script.told.push(request);
        let heard = script.heard.clone();
        heard
            .map(Response::new)
            .ok_or_else(|| Status::failed_precondition("a rollout of this service is active"))
    }

    async fn preview_recovery(
        &self,
        _: Request<pb::PreviewRecoveryRequest>,
    ) -> Result<Response<pb::PreviewRecoveryResponse>, Status> {
        let view = self.0.lock().unwrap().recovery.to_string().into_bytes().into();
        Ok(Response::new(pb::PreviewRecoveryResponse { view }))
    }

    async fn recover(
        &self,
        request: Request<pb::RecoverRequest>,
    ) -> Result<Response<pb::RecoverResponse>, Status> {
        let mut script = self.0.lock().unwrap();
        script.recovered.push(request.into_inner());
        let view = script.recovery.to_string().into_bytes().into();
        Ok(Response::new(pb::RecoverResponse { view }))
    }

    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        self.known("service", &request.get_ref().service)?;
        let mut script = self.0.lock().unwrap();
        let next = match script.statuses.len() {
            0 => script.status.clone(),
            1 => script.statuses[0].clone(),
            _ => script.statuses.pop_front().unwrap(),
        };
        if next.is_null() && !script.statuses.is_empty() {
            return Err(Status::not_found("there is no such service"));
        }
        Ok(Response::new(pb::GetStatusResponse { view: next.to_string().into_bytes().into() }))
    }

    async fn get_trust(
        &self,
        _: Request<pb::GetTrustRequest>,
    ) -> Result<Response<pb::GetTrustResponse>, Status> {
        let script = self.0.lock().unwrap();
        let envelopes = script.trust.clone().into_iter().map(Into::into).collect();
        let revocations = script.revocations.clone().into();
        Ok(Response::new(pb::GetTrustResponse { envelopes, revocations }))
    }

    async fn create_host_token(
        &self,
        _: Request<pb::CreateHostTokenRequest>,
    ) -> Result<Response<pb::CreateHostTokenResponse>, Status> {
        let (token, expires_at) = self.0.lock().unwrap().token.clone();
        Ok(Response::new(pb::CreateHostTokenResponse { token, expires_at }))
    }

    async fn add_operator(
        &self,
        _: Request<pb::AddOperatorRequest>,
    ) -> Result<Response<pb::AddOperatorResponse>, Status> {
        let (token, expires_at) = self.0.lock().unwrap().token.clone();
        Ok(Response::new(pb::AddOperatorResponse { token, expires_at }))
    }

    async fn stream_logs(
        &self,
        _: Request<pb::StreamLogsRequest>,
    ) -> Result<Response<Self::StreamLogsStream>, Status> {
        Err(Status::unimplemented("logs"))
    }

    async fn stream_events(
        &self,
        request: Request<pb::StreamEventsRequest>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let request = request.into_inner();
        let mut script = self.0.lock().unwrap();
        script.events_from.push(request.from);
        let (numbers, end) = script.events.pop_front().ok_or_else(|| Status::permission_denied("no more"))?;
        let item = |n: u64| {
            let view = json!({ "n": n, "at": "2026-11-22T12:00:00.000Z", "kind": "host.lost", "subject": "web-1",
                "message": format!("event {n}") });
            Ok(pb::StreamEventsResponse {
                view: view.to_string().into_bytes().into(),
                next: n + 1,
                missed: 0,
                ..Default::default()
            })
        };
        let next = numbers.first().copied().or(request.from).unwrap_or(0);
        let opening = Ok(pb::StreamEventsResponse { next, ..Default::default() });
        let items: Vec<_> = [opening]
            .into_iter()
            .chain(numbers.into_iter().map(item))
            .chain([Err(Status::new(end, "the end"))])
            .collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(items))))
    }

    async fn stream_audit(
        &self,
        request: Request<pb::StreamAuditRequest>,
    ) -> Result<Response<Self::StreamAuditStream>, Status> {
        use pb::stream_audit_response::Item;
        let from = usize::try_from(request.into_inner().from).unwrap();
        let entries = self.0.lock().unwrap().audit.clone().into_iter().skip(from);
        let item = |bytes: Vec<u8>| {
            Ok(pb::StreamAuditResponse { item: Some(Item::Entry(bytes.into())), ..Default::default() })
        };
        Ok(Response::new(Box::pin(tokio_stream::iter(entries.map(item).collect::<Vec<_>>()))))
    }

    async fn list_rollouts(
        &self,
        request: Request<pb::ListRolloutsRequest>,
    ) -> Result<Response<pb::ListRolloutsResponse>, Status> {
        self.known("service", &request.get_ref().service)?;
        let view = self.0.lock().unwrap().rollouts.to_string().into_bytes().into();
        Ok(Response::new(pb::ListRolloutsResponse { view }))
    }

    async fn list_quarantine(
        &self,
        request: Request<pb::ListQuarantineRequest>,
    ) -> Result<Response<pb::ListQuarantineResponse>, Status> {
        self.known("service", &request.get_ref().service)?;
        let view = self.0.lock().unwrap().quarantine.to_string().into_bytes().into();
        Ok(Response::new(pb::ListQuarantineResponse { view }))
    }

    async fn clear_quarantine(
        &self,
        request: Request<pb::ClearQuarantineRequest>,
    ) -> Result<Response<pb::ClearQuarantineResponse>, Status> {
        let mut script = self.0.lock().unwrap();
        script.cleared.push(request.into_inner());
        let view = script.quarantine.to_string().into_bytes().into();
        Ok(Response::new(pb::ClearQuarantineResponse { view }))
    }

    async fn get_version(
        &self,
        _: Request<pb::GetVersionRequest>,
    ) -> Result<Response<pb::GetVersionResponse>, Status> {
        let version = self.0.lock().unwrap().version.clone();
        let version = version.ok_or_else(|| Status::unimplemented("there is no such method"))?;
        let fleet = "demo".to_owned();
        Ok(Response::new(pb::GetVersionResponse { version, fleet, release_version: 4 }))
    }

    async fn list_hosts(
        &self,
        _: Request<pb::ListHostsRequest>,
    ) -> Result<Response<pb::ListHostsResponse>, Status> {
        let hosts = self.0.lock().unwrap().hosts.clone();
        if hosts.is_null() {
            return Err(Status::unimplemented("there is no such method"));
        }
        Ok(Response::new(pb::ListHostsResponse { view: hosts.to_string().into_bytes().into() }))
    }

    async fn get_host(
        &self,
        request: Request<pb::GetHostRequest>,
    ) -> Result<Response<pb::GetHostResponse>, Status> {
        self.known("host", &request.get_ref().host)?;
        let view = self.0.lock().unwrap().host.to_string().into_bytes().into();
        Ok(Response::new(pb::GetHostResponse { view }))
    }

    async fn steer_host(
        &self,
        request: Request<pb::SteerHostRequest>,
    ) -> Result<Response<pb::SteerHostResponse>, Status> {
        self.known("host", &request.get_ref().host)?;
        Err(Status::unimplemented("steer_host"))
    }

    async fn get_rollout(
        &self,
        request: Request<pb::GetRolloutRequest>,
    ) -> Result<Response<pb::GetRolloutResponse>, Status> {
        self.known("service", &request.get_ref().rollout)?;
        self.0.lock().unwrap().asked.push(request.into_inner().rollout);
        let view = view("advancing", true).to_string().into_bytes().into();
        Ok(Response::new(pb::GetRolloutResponse { view }))
    }

    async fn list_releases(
        &self,
        request: Request<pb::ListReleasesRequest>,
    ) -> Result<Response<pb::ListReleasesResponse>, Status> {
        self.known("service", &request.get_ref().service)?;
        let releases = self.0.lock().unwrap().releases.clone();
        if releases.is_null() {
            return Err(Status::unimplemented("there is no such method"));
        }
        Ok(Response::new(pb::ListReleasesResponse { view: releases.to_string().into_bytes().into() }))
    }

    not_needed! {
        preview, PreviewRequest, PreviewResponse;
        get_release, GetReleaseRequest, GetReleaseResponse;
        explain_rollout, ExplainRolloutRequest, ExplainRolloutResponse;
        list_operators, ListOperatorsRequest, ListOperatorsResponse;
        get_history, GetHistoryRequest, GetHistoryResponse;
        list_routes, ListRoutesRequest, ListRoutesResponse;
        forget_ingress, ForgetIngressRequest, ForgetIngressResponse;
        revoke_operator, RevokeOperatorRequest, RevokeOperatorResponse;
        publish_trust, PublishTrustRequest, PublishTrustResponse;
    }
}

#[tonic::async_trait]
impl Enrolment for Stub {
    async fn join(&self, _: Request<pb::JoinRequest>) -> Result<Response<pb::JoinResponse>, Status> {
        Err(Status::unimplemented("hosts join elsewhere"))
    }

    async fn join_operator(
        &self,
        request: Request<pb::JoinOperatorRequest>,
    ) -> Result<Response<pb::JoinOperatorResponse>, Status> {
        let script = self.0.lock().unwrap();
        let certify = script.certify.as_ref().ok_or_else(|| Status::permission_denied("no"))?;
        let certificate_chain = certify(&request.into_inner().csr);
        let trust = script.trust.iter().map(|envelope| envelope.clone().into()).collect();
        Ok(Response::new(pb::JoinOperatorResponse { certificate_chain, trust }))
    }

    async fn challenge(
        &self,
        _: Request<pb::ChallengeRequest>,
    ) -> Result<Response<pb::ChallengeResponse>, Status> {
        Ok(Response::new(pb::ChallengeResponse { challenge: vec![7; 32].into() }))
    }

    async fn renew(&self, request: Request<pb::RenewRequest>) -> Result<Response<pb::RenewResponse>, Status> {
        let script = self.0.lock().unwrap();
        let certify = script.certify.as_ref().ok_or_else(|| Status::permission_denied("no"))?;
        Ok(Response::new(pb::RenewResponse { certificate_chain: certify(&request.into_inner().csr) }))
    }
}

/// A registry that has every tag of every repository. Answers with its address; its thread ends with the process.
pub(crate) fn registry() -> String {
    let config = br#"{"os":"linux","architecture":"amd64"}"#.to_vec();
    let manifest = json!({
        "config": { "digest": Digest::of(&config), "size": config.len() },
        "layers": [{ "digest": Digest::of(b"layer"), "size": 1234 }],
    });
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && socket.read(&mut byte).unwrap() > 0 {
                head.push(byte[0]);
            }
            let is_blob = String::from_utf8_lossy(&head).contains("/blobs/");
            let body = if is_blob { config.clone() } else { manifest.to_string().into_bytes() };
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            socket.write_all(&[answer.as_bytes(), &body].concat()).unwrap();
        }
    });
    address
}
