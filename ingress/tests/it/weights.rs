//! Shares of requests by release.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinSet;
use windlass_core::traffic::{Match, MatchOn};
use windlass_ingress::{Limits, Population};

use super::world::*;

#[tokio::test]
async fn the_share_of_a_candidate_equals_its_weight() {
    let mut tasks = JoinSet::new();
    let (old, new) = (server(&mut tasks, "old").await, server(&mut tasks, "new").await);
    let world = World::start(Limits::default()).await;
    let table = |seq, weight| {
        routes(seq, &[(2, Some(weight)), (1, Some(1000 - weight))], vec![endpoint(new, 2), endpoint(old, 1)])
    };
    world.ingress.take(table(1, 200)).unwrap();
    let mut client = RawClient::connect(world.address).await;
    for _ in 0..2000 {
        client.write("GET / HTTP/1.1\r\nHost: web.example\r\n\r\n").await;
        client.response().await;
    }
    until("all are counted", || world.counters(1).requests + world.counters(2).requests == 2000).await;
    // 2,000 draws at 20 %: the standard deviation is 18; five of them.
    assert!((310..=490).contains(&world.counters(2).requests), "{}", world.counters(2).requests);
    world.ingress.take(table(2, 0)).unwrap();
    let before = world.counters(2).requests;
    for _ in 0..100 {
        assert_eq!(world.get("/").await.1, b"old");
    }
    assert_eq!(world.counters(2).requests, before);
}

/// Complaint 15 about other proxies (fluxcd/flagger#1532): a canary whose share drifts with sticky clients. More weight takes
/// nobody back.
#[tokio::test]
async fn raising_a_share_moves_nobody_back() {
    let mut tasks = JoinSet::new();
    let (old, new) = (server(&mut tasks, "old").await, server(&mut tasks, "new").await);
    let world = World::start(Limits::default()).await;
    let mut client = RawClient::connect(world.address).await;
    let mut before = BTreeSet::new();
    for (seq, weight) in [(1, 100), (2, 500), (3, 1000)] {
        let shares = [(2, Some(weight)), (1, Some(1000 - weight))];
        world.ingress.take(routes(seq, &shares, vec![endpoint(new, 2), endpoint(old, 1)])).unwrap();
        let mut has_new = BTreeSet::new();
        for bucket in (0..=u16::MAX).step_by(256) {
            let cookie = format!("Cookie: wl-b={bucket:04x}\r\n");
            client.write(&format!("GET / HTTP/1.1\r\nHost: web.example\r\n{cookie}\r\n")).await;
            if client.response().await.1 == b"new" {
                has_new.insert(bucket);
            }
        }
        assert!(has_new.is_superset(&before), "{weight} of 1000: {:?}", before.difference(&has_new));
        assert!(has_new.len() > before.len(), "{weight} of 1000 are {} of 256", has_new.len());
        before = has_new;
    }
    assert_eq!(before.len(), 256, "the whole");
}

/// Complaint 3 about other proxies (traefik/traefik#7886): a client with a cookie asks the dead endpoint again and again.
#[tokio::test]
async fn a_kept_cookie_yields_to_health() {
    let mut tasks = JoinSet::new();
    let (old, new) = (server(&mut tasks, "old").await, server(&mut tasks, "new").await);
    let dead = listener().await.1;
    let world = World::start(Limits::default()).await;
    let table = |seq, canary: &[_]| {
        let of_canary = canary.iter().map(|address| endpoint(*address, 2));
        routes(seq, &[(2, Some(500)), (1, Some(500))], of_canary.chain([endpoint(old, 1)]).collect())
    };
    world.ingress.take(table(1, &[new])).unwrap();
    let mut kept = None;
    for bucket in 0..64 {
        let request = format!("GET / HTTP/1.1\r\nHost: web.example\r\nCookie: wl-b={bucket:04x}\r\n\r\n");
        if world.ask(&request).await.1 == b"new" {
            kept = Some(request);
            break;
        }
    }
    let request = kept.expect("one of 64 clients has the half");
    // One of two endpoints of its release is dead, then the only one, and then all is well again.
    for (seq, canary, answer) in
        [(2, &[dead, new][..], "new"), (3, &[dead][..], "old"), (4, &[new][..], "new")]
    {
        world.ingress.take(table(seq, canary)).unwrap();
        for _ in 0..20 {
            let (head, body) = world.ask(&request).await;
            assert_eq!(String::from_utf8(body).unwrap(), answer, "{seq}: {head}");
        }
    }
}

#[tokio::test]
async fn a_client_with_a_cookie_keeps_its_release() {
    let mut tasks = JoinSet::new();
    let (old, new) = (server(&mut tasks, "old").await, server(&mut tasks, "new").await);
    let world = World::start(Limits::default()).await;
    let both = vec![endpoint(new, 2), endpoint(old, 1)];
    let table = |seq, weight: u16| routes(seq, &[(2, Some(weight)), (1, Some(1000 - weight))], both.clone());
    world.ingress.take(table(1, 500)).unwrap();
    let mut kept = BTreeMap::new();
    for _ in 0..20 {
        let (head, body) = world.get("/").await;
        let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        assert!(cookie.contains("httponly") && !cookie.contains("secure"), "{cookie}");
        kept.insert(cookie.split(';').next().unwrap().to_owned(), body);
    }
    for (cookie, body) in &kept {
        let request = format!("GET / HTTP/1.1\r\nHost: web.example\r\nCookie: {cookie}\r\n\r\n");
        let (head, again) = world.ask(&request).await;
        assert_eq!(&again, body);
        assert!(!head.contains("set-cookie"), "{head}");
    }
    // The whole is no split: nobody gets a cookie.
    world.ingress.take(table(2, 1000)).unwrap();
    let (head, body) = world.get("/").await;
    assert!(body == b"new" && !head.contains("set-cookie"), "{head}");
}

#[tokio::test]
async fn a_match_goes_to_its_release_and_is_counted_apart() {
    let mut tasks = JoinSet::new();
    let (old, new) = (server(&mut tasks, "old").await, server(&mut tasks, "new").await);
    let world = World::start(Limits::default()).await;
    let mut table = routes(1, &[(2, Some(0)), (1, Some(1000))], vec![endpoint(new, 2), endpoint(old, 1)]);
    table.services[0].matches =
        vec![Match { release: release(2), on: MatchOn::Header, name: "x-canary".into(), value: "1".into() }];
    world.ingress.take(table).unwrap();
    let (_, body) = world.ask("GET / HTTP/1.1\r\nHost: web.example\r\nX-Canary: 1\r\n\r\n").await;
    assert_eq!(body, b"new");
    assert_eq!(world.get("/").await.1, b"old");
    until("it is counted", || world.population(2, Population::Matched).requests == 1).await;
    assert_eq!(world.counters(2).requests, 0);
}

#[tokio::test]
async fn a_release_without_an_endpoint_does_not_look_free_of_errors() {
    let mut tasks = JoinSet::new();
    let old = server(&mut tasks, "old").await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(routes(1, &[(2, Some(500)), (1, Some(500))], vec![endpoint(old, 1)])).unwrap();
    for _ in 0..40 {
        world.get("/").await;
    }
    until("all are counted", || world.counters(1).requests + world.counters(2).requests == 40).await;
    let (one, two) = (world.counters(1), world.counters(2));
    assert!(two.requests > 0 && two.own_answers == two.requests && two.server_error == two.requests);
    assert_eq!(one.success, one.requests);
}

/// Each table closes what the one before led to, while requests are on their way between looking it up and being sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_falls_between_two_tables() {
    let mut tasks = JoinSet::new();
    let (old, new) = (server(&mut tasks, "old").await, server(&mut tasks, "new").await);
    let world = World::start(Limits::default()).await;
    let table = |seq: u64| {
        let (all, leaves) = ([old, new][usize::from(seq.is_multiple_of(2))], seq % 4 < 2);
        let to = |address, n| windlass_core::traffic::Endpoint {
            draining: address != all,
            ..endpoint(address, n)
        };
        let both = [(old, 1), (new, 2)].map(|(address, n)| to(address, n));
        let kept = both.into_iter().filter(|of| !(leaves && of.draining)).collect();
        let whole = |address| Some(if address == all { 1000 } else { 0 });
        routes(seq, &[(1, whole(old)), (2, whole(new))], kept)
    };
    world.ingress.take(table(1)).unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let (mut client, stop) = (RawClient::connect(world.address).await, stop.clone());
        clients.spawn(async move {
            let mut answers = 0;
            while !stop.is_cancelled() {
                client.write("GET / HTTP/1.1\r\nHost: web.example\r\n\r\n").await;
                let (head, body) = client.response().await;
                assert!(head.starts_with("http/1.1 200"), "{head}{}", String::from_utf8_lossy(&body));
                answers += 1;
            }
            answers
        });
    }
    for seq in 2..4000 {
        world.ingress.take(table(seq)).unwrap();
        tokio::task::yield_now().await;
    }
    stop.cancel();
    let answers: u64 = clients.join_all().await.into_iter().sum();
    assert!(answers > 100, "{answers} requests while 4,000 tables came");
}

/// The host of a canary is lost: its share of the requests goes to the release that is there.
#[tokio::test]
async fn the_share_of_a_release_out_of_reach_goes_to_the_other() {
    let mut tasks = JoinSet::new();
    let old = server(&mut tasks, "old").await;
    let gone: Vec<_> = {
        let mut gone = Vec::new();
        for _ in 0..4 {
            gone.push(listener().await);
        }
        gone.into_iter().map(|(_, address)| address).collect()
    };
    let world = World::start(Limits::default()).await;
    for (seq, canary) in [(1, &gone[..1]), (2, &gone[1..])] {
        let endpoints =
            canary.iter().map(|address| endpoint(*address, 2)).chain([endpoint(old, 1)]).collect();
        let mut table = routes(seq, &[(2, Some(500)), (1, Some(500))], endpoints);
        table.services[0].matches = vec![Match {
            release: release(2),
            on: MatchOn::Header,
            name: "x-canary".into(),
            value: "1".into(),
        }];
        world.ingress.take(table).unwrap();
        for _ in 0..60 {
            let (head, body) =
                world.ask("POST / HTTP/1.1\r\nHost: web.example\r\nContent-Length: 2\r\n\r\nab").await;
            assert_eq!(body, b"old", "{seq}: {head}");
        }
        let (head, _) = world.ask("GET / HTTP/1.1\r\nHost: web.example\r\nX-Canary: 1\r\n\r\n").await;
        assert!(head.starts_with("http/1.1 50"), "who asks for the canary is told: {head}");
    }
    assert!(world.counters(2).connect_errors > 0, "it is known whose fault it was");
}
