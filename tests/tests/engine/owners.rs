//! Files that only their owner reads, in an image that knows its user by name.

use std::fs;

use serde_json::json;
use windlass_tests::{Fleet, Service};

const PASSWD: &str = "root:x:0:0:root:/:/bin/sh\napp:x:1234:1235::/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nkeys:x:2000:\n";

/// Public report 14: a file of mode 0600 was unreadable for a user that only the image knows.
#[test]
fn a_private_file_is_read_by_the_named_user_of_its_image() {
    let fleet = Fleet::start("owners", 1);
    let host = fleet.hosts[0].clone();
    let tree = fleet.folder.join("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    for (name, text) in [("etc/passwd", PASSWD), ("etc/group", GROUP)] {
        fs::write(tree.join(name), text).unwrap();
    }
    let image = format!("users={}", tree.display());
    fleet.lab.script("images.sh", &["--registry", &fleet.lab.registry(), "--tree", &image]);
    let web = |user: &str, mode: &str| {
        let files = json!({ "/run/key": { "content": "a secret", "mode": mode }, "/run/all": { "content": "for all" } });
        let web = Service::web(&fleet.lab.image("users"), 1).with("soak", "0s");
        web.with("security.user", user).with("files", files)
    };
    let owner = |release: &str| -> Vec<String> {
        let port = fleet.wait_for_release(&host, release);
        let read = |path: &str| {
            let url = format!("http://{}:{port}/file?path={path}", host.address);
            host.run(&["curl", "--silent", "--fail", "--max-time", "5", &url])
        };
        assert_eq!((read("/run/key").trim(), read("/run/all").trim()), ("a secret", "for all"));
        let running = host.running_ids("web");
        let mounts = host.engine.inspect(&running[0]).unwrap()["Mounts"].clone();
        let sources = mounts.as_array().into_iter().flatten().filter_map(|mount| mount["Source"].as_str());
        let mut owners: Vec<String> = sources
            .map(|source| host.run(&["stat", "--format=%u:%g %a", source]).trim().to_owned())
            .collect();
        owners.sort();
        owners
    };
    fleet.deploy_ok(&web("app", "0600"), "r1");
    assert_eq!(owner("r1"), ["1234:1235 600", "1234:1235 644"]);
    fleet.deploy_ok(&web("app:keys", "0440"), "r2");
    assert_eq!(owner("r2"), ["1234:2000 440", "1234:2000 644"]);

    // Nobody can own the files of this one, and what runs stays.
    let before = host.running_ids("web");
    let refused = fleet.deploy(&web("ghost", "0600")).expect_code(3).to_string();
    assert!(refused.contains("has no number of the user `ghost`"), "{refused}");
    assert_eq!(host.running_ids("web"), before);
}
