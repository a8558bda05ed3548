use super::*;

fn report() -> IngressReport {
    let at: Timestamp = "2026-11-22T12:00:00.000Z".parse().unwrap();
    IngressReport {
        process: 7,
        started_at: at,
        at,
        program: "1.0.0".to_owned(),
        routes_versions: Vec::new(),
        listens: vec![Listen { name: "http".to_owned(), address: "127.0.0.1:80".parse().unwrap() }],
        ending: false,
        tables: BTreeMap::new(),
        refused: BTreeMap::new(),
        services: BTreeMap::new(),
        unrouted: 0,
        bad_requests: 0,
        cut_services: 0,
    }
}

fn busy(requests: u64, buckets: u16) -> ServiceTraffic {
    let counts = Counts {
        requests,
        to_head: (0..buckets).map(|bucket| (bucket, 1_000_000)).collect(),
        to_end: (0..buckets).map(|bucket| (bucket, 1_000_000)).collect(),
        ..Counts::default()
    };
    let release = ReleaseTraffic { weighted: counts, ..ReleaseTraffic::default() };
    ServiceTraffic { releases: BTreeMap::from([(Digest::of(b"r1"), release)]), ..ServiceTraffic::default() }
}

fn with(services: impl IntoIterator<Item = (String, ServiceTraffic)>) -> IngressReport {
    let services = services.into_iter().map(|(name, service)| (name.parse().unwrap(), service)).collect();
    IngressReport { services, ..report() }
}

#[test]
fn a_report_is_read_as_it_was_written() {
    let whole = with([("production/web".to_owned(), busy(5, 3))]);
    let read: IngressReport = serde_json::from_slice(&whole.clone().to_bytes()).unwrap();
    assert_eq!(read, whole);
    assert_eq!(read.check(), Ok(()));
}

#[test]
fn every_broken_report_is_refused_with_its_reason() {
    type Case = (&'static str, fn(&mut IngressReport));
    let web = |report: &mut IngressReport, change: fn(&mut Counts)| {
        let service = report.services.values_mut().next().unwrap();
        change(&mut service.releases.values_mut().next().unwrap().weighted);
    };
    let out_of_order = |counts: &mut Counts| counts.to_end = vec![(2, 1), (1, 1)];
    let beyond = |counts: &mut Counts| counts.to_head = vec![(256, 1)];
    let huge = |counts: &mut Counts| counts.retries = u64::MAX;
    for (change, why) in [(out_of_order as fn(&mut Counts), "order"), (beyond, "order"), (huge, "2^53")] {
        let mut report = with([("production/web".to_owned(), busy(5, 3))]);
        web(&mut report, change);
        assert!(report.check().unwrap_err().to_string().contains(why), "{why}");
    }
    let cases: [Case; 4] = [
        ("bytes of a text", |r| r.program = "x".repeat(600)),
        ("2^53", |r| r.process = u64::MAX),
        ("listeners", |r| r.listens = vec![r.listens[0].clone(); 65]),
        ("releases", |r| {
            let release = |n: u8| (Digest::of(&[n]), ReleaseTraffic::default());
            let service =
                ServiceTraffic { releases: (0..33).map(release).collect(), ..ServiceTraffic::default() };
            r.services.insert("production/web".parse().unwrap(), service);
        }),
    ];
    for (why, change) in cases {
        let mut report = report();
        change(&mut report);
        assert!(report.check().unwrap_err().to_string().contains(why), "{why}");
    }
}

#[test]
fn the_quietest_services_lose_their_histograms_first() {
    let services = (0..400_u64).map(|n| (format!("production/s{n}"), busy(n, 256)));
    let bytes = with(services).to_bytes();
    assert!(bytes.len() <= MAX_REPORT, "{} bytes", bytes.len());
    let read: IngressReport = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(read.check(), Ok(()));
    let has = |n: u64| !read.services[&format!("production/s{n}").parse().unwrap()].histograms_cut;
    assert!(has(399) && !has(0));
    assert_eq!(read.cut_services, (0..400).filter(|n| !has(*n)).count() as u64);
    assert_eq!(read.services.len(), 400);
}

#[test]
fn the_largest_report_keeps_its_bound() {
    let endpoint = EndpointTraffic {
        address: "[2001:db8::1234:5678]:65535".parse().unwrap(),
        release: Digest::of(b"r1"),
        state: EndpointState::Healthy,
        in_flight: 1000,
        tunnels: 1000,
    };
    let services = (0..2048_u64).map(|n| {
        let service = ServiceTraffic { endpoints: vec![endpoint.clone(); 8], ..busy(n, 256) };
        (format!("production/service-{n}"), service)
    });
    let bytes = with(services).to_bytes();
    assert!(bytes.len() <= MAX_REPORT, "{} bytes", bytes.len());
    let read: IngressReport = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(read.services.len(), 2048);
}
