//! An agent that runs nothing and reports what its plan wants, at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use windlass_certs::csr::{CertifiedIdentity, TlsKey};
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::join::JoinToken;
use windlass_certs::keys::SigningKey;
use windlass_core::condition::{Condition, ConditionCode};
use windlass_core::host::{
    CpuModes, DiskStats, Gpu, GpuAccess, GpuDriver, GpuLost, GpuProcess, GpuReadings, GpuStats, HostFacts,
    HostPolicy, HostStats, InstanceStats, Pressure, ProbeStats,
};
use windlass_core::observation::{
    Clock, EngineState, Evidence, FailureReason, Instance, InstanceState, LastExit, Observation,
    SlotObservation, SlotStatus,
};
use windlass_core::plan::{HostPlan, Phase, PlanSlot};
use windlass_core::release::Release;
use windlass_core::{Counter, Digest, HostId, SlotId, Timestamp};
use windlass_proto::json::encode;
use windlass_proto::pb;
use windlass_proto::pb::agent_link_client::AgentLinkClient;
use windlass_proto::pb::connect_request::Message as Say;
use windlass_proto::pb::connect_response::Message as Hear;
use windlass_proto::pb::enrolment_client::EnrolmentClient;

use crate::before;
use crate::fleet::{Fleet, LIMIT, now};
use crate::routes::Ingress;

/// A host that joined.
pub(crate) struct Agent {
    pub(crate) host: HostId,
    pub(crate) identity: CertifiedIdentity,
    pub(crate) receipts: SigningKey,
    /// Contents that fail here.
    pub(crate) broken: BTreeSet<Digest>,
    /// Versions of the plan document that it says it reads.
    pub(crate) plan_versions: Vec<u32>,
    pub(crate) release_versions: Vec<u32>,
    /// The facts that an agent of version 0.1 said. It reads and writes nothing that came later.
    pub(crate) facts_before: Option<Vec<u8>>,
    /// Its instances have ports of the host.
    pub(crate) publishes: bool,
    /// Whether it says how its host and containers do.
    pub(crate) is_measured: bool,
    /// Whether its host has a GPU, which is busy and hot.
    pub(crate) has_gpu: bool,
    /// Its engine's way to give that to containers.
    pub(crate) gpu_access: GpuAccess,
    /// The ingress beside it, if it has one.
    pub(crate) ingress: Option<Ingress>,
    /// The newest plan, with its envelope.
    pub(crate) plan: Option<(HostPlan, Vec<u8>)>,
    /// Envelopes of the releases that its plans named.
    pub(crate) kept: BTreeMap<Digest, Vec<u8>>,
}

/// A token for `host`.
pub(crate) async fn token(fleet: &Fleet, host: &str) -> JoinToken {
    let mut control = fleet.control("admin/*").await;
    let labels = [("role".to_owned(), "app".to_owned())].into();
    let request = pb::CreateHostTokenRequest { host: host.to_owned(), labels };
    let made = control.create_host_token(request).await.unwrap().into_inner();
    JoinToken::parse(&made.token).unwrap()
}

/// A request to join with `key`.
pub(crate) fn join_request(token: &JoinToken, key: &TlsKey, receipts: &SigningKey) -> pb::JoinRequest {
    pb::JoinRequest {
        host: token.host().to_string(),
        secret: token.secret().expose().to_vec().into(),
        csr: key.csr().unwrap().der().to_vec().into(),
        address: "127.0.0.1".to_owned(),
        receipt_key: receipts.public().as_bytes().to_vec().into(),
    }
}

pub(crate) async fn join(fleet: &Fleet, request: pb::JoinRequest) -> Result<pb::JoinResponse, Status> {
    let mut enrolment = EnrolmentClient::new(fleet.stranger().await);
    enrolment.join(request).await.map(tonic::Response::into_inner)
}

impl Agent {
    /// Joins as `host`.
    pub(crate) async fn joined(fleet: &Fleet, host: &str) -> Self {
        let token = token(fleet, host).await;
        let (key, receipts) = (TlsKey::generate().unwrap(), SigningKey::generate().unwrap());
        let answer = join(fleet, join_request(&token, &key, &receipts)).await.unwrap();
        assert_eq!((answer.fleet.as_str(), answer.trust.len()), ("demo", 1));
        let identity = CertifiedIdentity::new(key, &answer.certificate_chain).unwrap();
        Self::new(token.host().clone(), identity, receipts)
    }

    /// A host with this certificate.
    pub(crate) fn new(host: HostId, identity: CertifiedIdentity, receipts: SigningKey) -> Self {
        Self {
            host,
            identity,
            receipts,
            broken: BTreeSet::new(),
            plan_versions: windlass_core::plan::PLAN_VERSIONS.to_vec(),
            release_versions: windlass_core::release::RELEASE_VERSIONS.to_vec(),
            facts_before: None,
            publishes: false,
            is_measured: false,
            has_gpu: false,
            gpu_access: GpuAccess::Unknown,
            ingress: None,
            plan: None,
            kept: BTreeMap::new(),
        }
    }

    /// Renews over a connection with the certificate it has.
    pub(crate) async fn renew(&mut self, fleet: &Fleet) -> Result<(), Status> {
        let channel = fleet.channel(&self.identity).await.unwrap();
        let csr = self.identity.key().csr().unwrap().der().to_vec().into();
        let request = pb::RenewRequest { csr, expired: None };
        let answer = EnrolmentClient::new(channel).renew(request).await?.into_inner();
        let key = self.identity.key().clone();
        self.identity = CertifiedIdentity::new(key, &answer.certificate_chain).unwrap();
        Ok(())
    }

    /// Opens a stream and says hello.
    pub(crate) async fn connect(&self, fleet: &Fleet) -> Result<Link, Status> {
        self.connect_with(fleet, self.hello()).await
    }

    /// Opens a stream and says this first.
    pub(crate) async fn connect_with(&self, fleet: &Fleet, hello: pb::Hello) -> Result<Link, Status> {
        let channel =
            fleet.channel(&self.identity).await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut client = AgentLinkClient::new(channel);
        let (sender, receiver) = mpsc::channel(16);
        sender.send(pb::ConnectRequest { message: Some(Say::Hello(hello)) }).await.unwrap();
        let stream = client.connect(ReceiverStream::new(receiver)).await?.into_inner();
        Ok(Link { sender, stream, client })
    }

    /// Facts about the host.
    pub(crate) fn facts(&self) -> HostFacts {
        HostFacts {
            agent_version: "test".to_owned(),
            plan_versions: self.plan_versions.clone(),
            release_versions: self.release_versions.clone(),
            routes_versions: windlass_core::traffic::ROUTES_VERSIONS.to_vec(),
            address: "127.0.0.1".to_owned(),
            labels: [("role".to_owned(), "app".to_owned())].into(),
            platform: "linux/amd64".to_owned(),
            cpu_millis: 4000,
            memory: 8 << 30,
            gpus: if self.has_gpu { vec![gpu(&self.host)] } else { Vec::new() },
            gpus_lost: if self.has_gpu { vec![lost()] } else { Vec::new() },
            gpu_access: self.gpu_access.clone(),
            gpu_driver: GpuDriver { version: "550.90.07".to_owned(), cuda: "12.4".to_owned() },
            policy: HostPolicy { registries: vec!["127.0.0.1:5000".to_owned()], ..HostPolicy::default() },
            ..HostFacts::default()
        }
    }

    /// Its first message.
    pub(crate) fn hello(&self) -> pb::Hello {
        let (seq, plan) = self.plan.as_ref().map(|(p, e)| (p.seq, e.clone())).unwrap_or_default();
        pb::Hello {
            facts: self.facts_before.clone().map_or_else(|| encode(&self.facts()), Into::into),
            trust_version: 1,
            seq,
            plan: plan.into(),
            revocations: 0,
            run: 0,
            sends_logs: false,
            routes: self.ingress.as_ref().map(Ingress::positions).unwrap_or_default(),
            knows_routes: self.ingress.is_some(),
        }
    }

    /// Takes a plan, as far as a test needs.
    pub(crate) fn accept(&mut self, envelope: &[u8]) {
        let parsed = Envelope::parse(envelope, PayloadType::Plan.max_len()).unwrap();
        if self.facts_before.is_some() {
            before::check_plan(parsed.payload_bytes());
        }
        let plan: HostPlan = serde_json::from_slice(parsed.payload_bytes()).unwrap();
        assert_eq!(plan.host, self.host);
        if let Some((last, _)) = &self.plan {
            assert!(plan.seq > last.seq || plan == *last, "seq rises, or it is the same plan");
        }
        self.plan = Some((plan, envelope.to_vec()));
    }

    /// The report of the plan that it has.
    pub(crate) fn observe(&self, revision: u64) -> Observation {
        let slots = self.plan.iter().flat_map(|(plan, _)| &plan.slots);
        Observation {
            revision,
            seq: self.plan.as_ref().map_or(0, |(plan, _)| plan.seq),
            engine: EngineState::Available,
            plan_refusal: None,
            unwritable: None,
            conditions: if self.has_gpu { vec![hot(&self.host)] } else { Vec::new() },
            slots: slots.map(|slot| self.observe_slot(slot)).collect(),
            tasks: Vec::new(),
        }
    }

    fn observe_slot(&self, slot: &PlanSlot) -> SlotObservation {
        let failed = slot.phase == Phase::Running && self.broken.contains(&slot.release);
        let mut instances = Vec::new();
        let restored = slot.fallback.filter(|_| failed);
        if slot.phase == Phase::Running && !failed {
            let planned = instance(&slot.slot, slot.release, InstanceState::Healthy);
            instances.push(Instance { generation: slot.generation, ..planned });
        }
        instances.extend(restored.map(|release| instance(&slot.slot, release, InstanceState::Healthy)));
        if let Some(previous) = slot.previous.as_ref().filter(|p| Some(p.release) != restored) {
            let state = match previous.phase {
                Phase::Running => Some(InstanceState::Healthy),
                Phase::Draining => Some(InstanceState::Draining),
                Phase::Standby => Some(InstanceState::Standby),
                Phase::Pulled | Phase::Absent => None,
            };
            let generation = if previous.release == slot.release { slot.generation } else { 0 };
            let before = state.map(|state| instance(&slot.slot, previous.release, state));
            instances.extend(before.map(|before| Instance { generation, ..before }));
        }
        for instance in &mut instances {
            instance.counter = self.counter_of(&instance.release);
            if self.is_measured {
                let at = Timestamp::from_millis(1_764_000_000_000);
                instance.vitals.last_exit = Some(LastExit { code: 137, oom_killed: true, at });
            }
            if self.publishes {
                let number = 20_000 + 2 * u64::from(slot.slot.index) + instance.counter.0 % 2;
                instance.endpoints.insert("http".to_owned(), format!("127.0.0.1:{number}"));
                instance.endpoints.insert("metrics".to_owned(), format!("127.0.0.1:{}", number + 1000));
            }
        }
        SlotObservation {
            slot: slot.slot.clone(),
            release: Some(slot.release),
            status: if failed {
                SlotStatus::Failed { restored, evidence: Box::new(evidence(slot.release)) }
            } else {
                SlotStatus::Settled
            },
            pulled: true,
            checking: false,
            pull: None,
            instances,
            trouble: None,
        }
    }
}

impl Agent {
    /// The number of a release that it keeps; `r1` of one that it was not given.
    fn counter_of(&self, release: &Digest) -> Counter {
        let Some(kept) = self.kept.get(release) else { return Counter(1) };
        let envelope = Envelope::parse(kept, PayloadType::Release.max_len()).unwrap();
        serde_json::from_slice::<Release>(envelope.payload_bytes()).unwrap().counter
    }
}

/// Evidence of a release's failure.
pub(crate) fn evidence(release: Digest) -> Evidence {
    Evidence {
        instance: None,
        release,
        counter: Counter(1),
        clock: Clock::Health,
        reason: FailureReason::Exited { code: 3 },
        exit_code: Some(3),
        oom_killed: false,
        restarts: 0,
        log: vec!["boom".to_owned()],
        log_unread: false,
        probes: Vec::new(),
        at: now(),
        not_ready: None,
        fault: Default::default(),
    }
}

/// A container of a slot.
pub(crate) fn instance(slot: &SlotId, release: Digest, state: InstanceState) -> Instance {
    Instance {
        id: format!("{}-{}", slot, release.short()),
        container: None,
        release,
        counter: Counter(1),
        state,
        since: Timestamp::ZERO,
        available: state == InstanceState::Healthy,
        endpoints: BTreeMap::new(),
        restarts: 0,
        generation: 0,
        readiness_unknown: false,
        side: windlass_core::traffic::PortSide::A,
        vitals: Default::default(),
    }
}

/// The agent's end of a stream.
pub(crate) struct Link {
    sender: mpsc::Sender<pb::ConnectRequest>,
    stream: Streaming<pb::ConnectResponse>,
    client: AgentLinkClient<Channel>,
}

impl Link {
    /// Fetches what the plan names and the agent does not keep yet.
    async fn fetch(&mut self, agent: &mut Agent) {
        let named =
            agent.plan.iter().flat_map(|(plan, _)| &plan.slots).flat_map(windlass_core::recovery::named);
        let missing: BTreeSet<Digest> = named.filter(|digest| !agent.kept.contains_key(digest)).collect();
        for digest in missing {
            let request = pb::FetchReleaseRequest { digest: digest.to_string() };
            // A plan that came meanwhile may not name it any more.
            if let Ok(answer) = self.client.fetch_release(request).await {
                agent.kept.insert(digest, answer.into_inner().envelope.to_vec());
            }
        }
    }

    pub(crate) async fn say(&self, message: Say) {
        // The other end may be gone; what is heard next tells.
        drop(self.sender.send(pb::ConnectRequest { message: Some(message) }).await);
    }

    /// Takes whatever has come already, and waits for nothing.
    pub(crate) fn drain(&mut self) {
        while self.stream.message().now_or_never().is_some_and(|heard| heard.is_ok_and(|m| m.is_some())) {}
    }

    pub(crate) async fn hear(&mut self) -> Result<Hear, Status> {
        match timeout(LIMIT, self.stream.message()).await.expect("something is heard in time")? {
            Some(message) => Ok(message.message.expect("no empty message")),
            None => Err(Status::unavailable("the stream has ended")),
        }
    }
}

/// Plays the agent's part until the stream ends; answers with the agent and why it ended.
pub(crate) async fn play(mut agent: Agent, mut link: Link) -> (Agent, Status) {
    let mut beat = interval(Duration::from_millis(200));
    let mut revision = 1;
    link.say(Say::Observation(report(&agent, revision))).await;
    loop {
        let heard = tokio::select! {
            _ = beat.tick() => {
                link.say(Say::Heartbeat(pb::Heartbeat::default())).await;
                if agent.is_measured {
                    link.say(Say::Stats(measure(&agent))).await;
                    if let Some(report) = agent.ingress.as_ref().and_then(|ingress| ingress.again()) {
                        link.say(Say::Ingress(report)).await;
                    }
                }
                continue;
            }
            heard = link.hear() => heard,
        };
        match heard {
            Ok(Hear::Plan(offer)) => {
                agent.accept(&offer.envelope);
                link.fetch(&mut agent).await;
                revision += 1;
                link.say(Say::Observation(report(&agent, revision))).await;
            }
            Ok(Hear::KeptRequest(_)) => {
                let digests = agent.kept.keys().map(ToString::to_string).collect();
                link.say(Say::Kept(pb::KeptReport { digests })).await;
            }
            Ok(Hear::ReleaseRequest(asked)) => {
                let kept = agent.kept.get(&asked.digest.parse().unwrap()).cloned().unwrap_or_default();
                let report = pb::ReleaseReport { digest: asked.digest, envelope: kept.into() };
                link.say(Say::Release(report)).await;
            }
            Ok(Hear::LogRequest(asked)) => {
                let (instance, text) = ("one".to_owned(), format!("a line of {}", agent.host));
                let line = pb::LogLine { at: 1, instance, text, ..pb::LogLine::default() };
                let (request, lines) = (asked.request, vec![line]);
                link.say(Say::LogLines(pb::LogLines { request, lines, end: true, ..Default::default() }))
                    .await;
            }
            Ok(Hear::Routes(offer)) => {
                let report = agent.ingress.as_ref().unwrap().take(&offer.envelope);
                link.say(Say::Ingress(report)).await;
            }
            Ok(_) => {}
            Err(status) => return (agent, status),
        }
    }
}

/// A number of answers that only rises.
fn answered() -> u64 {
    u64::try_from(crate::fleet::now().as_millis()).unwrap()
}

/// The GPU of a host.
fn gpu(host: &HostId) -> Gpu {
    Gpu { uuid: format!("GPU-{host}"), name: "NVIDIA \"L4\"".to_owned(), memory: 24 << 30, ..Gpu::default() }
}

fn lost() -> GpuLost {
    let (uuid, name, why) = ("GPU-lost".to_owned(), "L4".to_owned(), "it has fallen off the bus".to_owned());
    GpuLost { uuid, name, why, xid_count: 1, xid: 79, ..GpuLost::default() }
}

fn hot(host: &HostId) -> Condition {
    Condition::of_device(ConditionCode::GpuThrottled, &gpu(host).uuid, "it is hot")
}

fn gpu_stats(host: &HostId) -> GpuStats {
    GpuStats {
        uuid: gpu(host).uuid,
        readings: GpuReadings { utilization: Some(93.0), temperature: Some(84.0), power: None },
        memory_used: 9 << 30,
        memory_total: 24 << 30,
        power_limit: 72.0,
        clock: 2040,
        ecc_corrected: 2,
        ecc_uncorrected: 1,
        xid_count: 3,
        xid_of_programs: 1,
        xid: 79,
        throttled: vec!["thermal".to_owned(), "power_cap".to_owned()],
        processes: vec![
            GpuProcess { pid: 4711, memory: Some(9 << 30) },
            GpuProcess { pid: 4712, memory: None },
        ],
        ..GpuStats::default()
    }
}

/// The measurements of a host whose containers use three quarters of their memory.
fn measure(agent: &Agent) -> pb::StatsReport {
    let seen = agent.observe(1);
    let instances = seen.slots.iter().flat_map(|slot| &slot.instances).map(|instance| InstanceStats {
        instance: instance.id.clone(),
        cpu_percent: 40.0,
        memory_used: 75,
        memory_limit: 100,
        gpu_memory_used: if agent.has_gpu { 6 << 30 } else { 0 },
        gpu_memory_limit: if agent.has_gpu { 24 << 30 } else { 0 },
        probe: Some(ProbeStats { ok: true, seconds: 0.25, answers: answered(), failures: 1 }),
        ..InstanceStats::default()
    });
    let disk = DiskStats { mount: "/a \"b\" \\c".to_owned(), used: 1, total: 2, ..DiskStats::default() };
    let stats = HostStats {
        at: Some(crate::fleet::now()),
        memory_used: 3,
        memory_total: 9,
        disks: vec![disk],
        instances: instances.collect(),
        gpus: if agent.has_gpu { vec![gpu_stats(&agent.host)] } else { Vec::new() },
        cpu: Some(CpuModes { user: 30.0, system: 10.0, ..CpuModes::default() }),
        pressure: Some(Pressure::default()),
        ..HostStats::default()
    };
    pb::StatsReport { stats: encode(&stats) }
}

fn report(agent: &Agent, revision: u64) -> pb::ObservationReport {
    let observation = encode(&agent.observe(revision));
    let is_before = agent.facts_before.is_some();
    let observation = if is_before { before::observation(&observation).into() } else { observation };
    pb::ObservationReport { observation }
}

/// Agents that play their part. Dropping it cuts them off.
#[derive(Default)]
pub(crate) struct Players(JoinSet<(Agent, Status)>);

impl Players {
    pub(crate) async fn add(&mut self, fleet: &Fleet, agent: Agent) {
        let link = agent.connect(fleet).await.unwrap();
        self.0.spawn(play(agent, link));
    }

    /// The next one whose stream ends.
    pub(crate) async fn ended(&mut self) -> (Agent, Status) {
        timeout(LIMIT, self.0.join_next()).await.expect("a stream ends in time").unwrap().unwrap()
    }
}
