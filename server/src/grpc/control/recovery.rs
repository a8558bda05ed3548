//! Differences between a restored coordinator and its hosts.

use std::collections::BTreeSet;

use bytes::Bytes;
use tonic::Status;
use windlass_core::HostId;
use windlass_proto::json::encode;
use windlass_proto::pb;

use super::Caller;
use crate::coordinator::Coordinator;
use crate::grpc::status::{invalid, refused};
use crate::recovery::{self, Answer};

pub(super) fn preview(
    coordinator: &Coordinator,
    request: &pb::PreviewRecoveryRequest,
) -> Result<Bytes, Status> {
    Ok(encode(&recovery::preview(coordinator, hosts(&request.keep_store)?)))
}

pub(super) async fn recover(
    coordinator: &Coordinator,
    caller: &Caller,
    request: &pb::RecoverRequest,
) -> Result<Bytes, Status> {
    let answer = Answer {
        keep_store: hosts(&request.keep_store)?,
        preview: request.preview.parse().map_err(|error| invalid("preview", &error))?,
        actor: caller.actor(),
    };
    Ok(encode(&recovery::go_on(coordinator, answer).await.map_err(refused)?))
}

fn hosts(names: &[String]) -> Result<BTreeSet<HostId>, Status> {
    names.iter().map(|name| name.parse().map_err(|error| invalid("keep_store", &error))).collect()
}
