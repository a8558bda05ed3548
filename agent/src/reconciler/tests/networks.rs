//! Inner networks: told to the ingress, made, kept, removed.

use super::*;

/// The networks that the ingress is told of, by environment, with the names that are called.
fn told(host: &Host) -> Option<Vec<String>> {
    let networks = host.networks.borrow().clone()?;
    let text = |network: &windlass_core::network::InnerNetwork| {
        let uses: Vec<&str> = network.uses.iter().map(|name| name.as_str()).collect();
        format!("{}: {}", network.environment, uses.join(","))
    };
    Some(networks.iter().map(text).collect())
}

#[tokio::test(start_paused = true)]
async fn a_network_is_told_first_and_goes_last() {
    let mut host = Host::new();
    let one = host.release(1, |spec| spec.uses = vec!["api".parse().unwrap()]);
    host.until(|seen| seen.engine == EngineState::Available).await;
    assert_eq!(told(&host), None, "without a plan nothing changes for the ingress");
    host.engine.world().pull_takes = Duration::from_secs(30);
    host.plan(vec![running(0, one), running(1, one)]);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(told(&host), Some(vec!["production: api".to_owned()]), "while the image is pulled");
    assert!(host.engine.world().networks.own.is_empty());
    host.settled().await;
    let made = |host: &Host| host.journal().iter().filter(|line| line.starts_with("create network")).count();
    assert_eq!(made(&host), 1, "{:?}", host.journal());
    let journaled = host.disk.0.lock().unwrap().0.networks.clone();
    let known = &journaled[&"production".parse().unwrap()];
    assert_eq!(host.engine.world().networks.own.values().collect::<Vec<_>>(), [&known.subnet]);
    assert_eq!(known.instances.len(), 2);

    // An agent that starts again says nothing before its first look, and then the same.
    host.cancel.cancel();
    host.agent.join_next().await.unwrap().unwrap().unwrap();
    host.start_agent();
    assert_eq!(told(&host), None);
    host.settled().await;
    assert_eq!(told(&host), Some(vec!["production: api".to_owned()]));
    assert_eq!(host.disk.0.lock().unwrap().0.networks, journaled);

    host.plan(vec![running(0, one)]);
    host.until(|seen| seen.slots.len() == 1).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!host.journal().contains(&"remove network production".to_owned()), "one is still in it");
    host.plan(Vec::new());
    host.until(|seen| seen.slots.is_empty()).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        host.journal().last().map(String::as_str),
        Some("remove network production"),
        "{:?}",
        host.journal()
    );
    assert_eq!(told(&host), Some(Vec::new()));
    assert!(host.disk.0.lock().unwrap().0.networks.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hides_its_networks_does_all_else() {
    let mut host = Host::new();
    host.engine.world().hides_networks = true;
    let one = host.release(1, |_| {});
    host.plan(vec![running(0, one)]);
    host.settled().await;
    assert_eq!(told(&host), Some(Vec::new()));
}
