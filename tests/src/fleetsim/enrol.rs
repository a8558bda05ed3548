//! Joining: every agent has its own token, key and certificate, through the calls that real agents join with.

use std::sync::Arc;

use anyhow::Result;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use windlass_certs::csr::{CertifiedIdentity, TlsKey};
use windlass_certs::join::JoinToken;
use windlass_certs::keys::SigningKey;
use windlass_certs::revocation::Revocations;
use windlass_certs::tls::{ClientTls, ConnectOptions, connect};
use windlass_core::{Digest, HostId};
use windlass_proto::pb;
use windlass_proto::pb::control_client::ControlClient;
use windlass_proto::pb::enrolment_client::EnrolmentClient;

use super::coordinator::Coordinator;
use super::papers::fleet;

/// Joins under way at a time, each over a connection of its own: a stranger makes one call after the other.
const LANES: usize = 16;
/// Joins over one connection. A stranger's does not live long.
const PER_CONNECTION: usize = 50;

/// A host that joined.
#[derive(Debug)]
pub struct Member {
    /// Its name.
    pub host: HostId,
    /// Its label `role`.
    pub role: String,
    /// Its certificate.
    pub identity: CertifiedIdentity,
    /// The key of its receipts.
    pub receipts: SigningKey,
}

/// Joins `count` hosts labelled `role`, named after it and numbered.
pub async fn enrol(coordinator: &Coordinator, role: &str, count: usize) -> Result<Vec<Arc<Member>>> {
    let control = coordinator.control("admin/*").await?;
    let (address, ca) = (coordinator.address.to_string(), coordinator.papers.ca.fingerprint());
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let hosts = (lane..count).step_by(LANES).map(|n| format!("{role}-{n:05}")).collect();
        lanes.spawn(join_all(control.clone(), address.clone(), ca, role.to_owned(), hosts));
    }
    let mut members = Vec::with_capacity(count);
    while let Some(joined) = lanes.join_next().await {
        members.extend(joined??);
    }
    members.sort_by(|a, b| a.host.cmp(&b.host));
    Ok(members)
}

async fn join_all(
    control: ControlClient<Channel>,
    address: String,
    ca: Digest,
    role: String,
    hosts: Vec<String>,
) -> Result<Vec<Arc<Member>>> {
    let tls = ClientTls::anonymous(fleet(), vec![ca], Revocations::new())?;
    let mut members = Vec::with_capacity(hosts.len());
    for hosts in hosts.chunks(PER_CONNECTION) {
        let stranger = connect(&address, &tls, &ConnectOptions::default()).await?;
        for host in hosts {
            let joined = join(control.clone(), stranger.clone(), host.clone(), role.clone()).await?;
            members.push(Arc::new(joined));
        }
    }
    Ok(members)
}

async fn join(
    mut control: ControlClient<Channel>,
    stranger: Channel,
    host: String,
    role: String,
) -> Result<Member> {
    let labels = [("role".to_owned(), role.clone())].into();
    let made = control.create_host_token(pb::CreateHostTokenRequest { host, labels }).await?.into_inner();
    let token = JoinToken::parse(&made.token)?;
    let (key, receipts) = (TlsKey::generate()?, SigningKey::generate()?);
    let request = pb::JoinRequest {
        host: token.host().to_string(),
        secret: token.secret().expose().to_vec().into(),
        csr: key.csr()?.der().to_vec().into(),
        address: "127.0.0.1".to_owned(),
        receipt_key: receipts.public().as_bytes().to_vec().into(),
    };
    let joined = EnrolmentClient::new(stranger).join(request).await?.into_inner();
    let identity = CertifiedIdentity::new(key, &joined.certificate_chain)?;
    Ok(Member { host: token.host().clone(), role, identity, receipts })
}
