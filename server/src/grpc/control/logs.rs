//! Logs of a service, from all its hosts at once, merged by time. A followed stream follows the *service*: hosts that
//! get an instance join, hosts that were away are asked again from where they were read; it ends when the service is
//! removed, or at `until`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::{Code, Status};
use windlass_certs::identity::OperatorRole;
use windlass_core::{Counter, HostId, ServiceId, Timestamp};
use windlass_process::merge::{Merged, Position};
use windlass_proto::Padded;
use windlass_proto::limits::{LOG_BATCH, MAX_LOG_TAIL};
use windlass_proto::pb::{self, LogNote};

use super::{Caller, Stream, service};
use crate::coordinator::Coordinator;
use crate::grpc::status::{invalid, refused, with_hint};
use crate::ledger::Topic;
use crate::releases::ReleaseError;
use crate::session::{LogCommand, LogPiece, Pieces};

/// Messages of a host that wait: of an agent of the version before, more would be lost.
const PIECES: usize = 64;
/// Least time between two requests to one host.
const AGAIN: Duration = Duration::from_secs(1);
/// Instances whose place is remembered.
const POSITIONS: usize = 1024;

pub(super) fn stream(
    coordinator: Arc<Coordinator>,
    caller: &Caller,
    request: pb::StreamLogsRequest,
) -> Result<Stream<pb::StreamLogsResponse>, Status> {
    let id = service(caller, &request.service, OperatorRole::Viewer)?;
    if !request.all && request.tail > MAX_LOG_TAIL {
        return Err(Status::invalid_argument(format!(
            "`tail` is above {MAX_LOG_TAIL}; ask for all lines instead"
        )));
    }
    let release = Some(&request.release).filter(|text| !text.is_empty()).map(|text| text.parse::<Counter>());
    let release = release.transpose().map_err(|error| invalid("release", &error))?;
    let topics = coordinator.ledger.signals().topics();
    hosts_of(&coordinator, &id)?;
    if let Some(release) = release {
        known(&coordinator, &id, release)?;
    }
    let only = only(&coordinator, &id, &request.instance)?;
    let positions = request.after.iter().take(POSITIONS);
    let positions =
        positions.map(|after| (after.instance.clone(), Position { nanos: after.nanos, older: after.older }));
    let positions = positions.collect();
    let reading = Reading {
        coordinator,
        id,
        topics,
        only,
        positions,
        request,
        merged: Merged::new(),
        asked: BTreeMap::new(),
        complaints: BTreeSet::new(),
        is_first: true,
        ready: VecDeque::new(),
    };
    let messages = stream::unfold(reading, |mut reading| async move {
        let message = reading.next().await?;
        Some((Ok(message.padded()), reading))
    });
    Ok(messages.boxed())
}

/// Hosts with a slot of the service; an error if there is no such service.
fn hosts_of(coordinator: &Coordinator, id: &ServiceId) -> Result<BTreeSet<HostId>, Status> {
    let mut hosts: BTreeSet<HostId> = coordinator.ledger.read(|state| {
        let service = state.services.get(id);
        if service.is_none_or(|service| service.is_gone(state.slots.get(id))) {
            return Err(refused(ReleaseError::UnknownService(id.clone())));
        }
        let slots = state.slots.get(id).into_iter().flat_map(|slots| slots.values());
        Ok(slots.map(|assignment| assignment.host().clone()).collect())
    })?;
    // A slot may have moved away and left an instance that ends there.
    hosts.extend(coordinator.registry.instances_of(id).into_iter().map(|(host, _, _)| host));
    Ok(hosts)
}

/// An error if there is no such release: neither a record of it nor an instance that a host still keeps.
fn known(coordinator: &Coordinator, id: &ServiceId, counter: Counter) -> Result<(), Status> {
    let is_recorded = coordinator.ledger.read(|state| {
        state.entries.values().any(|entry| &entry.service == id && entry.name.counter == counter)
    });
    let runs = || coordinator.registry.instances_of(id).iter().any(|(_, _, one)| one.counter == counter);
    if is_recorded || runs() {
        return Ok(());
    }
    Err(refused(ReleaseError::UnknownRelease { service: id.clone(), counter }))
}

/// The instances that a person means, by host: by the name, the slot, or the engine's id of the container.
fn only(
    coordinator: &Coordinator,
    id: &ServiceId,
    text: &str,
) -> Result<Option<BTreeMap<HostId, Vec<String>>>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut meant: BTreeMap<HostId, Vec<String>> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for (host, slot, instance) in coordinator.registry.instances_of(id) {
        let is_container = text.len() >= 12
            && instance.container.as_ref().is_some_and(|container| container.starts_with(text));
        if instance.id == text || slot.to_string() == text || is_container {
            meant.entry(host).or_default().push(instance.id.clone());
        }
        names.insert(instance.id);
    }
    if meant.is_empty() {
        let known: Vec<String> = names.into_iter().take(10).collect();
        let hint = if known.is_empty() {
            "it has no instances".to_owned()
        } else {
            format!("there are {}", known.join(", "))
        };
        let text: String = text.chars().take(100).collect();
        return Err(with_hint(Code::NotFound, format!("`{id}` has no instance `{text}`"), Some(hint)));
    }
    Ok(Some(meant))
}

/// One operator's stream.
struct Reading {
    coordinator: Arc<Coordinator>,
    id: ServiceId,
    topics: Receiver<Topic>,
    only: Option<BTreeMap<HostId, Vec<String>>>,
    request: pb::StreamLogsRequest,
    merged: Merged<HostId, LogPiece>,
    /// When a host was asked last.
    asked: BTreeMap<HostId, Instant>,
    /// Complaints about hosts that were made already.
    complaints: BTreeSet<(HostId, String)>,
    /// The position up to which each instance was read.
    positions: BTreeMap<String, Position>,
    is_first: bool,
    ready: VecDeque<pb::StreamLogsResponse>,
}

impl Reading {
    async fn next(&mut self) -> Option<pb::StreamLogsResponse> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(message);
            }
            let follow = self.request.follow;
            if std::mem::take(&mut self.is_first) {
                self.ask();
                continue;
            }
            if self.merged.is_empty() && (!follow || self.is_over()) {
                return None;
            }
            let left = self.left();
            let again = Instant::now() + AGAIN;
            tokio::select! {
                biased;
                piece = self.merged.next(), if !self.merged.is_empty() => {
                    if let Some((host, piece)) = piece {
                        self.gather(host, piece);
                    }
                    if follow { self.ask(); }
                }
                topic = self.topics.recv(), if follow => match topic {
                    Ok(Topic::Service(id)) if id == self.id => self.ask(),
                    Ok(Topic::Observed(_)) | Err(RecvError::Lagged(_)) => self.ask(),
                    Ok(_) => {}
                    Err(RecvError::Closed) => return None,
                },
                () = sleep_until(again), if follow => self.ask(),
                () = sleep(left.unwrap_or_default()), if left.is_some_and(|left| !left.is_zero()) => {}
            }
        }
    }

    /// Time until `until`.
    fn left(&self) -> Option<Duration> {
        let until = self.request.until.filter(|_| self.request.follow).map(Timestamp::from_millis)?;
        Some(until.since(self.coordinator.ledger.now()))
    }

    /// Returns whether following ends, once everything was passed on.
    fn is_over(&self) -> bool {
        let is_late = self.left().is_some_and(|left| left.is_zero());
        is_late || self.is_gone() || hosts_of(&self.coordinator, &self.id).is_err()
    }

    /// Returns whether the instances that were named are all gone.
    fn is_gone(&self) -> bool {
        let Some(only) = &self.only else { return false };
        let there = self.coordinator.registry.instances_of(&self.id);
        !there
            .iter()
            .any(|(host, _, instance)| only.get(host).is_some_and(|names| names.contains(&instance.id)))
    }

    /// Asks every host that is meant and is not being read. Following asks again those that were away.
    fn ask(&mut self) {
        let now = Instant::now();
        let Ok(mut hosts) = hosts_of(&self.coordinator, &self.id) else { return };
        if let Some(only) = &self.only {
            hosts = only.keys().cloned().collect();
        }
        if self.request.follow && self.left().is_some_and(|left| left.is_zero()) {
            return;
        }
        for host in hosts {
            let is_soon = self.asked.get(&host).is_some_and(|asked| now < *asked + AGAIN);
            if self.merged.has(&host) || is_soon {
                continue;
            }
            let is_again = self.asked.insert(host.clone(), now).is_some();
            let (pieces, incoming) = mpsc::channel(PIECES);
            let command = self.command(&host, is_again, Pieces::new(pieces));
            let registry = &self.coordinator.registry;
            if registry.logs_of(&host).is_some_and(|host| host.try_send(command).is_ok()) {
                self.merged.add(host, incoming);
            } else {
                let state = registry.liveness(&host, self.coordinator.ledger.now()).as_str();
                self.complain(&host, format!("the host is {state}, its stream is down"));
            }
        }
    }

    fn command(&self, host: &HostId, is_again: bool, pieces: Arc<Pieces>) -> LogCommand {
        let request = &self.request;
        let of_host = self.only.as_ref().and_then(|only| only.get(host)).cloned();
        let after = self.positions.iter().map(|(instance, Position { nanos, older })| pb::LogPosition {
            instance: instance.clone(),
            nanos: *nanos,
            older: *older,
        });
        let tail = if request.all || is_again { None } else { Some(request.tail) };
        LogCommand {
            service: self.id.clone(),
            instances: of_host.unwrap_or_default(),
            tail,
            follow: request.follow,
            since: request.since.map(Timestamp::from_millis),
            until: request.until.map(Timestamp::from_millis),
            previous: request.previous,
            release: request.release.clone(),
            after: after.collect(),
            pieces,
        }
    }

    /// Says once that lines of a host are missing.
    fn complain(&mut self, host: &HostId, why: String) {
        if self.complaints.len() < POSITIONS && self.complaints.insert((host.clone(), why.clone())) {
            let host = host.to_string();
            self.ready.push_back(pb::StreamLogsResponse { host, missing: why, ..Default::default() });
        }
    }

    /// Makes messages of a piece and of all that can follow it at once.
    fn gather(&mut self, host: HostId, piece: LogPiece) {
        let (mut bytes, mut next) = (0, Some((host, piece)));
        while let Some((host, piece)) = next {
            match piece.line {
                Some(line) => {
                    bytes += line.text.len() + line.instance.len() + 64;
                    self.line(&host, line);
                }
                None => self.complain(&host, piece.missing),
            }
            next = if bytes < LOG_BATCH { self.merged.next().now_or_never().flatten() } else { None };
        }
    }

    fn line(&mut self, host: &HostId, mut line: pb::LogLine) {
        if line.nanos > 0 && line.note == i32::from(LogNote::Unspecified) {
            let has_room = self.positions.len() < POSITIONS || self.positions.contains_key(&line.instance);
            if has_room {
                self.positions.entry(line.instance.clone()).or_default().read(line.nanos);
            }
        }
        self.complaints.retain(|(other, _)| other != host);
        let of = if self.request.merged { String::new() } else { host.to_string() };
        line.host = host.to_string();
        match self.ready.back_mut().filter(|last| last.missing.is_empty() && last.host == of) {
            Some(last) => last.lines.push(line),
            None => self.ready.push_back(pb::StreamLogsResponse {
                host: of,
                lines: vec![line],
                ..Default::default()
            }),
        }
    }
}
