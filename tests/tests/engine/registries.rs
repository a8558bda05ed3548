//! Registries that do not give what was asked for. Nothing that runs is touched, and the command exits with 1.

use std::fs;
use std::time::Duration;

use windlass_tests::{Fleet, FleetOptions, Lab, Service, Watch};

/// Deploys v1, then something that must fail before anything changed, with `word` in what the command says.
#[track_caller]
fn nothing_changes(fleet: &Fleet, bad: &Service, words: &[&str]) {
    fleet.deploy_ok(&Service::web(&fleet.lab.image("v1"), 2), "r1");
    let before = containers(fleet);
    let watch = Watch::begin("web", &fleet.hosts, &["v1"]);
    let output = fleet.deploy(bad).expect_code(1);
    for word in words {
        assert!(output.to_string().contains(word), "it says `{word}`: {output}");
    }
    watch.end().expect_served(2, &[("r1", "v1")]);
    assert_eq!(containers(fleet), before, "no container was touched");
}

fn containers(fleet: &Fleet) -> Vec<String> {
    let all = fleet.hosts.iter().flat_map(|host| host.engine.containers("web").unwrap());
    all.map(|container| format!("{} {}", container.id, container.state)).collect()
}

#[test]
fn missing_tag_is_refused_before_a_release_is_made() {
    let fleet = Fleet::start("tag", 1);
    let image = fleet.lab.image("no-such-tag");
    nothing_changes(&fleet, &Service::web(&image, 2), &["no-such-tag"]);
    assert_eq!(fleet.cli.json(&["release", "ls", "web"]).as_array().unwrap().len(), 1, "no release was made");
}

#[test]
fn unreachable_registry_is_refused_before_a_release_is_made() {
    let fleet = Fleet::start("unreachable", 1);
    let image = format!("{}:5999/web:v2", fleet.lab.gateway());
    let bad = Service::web(&image, 2);
    nothing_changes(&fleet, &bad, &[":5999"]);
}

#[test]
fn registry_unreachable_for_hosts_fails_the_pull_only() {
    let fleet = Fleet::start("no-route", 2);
    for host in &fleet.hosts {
        let drop = "iptables -w 10 -I OUTPUT -p tcp --dport 5000 -j REJECT --reject-with tcp-reset";
        host.run(&["sh", "-c", &format!("PATH=$PATH:/usr/sbin:/sbin exec {drop}")]);
    }
    // The base layer is not there yet, so v1 must come by another way.
    for host in &fleet.hosts {
        let socket = host.engine.url().replace("unix://", "");
        fleet.lab.script("images.sh", &["--socket", &socket, "--only", "v1"]);
    }
    let web = Service::web(&fleet.lab.image("v1"), 2).with("progress_deadline", "20s");
    let end = fleet.deploy(&web).expect_code(1).last();
    assert_eq!(end["outcome"], "failed", "{end}");
    assert_eq!(containers(&fleet), Vec::<String>::new());
    let rollout = fleet.rollout();
    assert_eq!(rollout["failures"][0]["evidence"]["clock"], "pull", "{rollout}");
}

#[test]
fn wrong_credentials_are_refused_and_right_ones_work() {
    let lab = Lab::enter();
    let private = format!("{}:5001", lab.gateway());
    lab.script("registry.sh", &["up", "--port", "5001", "--auth", "robot:secret"]);
    lab.script("images.sh", &["--registry", &private, "--auth", "robot:secret", "--only", "v2"]);
    let options = FleetOptions { registries: vec![private.clone()], ..FleetOptions::default() };
    let fleet = Fleet::start_with(lab, "credentials", 1, options);
    // `base64 <<< robot:wrong` and `robot:secret`
    let log_in = |login: &str| {
        fs::create_dir_all(fleet.folder.join("docker")).unwrap();
        let config = serde_json::json!({ "auths": { &private: { "auth": login } } });
        fs::write(fleet.folder.join("docker/config.json"), config.to_string()).unwrap();
    };
    let web = Service::web(&format!("{private}/web:v2"), 2);

    log_in("cm9ib3Q6d3Jvbmc=");
    nothing_changes(&fleet, &web, &[&private]);
    log_in("cm9ib3Q6c2VjcmV0");
    fleet.deploy_ok(&web, "r2");
    fleet.wait_until_serving("v2", 2, Duration::from_secs(10));
    fleet.lab.script("registry.sh", &["down", "--port", "5001"]);
}

#[test]
fn a_full_disk_on_one_host_fails_the_pull_and_touches_nothing() {
    let lab = Lab::enter();
    let disk = lab.scratch("disk");
    let mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", windlass_tests::fleet::path(&disk)];
    assert!(std::process::Command::new(mount[0]).args(&mount[1..]).status().unwrap().success());
    let unmount = Unmount(disk.clone());
    let small = lab.host_with(3, &serde_json::json!({ "data-root": disk.join("engine") }));
    lab.script("images.sh", &["--pad", "64", "--only", "v1"]);
    let options = FleetOptions { more_hosts: vec![small], ..FleetOptions::default() };
    let fleet = Fleet::start_with(lab, "disk-full", 1, options);

    let big = fleet.lab.image("padded");
    nothing_changes(&fleet, &Service::web(&big, 2), &["h3"]);
    drop(fleet);
    drop(unmount);
}

/// A file system that goes when the scenario ends, however it ends.
struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
