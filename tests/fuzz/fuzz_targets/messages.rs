//! Protobuf as it comes from the network, and the JSON inside of it, as both ends read them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use windlass_certs::dsse::Envelope;
use windlass_certs::trust::MAX_LEN;
use windlass_core::Digest;
use windlass_core::host::{HostFacts, HostStats};
use windlass_core::observation::Observation;
use windlass_proto::json::decode;
use windlass_proto::pb;
use windlass_proto::pb::connect_request::Message as Said;

fn read<M: Message + Default + PartialEq>(data: &[u8]) -> Option<M> {
    let message = M::decode(data).ok()?;
    let again = M::decode(message.encode_to_vec().as_slice()).expect("we read what we write");
    assert!(message == again);
    Some(message)
}

fuzz_target!(|data: &[u8]| {
    if let Some(pb::ConnectRequest { message: Some(message) }) = read(data) {
        match message {
            Said::Hello(hello) => drop(decode::<HostFacts>("facts", &hello.facts)),
            Said::Facts(facts) => drop(decode::<HostFacts>("facts", &facts.facts)),
            Said::Heartbeat(beat) => drop(decode::<HostStats>("stats", &beat.stats)),
            Said::Observation(seen) => drop(decode::<Observation>("observation", &seen.observation)),
            Said::Kept(report) => report.digests.iter().for_each(|text| drop(text.parse::<Digest>())),
            Said::Release(report) => drop(Envelope::parse(&report.envelope, MAX_LEN)),
            Said::LogLines(_) | Said::Receipt(_) => {}
        }
    }
    read::<pb::ConnectResponse>(data);
    read::<pb::FetchReleaseRequest>(data);
    read::<pb::FetchReleaseResponse>(data);
    read::<pb::FetchTrustResponse>(data);
    read::<pb::JoinRequest>(data);
    read::<pb::JoinResponse>(data);
    read::<pb::JoinOperatorRequest>(data);
    read::<pb::JoinOperatorResponse>(data);
    read::<pb::ChallengeResponse>(data);
    read::<pb::RenewRequest>(data);
    read::<pb::RenewResponse>(data);
    read::<pb::CreateHostTokenRequest>(data);
    read::<pb::SteerHostRequest>(data);
    read::<pb::RecoverRequest>(data);
    read::<pb::PreviewRequest>(data);
    read::<pb::SubmitReleaseRequest>(data);
    read::<pb::RollbackRequest>(data);
    read::<pb::SteerRolloutRequest>(data);
    read::<pb::SteerServiceRequest>(data);
    read::<pb::StreamLogsRequest>(data);
    read::<pb::StreamLogsResponse>(data);
    read::<pb::StreamEventsResponse>(data);
    read::<pb::AddOperatorRequest>(data);
    read::<pb::AddOperatorResponse>(data);
    read::<pb::ListOperatorsResponse>(data);
    read::<pb::RevokeOperatorRequest>(data);
    read::<pb::GetTrustResponse>(data);
    read::<pb::PublishTrustRequest>(data);
    read::<pb::StreamAuditRequest>(data);
    read::<pb::StreamAuditResponse>(data);
    read::<pb::GetReleaseResponse>(data);
    read::<pb::ListHostsResponse>(data);
});
