//! Lines of single instances.

use super::*;

#[test]
fn gpus_of_instances_stand_on_a_line_each() {
    let mut status = status_view();
    status["instances"][0]["gpus"] = json!(["GPU-1", "GPU-2"]);
    status["instances"][1]["gpus"] = json!(["GPU-3"]);
    let said = service(&view(status), None, now(), Colour::Off);
    assert!(
        said.contains("\nslot 0 on web-0, r2: GPU GPU-1, GPU-2\nslot 1 on web-1, r1: GPU GPU-3\n"),
        "{said}"
    );
}

#[test]
fn instances_of_a_lost_host_are_unknown_and_not_nothing() {
    let mut status = status_view();
    status["serving"] = json!({});
    status["instances"][0]["state"] = json!("healthy");
    status["instances"][0]["host_state"] = json!("lost");
    let said = |status: &Value| services(&[view(status.clone())], None, Colour::Off);
    let release = status["instances"][0]["release"].as_str().unwrap().to_owned();
    assert!(said(&status).contains(&format!("unknown (last: 1 × {release})")), "{}", said(&status));
    status["serving"] = json!({ "r9": 2 });
    assert!(said(&status).contains(&format!("2 × r9, unknown (last: 1 × {release})")), "{}", said(&status));
}
