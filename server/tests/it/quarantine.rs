//! Contents that failed: what a plan says of them, and how one starts again.

use serde_json::Value;
use tonic::Code;
use windlass_core::release::Release;
use windlass_proto::pb;

use crate::fleet::{Fleet, seal_trust};
use crate::release::release;
use crate::rollouts::{deploy, fleet_of, follow, request};

async fn list(fleet: &Fleet) -> Value {
    let mut control = fleet.control("viewer/default").await;
    let asked = pb::ListQuarantineRequest { service: "default/web".to_owned() };
    serde_json::from_slice(&control.list_quarantine(asked).await.unwrap().into_inner().view).unwrap()
}

/// The plan of a release.
pub(crate) async fn plan(fleet: &Fleet, release: &Release, retry_quarantined: bool) -> Value {
    let mut control = fleet.control("viewer/default").await;
    let payload = serde_json::to_vec(release).unwrap().into();
    let asked = pb::PreviewRequest { release: payload, retry_quarantined };
    serde_json::from_slice(&control.preview(asked).await.unwrap().into_inner().view).unwrap()
}

async fn clear(fleet: &Fleet, release: &str) -> Result<Value, tonic::Status> {
    let mut control = fleet.control("deployer/default").await;
    let asked = pb::ClearQuarantineRequest { service: "default/web".to_owned(), release: release.to_owned() };
    let answer = control.clear_quarantine(asked).await?.into_inner();
    Ok(serde_json::from_slice(&answer.view).unwrap())
}

#[tokio::test]
async fn a_plan_knows_the_quarantine_until_it_is_cleared() {
    let bad = release(2, 2, "bad");
    let (fleet, _players) = fleet_of(&["web-1", "web-2"], &[&bad]).await;
    assert_eq!(deploy(&fleet, &release(1, 2, "one")).await, "succeeded");
    assert_eq!(list(&fleet).await, serde_json::json!([]));
    assert_eq!(deploy(&fleet, &bad).await, "rolled_back");

    let found = list(&fleet).await;
    assert_eq!((found.as_array().unwrap().len(), &found[0]["release"]), (1, &"r2".into()), "{found}");
    assert!(!found[0]["hosts"].as_array().unwrap().is_empty() && found[0]["reason"] != "", "{found}");
    let again = release(3, 2, "bad");
    let planned = plan(&fleet, &again, false).await;
    let error = planned["error"].as_str().unwrap();
    assert!(error.starts_with("quarantined on web-") && error.contains("failed there as r2 ("), "{error}");
    assert!(error.contains("`windlass quarantine clear default/web@r2`"), "{error}");
    assert!(
        plan(&fleet, &again, true).await["error"].is_null(),
        "as `deploy --retry-quarantined` would do it"
    );
    assert!(plan(&fleet, &release(3, 2, "three"), false).await["error"].is_null(), "other content is free");

    let submitted = fleet.control("deployer/default").await.submit_release(request(&fleet, &again)).await;
    let refused = submitted.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, error), "as the plan said");
    assert_eq!(list(&fleet).await.as_array().unwrap().len(), 1, "no rollout has begun");

    assert_eq!(clear(&fleet, "r9").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(clear(&fleet, "r1").await.unwrap(), serde_json::json!([]), "r1 never failed");
    assert_eq!(clear(&fleet, "r2").await.unwrap().as_array().unwrap().len(), 1);
    assert_eq!(list(&fleet).await, serde_json::json!([]));
    let planned = plan(&fleet, &again, false).await;
    assert!(planned["error"].is_null(), "{planned}");

    // A deploy without a flag, bound to that plan, starts it as with one.
    let mut control = fleet.control("deployer/default").await;
    let preview = planned["digest"].as_str().unwrap().to_owned();
    let asked = pb::SubmitReleaseRequest { preview, ..request(&fleet, &again) };
    let started = control.submit_release(asked).await.unwrap().into_inner();
    let asked = pb::ExplainRolloutRequest { rollout: started.rollout.clone() };
    let told = control.explain_rollout(asked).await.unwrap().into_inner().view;
    let told = String::from_utf8(told.to_vec()).unwrap();
    assert!(told.contains("content that failed before may start"), "{told}");
    assert_eq!(follow(&fleet, &started.rollout).await, "succeeded");
    assert_eq!(list(&fleet).await, serde_json::json!([]), "it is good now");
}

#[tokio::test]
async fn a_plan_knows_the_floor_of_the_trust_document() {
    let (fleet, _players) = fleet_of(&["web-1"], &[]).await;
    assert!(plan(&fleet, &release(1, 1, "one"), false).await["error"].is_null());
    let mut next = fleet.document.clone();
    next.version = 2;
    next.floors.insert("default/web".parse().unwrap(), windlass_core::Counter(5));
    let published = pb::PublishTrustRequest { envelope: seal_trust(&next, &[&fleet.root]).into() };
    fleet.control("admin/*").await.publish_trust(published).await.unwrap();
    let error = plan(&fleet, &release(1, 1, "one"), false).await["error"].take();
    assert_eq!(error, "r1 of `default/web` is below its floor r5");
    assert!(plan(&fleet, &release(5, 1, "one"), false).await["error"].is_null());
}

/// A person who rolls back holds the content that he left: `plan` says so of a release with the same content.
#[tokio::test]
async fn a_plan_knows_what_a_person_rolled_back_from() {
    let (fleet, _players) = fleet_of(&["web-1"], &[]).await;
    for (counter, content) in [(1, "one"), (2, "two")] {
        assert_eq!(deploy(&fleet, &release(counter, 1, content)).await, "succeeded");
    }
    let back = pb::RollbackRequest { service: "default/web".to_owned(), to: String::new(), ask: false };
    let back = fleet.control("deployer/default").await.rollback(back).await.unwrap().into_inner();
    assert_eq!(follow(&fleet, &back.rollout).await, "succeeded");
    let warnings = |view: Value| view["warnings"].to_string();
    let held = "a person rolled back from this content before";
    assert!(warnings(plan(&fleet, &release(3, 1, "two"), false).await).contains(held));
    assert!(!warnings(plan(&fleet, &release(3, 1, "three"), false).await).contains(held));
}
