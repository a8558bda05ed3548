//! A host that is reached at another address than when it joined.

use windlass_certs::csr::{CertifiedIdentity, TlsKey};
use windlass_certs::keys::SigningKey;
use windlass_core::host::HostFacts;
use windlass_proto::json::encode;
use windlass_proto::pb;
use windlass_proto::pb::connect_request::Message as Say;

use crate::agent::{Agent, Link, join, join_request, token};
use crate::fleet::{Fleet, until};

/// A host that joined with an address.
async fn joined_at(fleet: &Fleet, address: &str) -> Agent {
    let token = token(fleet, "web-1").await;
    let (key, receipts) = (TlsKey::generate().unwrap(), SigningKey::generate().unwrap());
    let request = pb::JoinRequest { address: address.to_owned(), ..join_request(&token, &key, &receipts) };
    let answer = join(fleet, request).await.unwrap();
    let identity = CertifiedIdentity::new(key, &answer.certificate_chain).unwrap();
    Agent::new(token.host().clone(), identity, receipts)
}

fn facts(agent: &Agent, address: &str) -> HostFacts {
    HostFacts { address: address.to_owned(), ..agent.facts() }
}

async fn connected(fleet: &Fleet, agent: &Agent, address: &str) -> Link {
    let hello = pb::Hello { facts: encode(&facts(agent, address)), ..agent.hello() };
    let mut link = agent.connect_with(fleet, hello).await.unwrap();
    link.hear().await.unwrap();
    link
}

async fn address(fleet: &Fleet) -> String {
    fleet.hosts().await[0]["address"].as_str().unwrap().to_owned()
}

async fn told(fleet: &Fleet, kind: &str) -> usize {
    let event = format!("{kind} web-1");
    fleet.events().await.iter().filter(|told| **told == event).count()
}

#[tokio::test]
async fn a_host_is_reached_where_its_agent_connects_from() {
    let mut fleet = Fleet::start().await;
    let agent = joined_at(&fleet, "10.0.0.5").await;
    drop(connected(&fleet, &agent, "10.0.0.5").await);
    assert_eq!((address(&fleet).await.as_str(), told(&fleet, "host.address").await), ("10.0.0.5", 0));
    let link = connected(&fleet, &agent, "127.0.0.1").await;
    // Said again on the stream, in case the first time was too soon after the last.
    until("the new address counts", async || {
        link.say(Say::Heartbeat(pb::Heartbeat::default())).await;
        address(&fleet).await == "127.0.0.1"
    })
    .await;
    assert_eq!((told(&fleet, "host.address").await, told(&fleet, "host.address_refused").await), (1, 0));
    drop(link);
    fleet.stop().await;
    fleet.run().await;
    assert_eq!(address(&fleet).await, "127.0.0.1", "it is stored");
    drop(connected(&fleet, &agent, "127.0.0.1").await);
    assert_eq!(told(&fleet, "host.address").await, 1, "told once");
}

#[tokio::test]
async fn a_host_names_no_address_that_it_does_not_connect_from() {
    let fleet = Fleet::start().await;
    let agent = joined_at(&fleet, "10.0.0.5").await;
    for (named, times) in [("10.0.0.6", 1), ("web-2.example.com", 2), ("169.254.169.254", 3)] {
        let link = connected(&fleet, &agent, named).await;
        until("it is told that this does not count", async || {
            link.say(Say::Heartbeat(pb::Heartbeat::default())).await;
            told(&fleet, "host.address_refused").await == times
        })
        .await;
        assert_eq!(address(&fleet).await, "10.0.0.5", "{named}");
    }
    assert_eq!(told(&fleet, "host.address").await, 0);
}
