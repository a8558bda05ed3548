//! Named volumes of a service with several slots.

use serde_json::json;
use windlass_tests::{Fleet, Host, Service};

/// The named volumes that instances of `web` on a host mount, one for each instance.
fn mounted(host: &Host) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for id in host.running_ids("web") {
        let mounts = host.engine.inspect(&id).unwrap()["Mounts"].clone();
        let volumes = mounts.as_array().into_iter().flatten().filter(|mount| mount["Type"] == "volume");
        names.extend(volumes.filter_map(|mount| Some(mount["Name"].as_str()?.to_owned())));
    }
    names
}

/// Public report 5: two replicas of one host wrote into one volume, and nothing said so.
#[test]
fn slots_of_one_host_share_a_volume_only_where_it_is_said() {
    let fleet = Fleet::start("volumes", 2);
    let web = |replicas: u32, volume: serde_json::Value| {
        let web = Service::web(&fleet.lab.image("v1"), replicas).with("soak", "0s");
        web.with("volumes", json!({ "data": volume }))
    };
    let own = || json!({ "mount": "/data" });
    fleet.deploy_ok(&web(2, own()), "r1");
    let each: Vec<Vec<String>> = fleet.hosts.iter().map(mounted).collect();
    assert_eq!(each, [["windlass.default.web.data"], ["windlass.default.web.data"]], "one slot on each host");

    // There is no third host, and what runs stays.
    let before: Vec<_> = fleet.hosts.iter().map(|host| host.running_ids("web")).collect();
    let refused = fleet.deploy(&web(3, own()).with("env.TRY", "2")).expect_code(1).to_string();
    assert!(refused.contains("alone writes into volume `data`"), "{refused}");
    assert!(refused.contains("`shared: true`"), "it says what to do: {refused}");
    let after: Vec<_> = fleet.hosts.iter().map(|host| host.running_ids("web")).collect();
    assert_eq!(before, after);

    fleet.deploy_ok(&web(3, json!({ "mount": "/data", "shared": true })), "r3");
    let mut counts: Vec<usize> = fleet.hosts.iter().map(|host| mounted(host).len()).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 2], "two of a host write into one volume, as the manifest says");
}
