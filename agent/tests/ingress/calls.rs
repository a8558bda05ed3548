//! Calls of services by name: the ingress listens at the gateways that its agent tells, for the ports of the signed table.

use std::net::SocketAddr;

use windlass_agent::traffic::wire::Down;
use windlass_core::network::InnerNetwork;
use windlass_core::traffic::IngressReport;

use crate::world::{World, signed, table};

fn networks(uses: &str) -> Down {
    let network = InnerNetwork {
        environment: "production".parse().unwrap(),
        subnet: "10.210.77.0/24".parse().unwrap(),
        uses: [uses.parse().unwrap()].into(),
    };
    Down::Networks { networks: vec![network] }
}

/// The addresses of inner networks at which an ingress listens.
fn inner(report: &IngressReport) -> Vec<SocketAddr> {
    let inner = report.listens.iter().filter(|listen| listen.name == "inner");
    inner.map(|listen| listen.address).collect()
}

#[tokio::test]
async fn an_ingress_listens_at_gateways_of_inner_networks() {
    let world = World::new();
    let called = |seq: u64, port: u16| {
        let mut routes = table(seq, &[]);
        routes.services[0].ports.get_mut("http").unwrap().container = port;
        signed(&routes, &world.keys.0.dispatch)
    };
    let at = |port: u16| vec![SocketAddr::from(([10, 210, 77, 1], port))];
    let mut agent = world.agent(vec![called(5, 28_181), networks("web")]);
    let http = ["--http", "127.0.0.1:0"];
    let mut first = world.start(&http);
    let report = agent.report("it listens", |report| inner(report) == at(28_181)).await;

    // Another one takes over while no agent is there, and then begins with what is written down.
    drop(agent);
    let _second = world.start(&http);
    assert!(first.end().await, "the first one has handed over");
    let mut agent = world.agent(Vec::new());
    let is_second = |report: &IngressReport, of: &IngressReport| report.process != of.process;
    let second = agent.report("it listens", |now| is_second(now, &report) && inner(now) == at(28_181)).await;

    // The port follows the table, and a name that nobody calls has none.
    agent.say(called(6, 28_182));
    agent.report("the other port", |now| now.process == second.process && inner(now) == at(28_182)).await;
    agent.say(networks("other"));
    agent.report("no port", |now| now.process == second.process && inner(now).is_empty()).await;
}
