//! Followed logs of a service, and their end.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::timeout;
use tonic::{Code, Streaming};
use windlass_proto::limits::MAX_LOG_TAIL;
use windlass_proto::pb;

use crate::fleet::{LIMIT, now};
use crate::release::release;
use crate::rollouts::{deploy, fleet_of};
use crate::services::{asks, steer};

fn followed(until: Option<i64>) -> pb::StreamLogsRequest {
    pb::StreamLogsRequest {
        service: "default/web".to_owned(),
        tail: 5,
        follow: true,
        until,
        ..Default::default()
    }
}

/// The hosts that were asked until the stream ends, which must be in order and in time.
async fn to_the_end(mut logs: Streaming<pb::StreamLogsResponse>) -> BTreeSet<String> {
    let mut hosts = BTreeSet::new();
    let read = async {
        while let Some(chunk) = logs.message().await.unwrap() {
            hosts.insert(chunk.host);
        }
    };
    timeout(LIMIT, read).await.expect("the stream ends in time");
    hosts
}

#[tokio::test]
async fn followed_logs_end_at_their_until() {
    let (fleet, _players) = fleet_of(&["web-1"], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 1, "one")).await, "succeeded");
    let mut control = fleet.control("viewer/*").await;
    let end = now() + Duration::from_millis(1500);
    let logs = control.stream_logs(followed(Some(end.as_millis()))).await.unwrap().into_inner();
    // The agent of this test reads no `until`, which is said in the place of its lines.
    assert_eq!(to_the_end(logs).await, ["web-1".to_owned()].into());
    assert!(now() >= end, "not before");
    let over = control.stream_logs(followed(Some(now().as_millis() - 1))).await.unwrap().into_inner();
    assert!(to_the_end(over).await.is_empty(), "nothing is asked for after the end");
}

#[tokio::test]
async fn followed_logs_end_when_their_service_is_removed() {
    let (fleet, _players) = fleet_of(&["web-1"], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 1, "one")).await, "succeeded");
    let mut control = fleet.control("viewer/*").await;
    let mut logs = control.stream_logs(followed(None)).await.unwrap().into_inner();
    let first = timeout(LIMIT, logs.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.lines[0].text, "a line of web-1");
    steer(&fleet, asks(pb::ServiceAction::Remove, 0)).await.unwrap();
    to_the_end(logs).await;
    let gone = control.stream_logs(followed(None)).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound, "it ended because there is no such service");
}

#[tokio::test]
async fn a_tail_that_is_too_long_is_refused_with_the_way() {
    let (fleet, _players) = fleet_of(&["web-1"], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 1, "one")).await, "succeeded");
    let mut control = fleet.control("viewer/*").await;
    let of = |tail| pb::StreamLogsRequest { service: "default/web".to_owned(), tail, ..Default::default() };
    let refused = control.stream_logs(of(MAX_LOG_TAIL + 1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("ask for all lines instead"), "{refused}");
    assert!(control.stream_logs(of(MAX_LOG_TAIL)).await.is_ok());
}
