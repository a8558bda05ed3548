//! A host that is lost, where the manifest says that its slots are replaced.

use std::time::Duration;

use windlass_tests::{Fleet, Host, Service, wait};

/// Hosts on which `web` runs, without those that are cut off.
fn places<'a>(hosts: impl IntoIterator<Item = &'a Host>) -> Vec<String> {
    let all = hosts.into_iter().filter(|host| !host.running_ids("web").is_empty());
    all.map(|host| host.name.clone()).collect()
}

#[test]
fn lost_host_is_replaced_and_one_of_two_goes_on_its_return() {
    let fleet = Fleet::start("replaced", 3);
    for (release, tag, on_return) in [("r1", "v1", "keep_new"), ("r2", "v2", "keep_old")] {
        let service = Service::web(&fleet.lab.image(tag), 2)
            .with("on_lost.replace_after", "3s")
            .with("on_lost.on_return", on_return);
        fleet.deploy_ok(&service, release);
        let before = places(&fleet.hosts);
        assert_eq!(before.len(), 2, "{before:?}");
        let gone = fleet.hosts.iter().find(|host| host.name == before[1]).unwrap();
        let (old, rest) =
            (gone.running_ids("web"), || fleet.hosts.iter().filter(|host| host.name != gone.name));
        let stays = rest().find(|host| host.name == before[0]).unwrap();
        let (stays_ids, spare) =
            (stays.running_ids("web"), rest().find(|host| host.name != before[0]).unwrap());

        fleet.lab.script("host.sh", &["partition", &gone.name]);
        wait::until("a replacement serves", Duration::from_secs(30), || {
            let serving = spare.serving("web");
            if serving.len() == 1 { Ok(()) } else { Err(fleet.status().to_string()) }
        });
        assert_eq!(fleet.host_state(&gone.name), "lost");
        wait::until("status counts the replacement", Duration::from_secs(10), || {
            let status = fleet.status();
            if status["healthy"] == 2 { Ok(()) } else { Err(status.to_string()) }
        });
        assert_eq!(gone.running_ids("web"), old, "what is lost goes on, as far as it knows");

        fleet.lab.script("host.sh", &["heal", &gone.name]);
        let (keeps, goes) = if on_return == "keep_new" { (spare, gone) } else { (gone, spare) };
        wait::until(&format!("one of them has gone ({on_return})"), Duration::from_secs(30), || {
            let (left, kept) = (goes.running_ids("web"), keeps.serving("web"));
            if left.is_empty() && kept.len() == 1 { Ok(()) } else { Err(format!("{left:?} {kept:?}")) }
        });
        assert_eq!(stays.running_ids("web"), stays_ids, "nobody touched the third");
        if on_return == "keep_old" {
            assert_eq!(gone.running_ids("web"), old, "it is the very one that was lost");
        }
        wait::until("the service is as it should be", Duration::from_secs(15), || {
            let status = fleet.status();
            let is_right = status["state"] == "steady" && status["wanted"] == 2 && status["healthy"] == 2;
            if is_right { Ok(()) } else { Err(status.to_string()) }
        });
    }
}
