//! Releases from submission to a final state.

use tonic::Code;
use windlass_core::release::Release;
use windlass_proto::pb;

use crate::agent::{Agent, Players};
use crate::fleet::{Fleet, until};
use crate::release::{release, signed};

/// A fleet of connected hosts.
pub(crate) async fn fleet_of(hosts: &[&str], broken: &[&Release]) -> (Fleet, Players) {
    let fleet = Fleet::start().await;
    let mut players = Players::default();
    for host in hosts {
        let mut agent = Agent::joined(&fleet, host).await;
        agent.broken = broken.iter().map(|release| digest(release)).collect();
        players.add(&fleet, agent).await;
    }
    for host in hosts {
        fleet.wait_for(host, "connected").await;
    }
    (fleet, players)
}

fn digest(release: &Release) -> windlass_core::Digest {
    windlass_core::Digest::of(&serde_json::to_vec(release).unwrap())
}

pub(crate) fn request(fleet: &Fleet, release: &Release) -> pb::SubmitReleaseRequest {
    let envelope = signed(release, &fleet.release_key).into();
    pb::SubmitReleaseRequest { envelope, ..Default::default() }
}

/// Submits, follows to the end, and answers with the outcome.
pub(crate) async fn deploy(fleet: &Fleet, release: &Release) -> String {
    let mut control = fleet.control("deployer/default").await;
    let started = control.submit_release(request(fleet, release)).await.unwrap().into_inner();
    if started.unchanged {
        return "unchanged".to_owned();
    }
    follow(fleet, &started.rollout).await
}

pub(crate) async fn follow(fleet: &Fleet, rollout: &str) -> String {
    let mut control = fleet.control("viewer/default").await;
    let request = pb::WatchRolloutRequest { rollout: rollout.to_owned() };
    let mut watch = control.watch_rollout(request).await.unwrap().into_inner();
    let mut last = serde_json::Value::Null;
    while let Some(view) = watch.message().await.unwrap() {
        last = serde_json::from_slice(&view.view).unwrap();
    }
    last["outcome"].as_str().expect("the last view has an outcome").to_owned()
}

pub(crate) async fn status(fleet: &Fleet) -> serde_json::Value {
    let mut control = fleet.control("viewer/*").await;
    let request = pb::GetStatusRequest { service: "default/web".to_owned() };
    let answer = control.get_status(request).await.unwrap().into_inner();
    serde_json::from_slice::<serde_json::Value>(&answer.view).unwrap()[0].take()
}

#[tokio::test]
async fn a_release_is_rolled_out_replaced_and_rolled_back() {
    let (fleet, _players) = fleet_of(&["web-1", "web-2"], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 2, "one")).await, "succeeded");
    let shown = status(&fleet).await;
    assert_eq!((&shown["release"], &shown["healthy"]), (&"r1".into(), &2.into()), "{shown}");

    assert_eq!(deploy(&fleet, &release(2, 2, "one")).await, "unchanged");
    assert_eq!(deploy(&fleet, &release(2, 2, "two")).await, "succeeded");

    let mut control = fleet.control("deployer/default").await;
    let request = pb::RollbackRequest { service: "default/web".to_owned(), to: String::new(), ask: false };
    let back = control.rollback(request).await.unwrap().into_inner();
    assert_eq!(back.release, "r1");
    assert_eq!(follow(&fleet, &back.rollout).await, "succeeded");
    assert_eq!(status(&fleet).await["release"], "r1");
    let request = pb::ListReleasesRequest { service: "default/web".to_owned() };
    let listed = control.list_releases(request).await.unwrap().into_inner();
    let releases: serde_json::Value = serde_json::from_slice(&listed.view).unwrap();
    assert_eq!((&releases[0]["good"], &releases[0]["held"]), (&true.into(), &true.into()), "{releases}");
    assert_eq!((&releases[1]["good"], &releases[1]["held"]), (&true.into(), &serde_json::Value::Null));
}

#[tokio::test]
async fn a_deploy_without_a_host_says_how_to_add_one() {
    let (fleet, _players) = fleet_of(&[], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 1, "one")).await, "failed");
    let shown = status(&fleet).await;
    let ended = shown["ended"].as_str().unwrap();
    assert!(ended.starts_with("r1 failed: no host takes it: the fleet has no hosts"), "{shown}");
    assert!(ended.contains("windlass host token HOST"), "{shown}");
    let mut control = fleet.control("deployer/default").await;
    let request = pb::ListReleasesRequest { service: "default/web".to_owned() };
    let listed = control.list_releases(request).await.unwrap().into_inner();
    let releases: serde_json::Value = serde_json::from_slice(&listed.view).unwrap();
    assert_eq!((&releases[0]["good"], &releases[0]["outcome"]), (&false.into(), &"failed".into()));
}

#[tokio::test]
async fn a_rollback_said_twice_goes_back_once() {
    let (fleet, players) = fleet_of(&["web-1", "web-2"], &[]).await;
    for (counter, content) in [(1, "one"), (2, "two")] {
        assert_eq!(deploy(&fleet, &release(counter, 2, content)).await, "succeeded");
    }
    let mut control = fleet.control("deployer/default").await;
    // Nobody answers any more, so that nothing ends between the two.
    drop(players);
    control.submit_release(request(&fleet, &release(3, 2, "three"))).await.unwrap();
    let back = || pb::RollbackRequest { service: "default/web".to_owned(), to: String::new(), ask: false };
    let first = control.rollback(back()).await.unwrap().into_inner();
    let second = control.rollback(back()).await.unwrap().into_inner();
    assert_eq!((first.release.as_str(), first.rollout), ("r2", second.rollout));
}

#[tokio::test]
async fn a_rollback_said_while_it_is_aborted_is_meant_once_more() {
    let (fleet, players) = fleet_of(&["web-1", "web-2"], &[]).await;
    for (counter, content) in [(1, "one"), (2, "two"), (3, "three")] {
        assert_eq!(deploy(&fleet, &release(counter, 2, content)).await, "succeeded");
    }
    let mut control = fleet.control("deployer/default").await;
    drop(players);
    let back = || pb::RollbackRequest { service: "default/web".to_owned(), to: String::new(), ask: false };
    let first = control.rollback(back()).await.unwrap().into_inner();
    let abort = pb::SteerRolloutRequest {
        rollout: first.rollout,
        action: pb::RolloutAction::Abort.into(),
        ..Default::default()
    };
    control.steer_rollout(abort).await.unwrap();
    let second = control.rollback(back()).await.unwrap().into_inner();
    assert_eq!((first.release.as_str(), second.release.as_str()), ("r2", "r2"));
}

#[tokio::test]
async fn a_refused_rollback_names_the_release_that_served_last() {
    let (fleet, _players) = fleet_of(&["web-1", "web-2"], &[]).await;
    for (counter, content) in [(1, "one"), (2, "two"), (3, "three"), (4, "four")] {
        assert_eq!(deploy(&fleet, &release(counter, 2, content)).await, "succeeded");
    }
    let mut control = fleet.control("deployer/default").await;
    for (to, arrives) in [("", "r3"), ("", "r2"), ("", "r1"), ("r3", "r3"), ("r4", "r4")] {
        let request =
            pb::RollbackRequest { service: "default/web".to_owned(), to: to.to_owned(), ask: false };
        let back = control.rollback(request).await.unwrap().into_inner();
        assert_eq!(back.release, arrives);
        assert_eq!(follow(&fleet, &back.rollout).await, "succeeded");
    }
    let again = pb::RollbackRequest { service: "default/web".to_owned(), to: String::new(), ask: false };
    let refused = control.rollback(again).await.unwrap_err();
    assert!(refused.message().contains("nobody rolled back from"), "{refused}");
    let hint = refused.metadata().get("windlass-hint").unwrap().to_str().unwrap().to_owned();
    assert!(hint.contains("rolled back from r3, r1, r2; r3 served last: go to it"), "{hint}");
    assert!(hint.ends_with("`windlass rollback default/web --to r3`"), "{hint}");
}

#[tokio::test]
async fn a_deploy_during_a_rollout_is_told_which_and_what_to_do() {
    let (fleet, players) = fleet_of(&["web-1", "web-2"], &[]).await;
    drop(players);
    let mut control = fleet.control("deployer/default").await;
    let first = control.submit_release(request(&fleet, &release(1, 2, "one"))).await.unwrap().into_inner();
    let refused = control.submit_release(request(&fleet, &release(2, 2, "two"))).await.unwrap_err();
    assert!(refused.message().contains("is active: to r1, asked for by "), "{refused}");
    let hint = refused.metadata().get("windlass-hint").unwrap().to_str().unwrap().to_owned();
    for way in ["rollout watch", "rollout abort", "--supersede"] {
        assert!(hint.contains(way), "{way}: {hint}");
    }
    assert!(hint.contains(&first.rollout), "{hint}");
}

#[tokio::test]
async fn a_release_that_fails_on_a_host_is_rolled_back_everywhere() {
    let bad = release(2, 2, "bad");
    let (fleet, _players) = fleet_of(&["web-1", "web-2"], &[&bad]).await;
    assert_eq!(deploy(&fleet, &release(1, 2, "one")).await, "succeeded");
    assert_eq!(deploy(&fleet, &bad).await, "rolled_back");
    until("r1 serves again", async || status(&fleet).await["serving"]["r1"] == 2).await;
}

#[tokio::test]
async fn a_release_must_be_signed_numbered_and_allowed() {
    let (fleet, _players) = fleet_of(&["web-1"], &[]).await;
    let mut control = fleet.control("deployer/default").await;
    let forged = {
        let stranger = windlass_certs::keys::SigningKey::generate().unwrap();
        let envelope = signed(&release(1, 1, "one"), &stranger).into();
        pb::SubmitReleaseRequest { envelope, ..Default::default() }
    };
    let refused = control.submit_release(forged).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("unknown_key"), "{}", refused.message());

    let skipped = control.submit_release(request(&fleet, &release(2, 1, "one"))).await.unwrap_err();
    assert_eq!(skipped.code(), Code::Aborted);
    let mut elsewhere = fleet.control("deployer/other").await;
    let refused = elsewhere.submit_release(request(&fleet, &release(1, 1, "one"))).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    let first = control.submit_release(request(&fleet, &release(1, 1, "one"))).await.unwrap().into_inner();
    let again = control.submit_release(request(&fleet, &release(1, 1, "one"))).await.unwrap().into_inner();
    assert!(again.rollout == first.rollout || again.unchanged, "an answer that was lost is given again");
    let reused = control.submit_release(request(&fleet, &release(1, 1, "other"))).await.unwrap_err();
    assert_eq!(reused.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn a_second_deploy_is_refused_unless_it_supersedes() {
    // Nobody plays the host's part, so that the first one stays active.
    let fleet = Fleet::start().await;
    let agent = Agent::joined(&fleet, "web-1").await;
    let _link = agent.connect(&fleet).await.unwrap();
    fleet.wait_for("web-1", "connected").await;
    let mut control = fleet.control("deployer/default").await;
    let first = control.submit_release(request(&fleet, &release(1, 1, "one"))).await.unwrap().into_inner();
    let refused = control.submit_release(request(&fleet, &release(2, 1, "two"))).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.metadata().get("windlass-hint").unwrap().to_str().unwrap().contains("--supersede"));
    let forced = pb::SubmitReleaseRequest { supersede: true, ..request(&fleet, &release(2, 1, "two")) };
    control.submit_release(forced).await.unwrap();
    assert_eq!(follow(&fleet, &first.rollout).await, "superseded");
}

#[tokio::test]
async fn a_rollout_pauses_and_goes_on_as_told() {
    let fleet = Fleet::start().await;
    let agent = Agent::joined(&fleet, "web-1").await;
    let link = agent.connect(&fleet).await.unwrap();
    fleet.wait_for("web-1", "connected").await;
    let mut control = fleet.control("deployer/default").await;
    let started = control.submit_release(request(&fleet, &release(1, 1, "one"))).await.unwrap().into_inner();
    let steer = |action: pb::RolloutAction| pb::SteerRolloutRequest {
        rollout: "default/web".to_owned(),
        action: action.into(),
        ..Default::default()
    };
    control.steer_rollout(steer(pb::RolloutAction::Pause)).await.unwrap();
    assert_eq!(follow(&fleet, &started.rollout).await, "paused");
    let mut playing = tokio::task::JoinSet::new();
    playing.spawn(crate::agent::play(agent, link));
    control.steer_rollout(steer(pb::RolloutAction::Resume)).await.unwrap();
    assert_eq!(follow(&fleet, &started.rollout).await, "succeeded");
    let late = control.steer_rollout(steer(pb::RolloutAction::Abort)).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_preview_changes_nothing_and_binds_a_deploy_to_it() {
    let (fleet, mut players) = fleet_of(&["web-1"], &[]).await;
    let mut control = fleet.control("deployer/default").await;
    let wanted = release(1, 1, "one");
    let payload = serde_json::to_vec(&wanted).unwrap();
    let preview = pb::PreviewRequest { release: payload.into(), retry_quarantined: false };
    let view = control.preview(preview).await.unwrap().into_inner().view;
    let view: serde_json::Value = serde_json::from_slice(&view).unwrap();
    assert_eq!(view["slots"][0]["action"], "create", "{view}");
    players.add(&fleet, Agent::joined(&fleet, "web-2").await).await;
    fleet.wait_for("web-2", "connected").await;
    let stale = pb::SubmitReleaseRequest {
        preview: windlass_core::Digest::of(b"another plan").to_string(),
        ..request(&fleet, &wanted)
    };
    assert_eq!(control.submit_release(stale).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(deploy(&fleet, &wanted).await, "succeeded");
}

/// A release that stops at half of its instances until somebody approves.
fn halfway(counter: u64, content: &str) -> Release {
    let mut release = release(counter, 2, content);
    release.version = 4;
    release.spec.ports.clear();
    release.spec.main_port = None;
    release.spec.health = windlass_core::release::Health::default();
    release.spec.strategy = serde_json::from_value(serde_json::json!({ "canary": {
        "steps": [{ "weight": 500, "approve": true }, { "weight": 1000 }],
        "min_instances": 1, "keep_old": "0s", "min_ready": "100ms"
    } }))
    .unwrap();
    release
}

#[tokio::test]
async fn another_operator_approves_what_the_rollout_asks() {
    let (fleet, _players) = fleet_of(&["web-1", "web-2"], &[]).await;
    assert_eq!(deploy(&fleet, &halfway(1, "one")).await, "succeeded");
    let second = halfway(2, "two");
    let mut control = fleet.control("deployer/default").await;
    let started = control.submit_release(request(&fleet, &second)).await.unwrap().into_inner();
    let show = async |rollout: &str| {
        let mut control = fleet.control("viewer/*").await;
        let request = pb::GetRolloutRequest { rollout: rollout.to_owned() };
        let view = control.get_rollout(request).await.unwrap().into_inner().view;
        serde_json::from_slice::<serde_json::Value>(&view).unwrap()
    };
    until("it asks", async || !show(&started.rollout).await["asks"].is_null()).await;
    let asked = show(&started.rollout).await["asks"].take();
    assert_eq!(asked, serde_json::json!({ "step": 1, "release": digest(&second) }));
    let approve = |step: u32, release: windlass_core::Digest| pb::SteerRolloutRequest {
        rollout: started.rollout.clone(),
        action: pb::RolloutAction::Approve.into(),
        step,
        release: release.to_string(),
        ..Default::default()
    };
    let promote = |at: u32| pb::SteerRolloutRequest {
        rollout: started.rollout.clone(),
        action: pb::RolloutAction::Promote.into(),
        at: Some(at),
        ..Default::default()
    };
    // A deployer neither approves nor goes on without.
    let denied = control.steer_rollout(promote(1)).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied, "{denied}");
    assert!(denied.message().contains("role `approver`"), "{denied}");
    let full = pb::SteerRolloutRequest { action: pb::RolloutAction::PromoteFull.into(), ..promote(1) };
    assert_eq!(control.steer_rollout(full).await.unwrap_err().code(), Code::PermissionDenied);
    let zoe = fleet.channel(&fleet.named_operator("zoe", "deployer/default")).await.unwrap();
    let mut zoe = pb::control_client::ControlClient::new(zoe);
    let denied = zoe.steer_rollout(approve(1, digest(&second))).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied, "{denied}");
    let elsewhere = fleet.channel(&fleet.named_operator("pat", "approver/other")).await.unwrap();
    let mut elsewhere = pb::control_client::ControlClient::new(elsewhere);
    let denied = elsewhere.steer_rollout(approve(1, digest(&second))).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied, "of another environment: {denied}");
    let author = second.author.to_string();
    let author = fleet.channel(&fleet.named_operator(&author, "approver/default")).await.unwrap();
    let mut author = pb::control_client::ControlClient::new(author);
    let denied = author.steer_rollout(approve(1, digest(&second))).await.unwrap_err();
    assert!(denied.message().contains("somebody else has to approve it"), "{denied}");
    let mut control = fleet.control("approver/default").await;
    let late = control.steer_rollout(promote(0)).await.unwrap_err();
    assert!(late.message().contains("it was meant for step 0, and the rollout is at step 1"), "{late}");
    let refused = control.steer_rollout(approve(1, digest(&second))).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "alice asked for the rollout: {refused}");
    let bob = fleet.channel(&fleet.named_operator("bob", "approver/default")).await.unwrap();
    let mut bob = pb::control_client::ControlClient::new(bob);
    for (step, release) in [(0, digest(&second)), (2, digest(&second)), (1, digest(&halfway(1, "one")))] {
        let refused = bob.steer_rollout(approve(step, release)).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{step}: {refused}");
    }
    let eve = fleet.channel(&fleet.named_operator("eve", "viewer/default")).await.unwrap();
    let mut eve = pb::control_client::ControlClient::new(eve);
    let refused = eve.steer_rollout(approve(1, digest(&second))).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "a viewer approves nothing: {refused}");
    bob.steer_rollout(approve(1, digest(&second))).await.unwrap();
    assert_eq!(follow(&fleet, &started.rollout).await, "succeeded");
    let late = bob.steer_rollout(approve(1, digest(&second))).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition, "it is over: {late}");
}

/// As every host refuses it: its rollout could only fail.
#[tokio::test]
async fn a_release_dated_in_the_future_is_refused() {
    let (fleet, _players) = fleet_of(&["web-1"], &[]).await;
    let mut early = release(1, 1, "one");
    early.created_at = windlass_core::Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
        + std::time::Duration::from_secs(3600);
    let mut control = fleet.control("deployer/default").await;
    let refused = control.submit_release(request(&fleet, &early)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("the release is dated"), "{refused:?}");
    assert_eq!(deploy(&fleet, &release(1, 1, "one")).await, "succeeded", "its number was not used up");
}

#[tokio::test]
async fn a_follower_hears_of_a_wait_that_ends_by_the_clock() {
    let (fleet, _players) = fleet_of(&["web-1", "web-2"], &[]).await;
    assert_eq!(deploy(&fleet, &halfway(1, "one")).await, "succeeded");
    let mut second = halfway(2, "two");
    second.spec.strategy = serde_json::from_value(serde_json::json!({ "canary": {
        "steps": [{ "weight": 500, "hold": "3s", "approve": true }, { "weight": 1000 }],
        "min_instances": 1, "keep_old": "0s", "min_ready": "100ms"
    } }))
    .unwrap();
    let mut control = fleet.control("deployer/default").await;
    let started = control.submit_release(request(&fleet, &second)).await.unwrap().into_inner();
    let mut control = fleet.control("viewer/default").await;
    let request = pb::WatchRolloutRequest { rollout: started.rollout };
    let mut watch = control.watch_rollout(request).await.unwrap().into_inner();
    let mut waits = Vec::new();
    let asked = tokio::time::timeout(crate::fleet::LIMIT, async {
        loop {
            let view = watch.message().await.unwrap().expect("the rollout goes on").view;
            let view: serde_json::Value = serde_json::from_slice(&view).unwrap();
            waits.push(view["waiting"].to_string());
            if !view["asks"].is_null() {
                return;
            }
        }
    });
    assert!(asked.await.is_ok(), "it waits for approval, and the follower heard only of {waits:?}");
}
