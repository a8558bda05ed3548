//! Folders of the host that containers bind: a link put in the place of one, or of a part of the way to it, is followed by
//! no start, whoever starts: the agent, an agent that comes back, or the engine.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use windlass_tests::fleet::{FleetOptions, path};
use windlass_tests::{Fleet, Lab, Service, wait};

const NAME: &str = "binds";

fn bound(fleet: &Fleet, folder: &Path) -> Service {
    let volume = json!({ "data": { "mount": "/data", "host_path": path(folder) } });
    Service::web(&fleet.lab.image("v1"), 1).with("volumes", volume)
}

/// Waits until nothing of the service runs and `status` says why.
fn wait_until_refused(fleet: &Fleet, why: &str) {
    wait::until(&format!("nothing runs, and status says `{why}`"), Duration::from_secs(60), || {
        let running = fleet.hosts[0].engine.running("web").map_err(|error| format!("{error:#}"))?;
        assert!(
            running.iter().all(|seen| !leads_astray(fleet, &seen.id)),
            "a container has the link's target"
        );
        let status = fleet.status().to_string();
        if running.is_empty() && status.contains("policy") && status.contains(why) {
            Ok(())
        } else {
            Err(format!("{} run; {status}", running.len()))
        }
    });
}

/// Whether the first process of a container sees what the link leads to.
fn leads_astray(fleet: &Fleet, id: &str) -> bool {
    let seen = fleet.hosts[0].engine.inspect(id).unwrap_or(Value::Null);
    let Some(pid) = seen["State"]["Pid"].as_u64().filter(|pid| *pid > 0) else { return false };
    Path::new(&format!("/proc/{pid}/root/data/secret")).exists()
}

#[test]
fn no_start_follows_a_link_put_in_the_place_of_a_bind() {
    let lab = Lab::enter();
    let folder = lab.scratch_path(NAME);
    let policy = format!("mounts = [{:?}]\n", path(&folder.join("srv")));
    let mut fleet = Fleet::start_with(lab, NAME, 1, FleetOptions { policy, ..FleetOptions::default() });
    let (app, data) = (folder.join("srv/app"), folder.join("srv/app/data"));
    let victim = folder.join("victim");
    fs::create_dir_all(&data).unwrap();
    fs::create_dir_all(victim.join("data")).unwrap();
    fs::write(victim.join("secret"), "of the host").unwrap();
    fs::write(victim.join("data/secret"), "of the host").unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap(); // whoever writes in it swaps nothing
    let host = fleet.hosts[0].clone();

    // The way to the folder is not held: refused before anything is made, with what to do about it.
    fs::set_permissions(&app, fs::Permissions::from_mode(0o777)).unwrap();
    let end = fleet.deploy(&bound(&fleet, &data)).last();
    assert_eq!(end["outcome"], "failed", "{end}");
    let said = fleet.rollout().to_string();
    assert!(said.contains("chmod go-w") && said.contains(path(&app)), "{said}");
    assert!(host.engine.containers("web").unwrap().is_empty());
    fs::set_permissions(&app, fs::Permissions::from_mode(0o755)).unwrap();
    fleet.deploy_ok(&bound(&fleet, &data), "r2");
    let container = host.engine.running("web").unwrap().remove(0);
    let seen = host.engine.inspect(&container.id).unwrap();
    assert_eq!(seen["HostConfig"]["RestartPolicy"]["Name"], "no", "its restarts are the agent's");

    // A service that could write above it does not start beside it.
    let outer = bound(&fleet, &app).with("service", "outer").write(&fleet.folder, "outer.yaml");
    let end = fleet.cli.run(&["deploy", "-f", path(&outer), "--timeout", "2m", "-o", "json"]).last();
    assert_eq!(end["outcome"], "failed", "{end}");
    let said = fleet.cli.json(&["rollout", "show", "outer"]).to_string();
    assert!(said.contains("lies inside") && said.contains("read_only"), "{said}");
    assert!(host.engine.running("outer").unwrap().is_empty());

    // The folder becomes a link while the instance runs; then the instance dies.
    let swap = |from: &Path, to: &Path| {
        fs::rename(from, folder.join("srv/aside")).unwrap();
        symlink(to, from).unwrap();
    };
    let swap_back = |from: &Path| {
        fs::remove_file(from).unwrap();
        fs::rename(folder.join("srv/aside"), from).unwrap();
    };
    swap(&data, &victim);
    host.engine.ask("POST", &format!("/containers/{}/kill", container.id), "").unwrap();
    wait_until_refused(&fleet, "leads elsewhere");
    // The agent comes back, and the engine: neither follows it.
    fleet.agents[0].kill_9();
    fleet.lab.script("host.sh", &["engine-stop", &host.name]);
    fleet.lab.script("host.sh", &["engine-start", &host.name]);
    fleet.agents[0].start_again();
    wait_until_refused(&fleet, "leads elsewhere");
    swap_back(&data);
    fleet.wait_until_serving("v1", 1, Duration::from_secs(90));

    // A part of the way becomes a link, and the engine restarts in the middle of it.
    swap(&app, &victim);
    fleet.lab.script("host.sh", &["engine-kill", &host.name]);
    fleet.lab.script("host.sh", &["engine-start", &host.name]);
    wait_until_refused(&fleet, "leads elsewhere");
    swap_back(&app);
    fleet.wait_until_serving("v1", 1, Duration::from_secs(90));
    let status = fleet.status();
    assert_eq!(status["release"], "r2", "{status}");
}
