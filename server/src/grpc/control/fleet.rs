//! One screen of the fleet, again and again: filtered, sorted and cut here, and never more than the caller may see.

mod rows;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, sleep_until};
use tonic::Status;
use windlass_certs::identity::OperatorRole;
use windlass_core::view::{Board, FILTER, ROWS, RowView, ScreenView, Wanted, choose};
use windlass_proto::json::encode;
use windlass_proto::limits::MAX_MESSAGE;
use windlass_proto::{Padded as _, pb};

use super::events::may_see;
use super::hosts::narrow;
use super::{Caller, Stream};
use crate::boards::{Looked, Watcher};
use crate::coordinator::Coordinator;
use crate::grpc::status::{invalid, with_hint};

/// The least between two screens.
const LEAST: Duration = Duration::from_secs(1);
/// The most, so that a reader knows that the coordinator is there.
const MOST: Duration = Duration::from_secs(3600);
/// A stream ends by itself after so long: whoever still looks asks again.
const LEASE: Duration = Duration::from_secs(60);
/// The largest screen.
const LARGEST: usize = MAX_MESSAGE / 2;

struct Watch {
    coordinator: Arc<Coordinator>,
    caller: Caller,
    wanted: Wanted,
    every: Duration,
    due: Instant,
    ends: Instant,
    /// The screen that was sent last.
    sent: Option<Bytes>,
    _place: Watcher,
}

pub(super) fn watch(
    coordinator: Arc<Coordinator>,
    caller: Caller,
    request: pb::WatchFleetRequest,
) -> Result<Stream<pb::WatchFleetResponse>, Status> {
    let every = Duration::from_millis(request.interval_ms.into()).clamp(LEAST, MOST);
    let asked = request.lease_ms;
    let wanted = read(&caller, request)?;
    let place = coordinator.boards.enter(caller.actor()).ok_or_else(|| {
        let hint = Some("end another `windlass top`, or try again in a minute".to_owned());
        with_hint(tonic::Code::ResourceExhausted, "too many watch the fleet at once".to_owned(), hint)
    })?;
    let due = Instant::now();
    let lease = match asked {
        0 => LEASE,
        millis => Duration::from_millis(millis.into()).min(LEASE),
    };
    let (ends, sent) = (due + lease.max(every * 2), None);
    let watch = Watch { coordinator, caller, wanted, every, due, ends, sent, _place: place };
    let screens = stream::unfold(watch, |mut watch| async move {
        let screen = watch.next().await?;
        Some((Ok(screen.padded()), watch))
    });
    Ok(screens.boxed())
}

fn read(caller: &Caller, request: pb::WatchFleetRequest) -> Result<Wanted, Status> {
    let board = Board::of(&request.board)
        .ok_or_else(|| Status::invalid_argument("`board` is none that this coordinator has"))?;
    if request.filter.len() > FILTER {
        return Err(Status::invalid_argument(format!("`filter` is longer than {FILTER} bytes")));
    }
    let environment = match request.environment.as_str() {
        "" => None,
        text => {
            let environment = text.parse().map_err(|error| invalid("environment", &error))?;
            caller.may(OperatorRole::Viewer, &environment)?;
            Some(environment)
        }
    };
    let number = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    Ok(Wanted {
        board,
        filter: request.filter,
        sort: number(request.sort),
        descending: request.descending,
        from: number(request.from),
        limit: number(request.limit).min(ROWS),
        environment,
    })
}

impl Watch {
    /// The next screen; `None` at the end of the lease.
    async fn next(&mut self) -> Option<pb::WatchFleetResponse> {
        if self.due >= self.ends {
            return None;
        }
        sleep_until(self.due).await;
        self.due = Instant::now() + self.every;
        let (boards, board) = (self.coordinator.boards.clone(), self.wanted.board);
        let looked = boards.rows(board, rows::look(&self.coordinator, board)).await;
        let at = looked.now.as_millis();
        let mut screen = screen(&looked, &self.wanted, &self.caller);
        let mut view = encode(&screen);
        while view.len() > LARGEST && !screen.rows.is_empty() {
            screen.rows.truncate(screen.rows.len() / 2);
            view = encode(&screen);
        }
        if self.sent.as_ref() == Some(&view) {
            return Some(pb::WatchFleetResponse { at, ..Default::default() });
        }
        self.sent = Some(view.clone());
        Some(pb::WatchFleetResponse { view, at, ..Default::default() })
    }
}

/// The part of a board that is wanted, of what the caller may see: what is hidden counts nowhere, and no filter finds it.
fn screen(looked: &Looked, wanted: &Wanted, caller: &Caller) -> ScreenView {
    let seen: Vec<Cow<'_, RowView>> = if caller.sees_fleet() {
        looked.rows.iter().map(Cow::Borrowed).collect()
    } else {
        looked.rows.iter().filter_map(|row| narrowed(row, caller)).collect()
    };
    let (found, chosen) = choose(seen.iter().map(AsRef::as_ref), wanted, looked.now);
    let rows: Vec<RowView> = chosen.into_iter().map(|number| seen[number].clone().into_owned()).collect();
    let mut steers: Vec<_> = rows.iter().filter_map(RowView::service).map(|of| of.environment).collect();
    steers.sort();
    steers.dedup();
    steers.retain(|environment| caller.may(OperatorRole::Deployer, environment).is_ok());
    let moving = looked.moving.iter().filter(|(environment, _)| caller.sees(environment));
    ScreenView {
        board: wanted.board,
        from: wanted.from,
        found,
        hosts: looked.hosts.0,
        hosts_up: looked.hosts.1,
        moving: moving.map(|(_, count)| count).sum(),
        steers: Some(steers),
        rows,
    }
}

/// The row, without what is of environments that the caller does not see; `None` if it is of one.
fn narrowed<'a>(row: &'a RowView, caller: &Caller) -> Option<Cow<'a, RowView>> {
    let sees = match row {
        RowView::Host(host) => {
            let mut host = host.clone();
            narrow(&mut host, caller);
            return Some(Cow::Owned(RowView::Host(host)));
        }
        RowView::Gpu(gpu) => {
            let mut gpu = gpu.clone();
            gpu.holders.retain(|holder| caller.sees(&holder.slot.service.environment));
            return Some(Cow::Owned(RowView::Gpu(gpu)));
        }
        RowView::Event(event) => may_see(caller, &event.kind, &event.subject),
        RowView::Service(of) => caller.sees(&of.status.environment),
        RowView::Rollout(of) => caller.sees(&of.environment),
        RowView::Instance(of) => caller.sees(&of.environment),
        RowView::Route(of) => caller.sees(&of.environment),
        RowView::Ingress(of) => caller.sees(&of.environment),
    };
    sees.then_some(Cow::Borrowed(row))
}
