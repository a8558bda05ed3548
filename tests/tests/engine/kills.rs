//! Instances and ingresses that are killed under load, and instances that behave badly: requests that are lost are those that
//! were under way and that nobody may repeat, and they are counted.

use std::time::{Duration, Instant};

use serde_json::json;
use windlass_tests::ingress::{self, NAME};
use windlass_tests::{Fleet, Host, Load, Process, Service, wait};

const LONG: Duration = Duration::from_secs(60);

fn web(fleet: &Fleet, tag: &str) -> Service {
    let web = Service::web(&fleet.lab.image(tag), 2);
    web.with("route", json!({ "host": NAME, "port": "http" })).with("soak", "0s")
}

/// Ends the instance on a host, and waits until requests go to the one that the engine starts in its place.
fn kill_instance(edge: &Host, host: &Host) {
    let before = host.engine.running("web").unwrap();
    host.engine.end(&before[0].id).unwrap();
    let up = || ingress::metric(edge, "windlass_ingress_endpoint_up", &["service="]);
    wait::until("it is started again and gets requests", LONG, || {
        let (serving, up) = (host.serving("web").len(), up());
        if serving == 1 && up >= 2.0 { Ok(()) } else { Err(format!("{serving} serve, {up} get requests")) }
    });
}

#[test]
fn a_kill_costs_only_requests_under_way_that_nobody_may_repeat() {
    let mut fleet = Fleet::start("kills", 2);
    let (edge, other) = (fleet.hosts[0].clone(), fleet.hosts[1].clone());
    let (at, at_other) = (format!("{}:80", edge.address), format!("{}:80", other.address));
    let mut proxy = ingress::start(&fleet, &edge, "ingress-1.log");
    let mut second = ingress::start(&fleet, &other, "ingress-2.log");
    fleet.deploy_ok(&web(&fleet, "v1"), "r1");
    ingress::wait_until_routed(&at, "v1");
    ingress::wait_until_routed(&at_other, "v1");

    // Instances are killed. What has no body is asked elsewhere; the rest is answered by 502, or cut, and counted.
    let gets = Load::begin(&at, NAME, "/version", 300);
    let posts = Load::posts(&at, NAME, "/slow?ms=200", 60);
    for host in [&other, &edge] {
        let before = posts.answered();
        wait::until("requests are under way", LONG, || {
            if posts.answered() >= before + 30 { Ok(()) } else { Err(String::new()) }
        });
        kill_instance(&edge, host);
    }
    let (gets, posts) = (gets.end(), posts.end());
    gets.expect_none_lost();
    let counted = |name: &str| ingress::metric(&edge, name, &["service=\"default/web\""]);
    let own = counted("windlass_ingress_own_answers_total");
    let cut = counted("windlass_ingress_cut_total");
    println!(
        "{} GETs, none lost; of {} POSTs {} under way were lost, {own} answered by the ingress, {cut} cut; {} tries more",
        gets.answered(),
        posts.answered() + posts.failed,
        posts.failed,
        counted("windlass_ingress_retries_total"),
    );
    assert!((1..=32).contains(&posts.failed), "those under way: {} {:#?}", posts.failed, posts.first);
    assert_eq!(posts.refused, 0);
    assert!((own + cut - posts.failed as f64).abs() < 0.5, "both sides count the same");
    let why = |failure: &&String| !failure.contains("502") && !failure.contains("cut");
    assert_eq!(posts.first.iter().find(why), None, "nothing else failed");

    // An ingress is killed, and begins again by what it wrote down, with nobody to ask. The other one goes on.
    let (here, there) =
        (Load::begin(&at, NAME, "/slow?ms=50", 100), Load::begin(&at_other, NAME, "/version", 200));
    let until = |load: &Load, more: u64| {
        let before = load.answered();
        wait::until("requests are answered", LONG, || {
            if load.answered() >= before + more { Ok(()) } else { Err(String::new()) }
        });
    };
    until(&here, 200);
    fleet.server.kill_9();
    fleet.agents[0].kill_9();
    proxy.kill_9();
    proxy.start_again();
    until(&here, 200);
    let (here, there) = (here.end(), there.end());
    there.expect_none_lost();
    let under_way = here.failed - here.refused;
    println!("of {} requests {under_way} were under way, {} found nobody", here.answered(), here.refused);
    // For each client the one that was sent, and one more that waited to be accepted while the process ended.
    assert!(under_way <= 32, "two for each client: {:#?}", here.first);
    second.stop(Duration::from_secs(40));
    proxy.stop(Duration::from_secs(40));
}

/// A process that was stopped: connections to it stand, and it says nothing. Nobody but the ingress is there to see it.
#[test]
fn an_instance_that_hangs_costs_no_request() {
    let mut fleet = Fleet::start("hangs", 2);
    let (edge, other) = (fleet.hosts[0].clone(), fleet.hosts[1].clone());
    let at = format!("{}:80", edge.address);
    let mut proxy = ingress::start(&fleet, &edge, "ingress.log");
    fleet.deploy_ok(&web(&fleet, "v1"), "r1");
    ingress::wait_until_routed(&at, "v1");
    let up = || ingress::metric(&edge, "windlass_ingress_endpoint_up", &["service=\"default/web\""]);
    let until_up = |wanted: f64| {
        let asked_at = Instant::now();
        wait::until("the ingress has seen it", LONG, || {
            let up = up();
            if (up - wanted).abs() < 0.5 { Ok(()) } else { Err(format!("{up} get requests")) }
        });
        asked_at.elapsed()
    };
    until_up(2.0);
    fleet.server.kill_9();
    fleet.agents.iter_mut().for_each(Process::kill_9);

    let (gets, posts) = (Load::begin(&at, NAME, "/version", 500), Load::posts(&at, NAME, "/version", 20));
    let until = |load: &Load, more: u64| {
        let before = load.answered();
        wait::until("requests are answered", LONG, || {
            if load.answered() >= before + more { Ok(()) } else { Err(format!("{}", load.answered())) }
        });
    };
    until(&gets, 1000);
    let instance = other.engine.running("web").unwrap().remove(0).id;
    other.engine.freeze(&instance).unwrap();
    let seen = until_up(1.0);
    // All that had been sent there was asked of the other one: those that ask GET are all back.
    until(&gets, 1000);
    let counted = |name: &str| ingress::metric(&edge, name, &["service=\"default/web\""]);
    let moved = counted("windlass_ingress_retries_total");
    other.engine.thaw(&instance).unwrap();
    let back = until_up(2.0);
    until(&posts, 20);
    let (gets, posts) = (gets.end(), posts.end());
    println!(
        "left out {seen:?} after it hung, back {back:?} after it went on; of {} requests {moved} were asked again",
        gets.answered() + posts.answered()
    );
    gets.expect_none_lost();
    posts.expect_none_lost();
    assert!(moved >= 1.0, "some were on it");
    proxy.stop(Duration::from_secs(40));
}

/// They answer piece by piece, and close connections that are idle for 5 s, as Node does.
#[test]
fn instances_that_trickle_and_close_cost_no_request() {
    let fleet = Fleet::start("manners", 2);
    let edge = fleet.hosts[0].clone();
    let at = format!("{}:80", edge.address);
    let mut proxy = ingress::start(&fleet, &edge, "ingress.log");
    let ill = web(&fleet, "v1").with("env.TRICKLE_MS", "1").with("env.IDLE_CLOSE_MS", "5000");
    fleet.deploy_ok(&ill, "r1");
    ingress::wait_until_routed(&at, "v1");
    // Each client of the second kind comes back after about 5 s, when the instance closes what it does not use.
    let (gets, posts) = (Load::of_many(&at, NAME, "/version", 500), Load::posts(&at, NAME, "/version", 3));
    let enough = |load: &Load, more: u64| {
        let before = load.answered();
        wait::until("requests are answered", LONG, || {
            if load.answered() >= before + more { Ok(()) } else { Err(format!("{}", load.answered())) }
        });
    };
    enough(&posts, 32);
    enough(&gets, 500);
    fleet.deploy_ok(&web(&fleet, "v2").with("env.TRICKLE_MS", "1"), "r2");
    for load in [gets, posts] {
        let answers = load.end();
        println!("{} requests in {:?}: {:?}", answers.answered(), answers.took, answers.whole);
        answers.expect_none_lost();
    }
    proxy.stop(Duration::from_secs(40));
}
