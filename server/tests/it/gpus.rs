//! GPUs of hosts, as `plan` sees them before a deploy.

use windlass_core::host::GpuAccess;
use windlass_core::release::{Gpus, Release};

use crate::agent::{Agent, Players};
use crate::fleet::Fleet;
use crate::quarantine::plan;
use crate::release::release;

const WHY: &str = "the engine has neither NVIDIA's hook on its PATH, nor its runtime, nor CDI devices";

/// A release with a GPU of its own.
fn model(counter: u64) -> Release {
    let mut release = release(counter, 1, "model");
    release.spec.resources.gpus = Some(Gpus { count: 1, memory: None });
    release
}

async fn host(fleet: &Fleet, players: &mut Players, name: &str, access: GpuAccess) {
    let mut agent = Agent::joined(fleet, name).await;
    (agent.has_gpu, agent.gpu_access) = (true, access);
    players.add(fleet, agent).await;
    fleet.wait_for(name, "connected").await;
}

/// Nothing was deployed yet: that the engine gives no GPU to a container is known all the same.
#[tokio::test]
async fn plan_names_hosts_whose_engine_gives_no_gpus() {
    let (fleet, mut players) = (Fleet::start().await, Players::default());
    host(&fleet, &mut players, "web-1", GpuAccess::No(WHY.to_owned())).await;
    let refused = plan(&fleet, &model(1), false).await;
    let said = refused.to_string();
    assert!(refused["slots"].as_array().unwrap().is_empty(), "{said}");
    let host_refuses = serde_json::json!({ "host": "web-1", "reason": format!("no room: gpu: {WHY}") });
    assert_eq!(refused["refused"], serde_json::json!([host_refuses]), "{said}");
    assert!(
        !refused["error"].is_null() || said.contains("waits for"),
        "and it does not look feasible: {said}"
    );
    assert!(
        plan(&fleet, &release(1, 1, "plain"), false).await["error"].is_null(),
        "who needs none is placed"
    );

    // It goes to the host whose engine has a way, and the other one is named.
    host(&fleet, &mut players, "web-2", GpuAccess::Hook).await;
    let placed = plan(&fleet, &model(1), false).await;
    assert!(placed["error"].is_null(), "{placed}");
    assert_eq!(placed["slots"][0]["host"], "web-2", "{placed}");
    assert_eq!(placed["slots"][0]["gpus"], serde_json::json!(["GPU-web-2"]), "{placed}");
    assert_eq!(placed["refused"], serde_json::json!([host_refuses]), "{placed}");
}
