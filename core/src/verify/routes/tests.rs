use std::time::Duration;

use super::*;
use crate::traffic::{Name, ROUTES_VERSION, RoutedPort, RoutedService};
use crate::units::Span;
use crate::verify::SKEW;

fn routes() -> Routes {
    let service = RoutedService {
        service: "web".parse().unwrap(),
        ports: [("http".to_owned(), RoutedPort { container: 80, protocol: Default::default(), probe: None })]
            .into(),
        releases: Vec::new(),
        matches: Vec::new(),
        salt: String::new(),
        endpoints: Vec::new(),
        hold: None,
        slow_start: None,
        drain: Span::from_secs(30),
    };
    let name = Name {
        host: "shop.example.com".to_owned(),
        path: "/".to_owned(),
        service: "web".parse().unwrap(),
        port: "http".to_owned(),
    };
    Routes {
        version: ROUTES_VERSION,
        fleet: "demo".parse().unwrap(),
        environment: "production".parse().unwrap(),
        epoch: 1,
        seq: 7,
        issued_at: "2026-11-22T12:00:00.000Z".parse().unwrap(),
        names: vec![name],
        services: vec![service],
    }
}

fn code<T>(result: Result<T, Refusal>) -> Option<RefusalCode> {
    result.err().map(|refusal| refusal.code)
}

#[test]
fn tables_that_make_no_sense_are_malformed() {
    type Case = (&'static str, bool, fn(&mut Routes));
    let table: [Case; 5] = [
        ("sound", true, |_| {}),
        ("a version to come", false, |r| r.version = ROUTES_VERSION + 1),
        ("seq 0", false, |r| r.seq = 0),
        ("epoch 0", false, |r| r.epoch = 0),
        ("a name that leads nowhere", false, |r| r.services.clear()),
    ];
    for (case, sound, change) in table {
        let mut routes = routes();
        change(&mut routes);
        assert_eq!(code(check_routes(&routes)), (!sound).then_some(RefusalCode::Malformed), "{case}");
    }
}

#[test]
fn a_table_is_for_one_fleet_and_for_allowed_names() {
    let (ours, other) = ("demo".parse().unwrap(), "other".parse().unwrap());
    assert_eq!(code(routes_audience(&routes(), &ours, |_| true)), None);
    assert_eq!(code(routes_audience(&routes(), &other, |_| true)), Some(RefusalCode::WrongAudience));
    let refused = routes_audience(&routes(), &ours, |host| host != "shop.example.com").unwrap_err();
    assert_eq!(refused.code, RefusalCode::Policy);
    assert!(
        refused.detail.contains("shop.example.com") && refused.detail.contains("production"),
        "{refused}"
    );
}

#[test]
fn a_table_from_the_future_waits() {
    let routes = routes();
    assert_eq!(code(routes_time(&routes, routes.issued_at - SKEW)), None);
    let early = routes.issued_at - SKEW - Duration::from_millis(1);
    assert_eq!(code(routes_time(&routes, early)), Some(RefusalCode::NotYetValid));
}

#[test]
fn a_table_never_goes_back() {
    let (same, other) = (Digest::of(b"same"), Digest::of(b"other"));
    let last = |epoch, seq| Some(AcceptedRoutes { epoch, committed: Committed { seq, digest: same } });
    #[rustfmt::skip]
    let table = [
        ("the first ever", 1, None, same, Ok(PlanOrder::Newer)), ("the next", 1, last(1, 6), other, Ok(PlanOrder::Newer)),
        ("the same again", 1, last(1, 7), same, Ok(PlanOrder::Same)),
        ("two with one number", 1, last(1, 7), other, Err(RefusalCode::Equivocation)),
        ("an older one", 1, last(1, 8), other, Err(RefusalCode::Stale)),
        ("an epoch that is over", 2, None, same, Err(RefusalCode::WrongEpoch)),
        ("an epoch to come", 0, None, same, Err(RefusalCode::WrongEpoch)),
        ("a lower number in a new epoch", 1, last(0, 99), other, Ok(PlanOrder::Newer)),
    ];
    for (case, epoch, last, digest, want) in table {
        assert_eq!(routes_order(&routes(), digest, epoch, last).map_err(|r| r.code), want, "{case}");
    }
}

proptest::proptest! {
    /// Whatever is offered in whatever order, the accepted number never falls.
    #[test]
    fn the_accepted_number_only_rises(offers in proptest::collection::vec((1_u64..12, 0_u8..3), 1..60)) {
        let mut last: Option<AcceptedRoutes> = None;
        for (seq, content) in offers {
            let digest = Digest::of(&[content, u8::try_from(seq).unwrap()]);
            let offered = Routes { seq, ..routes() };
            if routes_order(&offered, digest, 1, last) == Ok(PlanOrder::Newer) {
                proptest::prop_assert!(last.is_none_or(|last| seq > last.committed.seq));
                last = Some(AcceptedRoutes { epoch: 1, committed: Committed { seq, digest } });
            }
        }
    }
}
