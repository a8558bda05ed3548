//! A trust document that has expired, and the way back.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::coordinator::{Coordinator, Script};
use crate::{Desk, stderr, stdout};

/// A fleet whose trust document, version 2, has expired.
fn expired() -> Desk {
    let desk = Desk::with_fleet();
    let second = "home/fleets/demo/trust/2.json";
    let made = desk.json(&["trust", "renew", "--expires", "1s", "--out", second, "-o", "json"]);
    assert_eq!((&made["state"], &made["version"]), (&json!("signed"), &json!(2)), "{made}");
    let at = desk.json(&["trust", "show", "--offline", "-o", "json"])["expires_at"].clone();
    let at: jiff::Timestamp = at.as_str().unwrap().parse().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while jiff::Timestamp::now() < at {
        assert!(Instant::now() < deadline, "it expires at {at}");
        std::thread::sleep(Duration::from_millis(20));
    }
    desk
}

#[test]
fn an_expired_document_is_renewed_with_the_same_keys() {
    let desk = expired();
    desk.write("web.yaml", &format!("service: web\nimage: reg.example.com/web@sha256:{}\n", "a".repeat(64)));
    let sign = ["release", "sign", "-f", "web.yaml", "--counter", "1", "--out", "web.json"];
    desk.run(&sign);
    let verify = ["release", "verify", "web.json"];
    let refused = desk.run(&verify);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("windlass trust renew --expires 365d"), "{}", stderr(&refused));
    let before = desk.json(&["trust", "show", "--offline", "-o", "json"]);
    let third = "home/fleets/demo/trust/3.json";
    let made = desk.json(&["trust", "renew", "--out", third, "-o", "json"]);
    assert_eq!((&made["state"], &made["version"]), (&json!("signed"), &json!(3)), "{made}");
    let after = desk.json(&["trust", "show", "--offline", "-o", "json"]);
    assert_eq!((&before["root"], &before["roles"]), (&after["root"], &after["roles"]));
    assert!(desk.run(&sign).status.success());
    let taken = desk.run(&verify);
    assert!(taken.status.success(), "{}", stderr(&taken));
}

#[test]
fn more_time_alone_is_a_change_of_the_trust_document() {
    let desk = expired();
    let key = desk.path("home/fleets/demo/release.key");
    let add = |more: &[&str]| {
        let args = ["trust", "add-key", key.to_str().unwrap(), "--everywhere", "--out", "n.json"];
        desk.run(&[&args[..], more].concat())
    };
    let nothing = add(&[]);
    assert!(nothing.status.success() && !desk.path("n.json").exists());
    let text = stdout(&nothing);
    assert!(
        text.contains("nothing to change") && text.contains("expired at") && text.contains("trust renew"),
        "{text}"
    );
    let more = add(&["--expires", "365d"]);
    assert!(stdout(&more).contains("new releases are taken until"), "{}{}", stdout(&more), stderr(&more));
    desk.json(&["trust", "verify", "n.json", "-o", "json"]);
}

#[test]
fn publishing_the_version_in_force_is_no_success_if_expired() {
    let desk = expired();
    let coordinator = Coordinator::start(&desk, Script::default());
    let publish = |more: &[&str]| {
        let args = ["trust", "publish", "home/fleets/demo/trust/2.json", "--server", &coordinator.address];
        desk.run(&[&args[..], more].concat())
    };
    let again = publish(&[]);
    assert_eq!(again.status.code(), Some(1), "{}", stdout(&again));
    assert!(stdout(&again).starts_with("unchanged: version 2"), "{}", stdout(&again));
    assert!(stderr(&again).contains("trust renew --expires 365d"), "{}", stderr(&again));
    let json: serde_json::Value = serde_json::from_slice(&publish(&["-o", "json"]).stdout).unwrap();
    assert_eq!(json["state"], "unchanged");
    assert!(json["expired"].is_string(), "{json}");
}
