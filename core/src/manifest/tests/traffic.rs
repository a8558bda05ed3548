use super::*;

use crate::release::{PortProtocol, Release, Route};
use crate::units::Span;
use crate::verify::check_release;

fn errors(rest: &str) -> String {
    match try_load(&format!("service: web\nimage: nginx:1\n{rest}")) {
        Ok(_) => "fine".to_owned(),
        Err(errors) => errors.to_string(),
    }
}

fn route(host: &str, path: &str, port: &str) -> Route {
    Route { host: host.into(), path: path.into(), port: port.into(), preview: false }
}

pub(super) fn release(version: u32, spec: Spec) -> Release {
    Release {
        version,
        fleet: "fleet".parse().unwrap(),
        environment: "production".parse().unwrap(),
        service: "web".parse().unwrap(),
        counter: crate::Counter(1),
        created_at: crate::Timestamp::ZERO,
        author: "anna".into(),
        spec,
    }
}

#[test]
fn one_route_and_several_are_signed_alike_and_in_order() {
    let one =
        spec_of("service: web\nimage: a:1\nports: { http: 80, rpc: 81 }\nroute: { host: a.example.com }\n");
    assert_eq!(one.traffic.routes, [route("a.example.com", "/", "http")], "the first port, and every path");
    let several = spec_of(
        "service: web\nimage: a:1\nports: { http: 80, rpc: { container: 81, protocol: grpc } }\n\
         route: [{ host: b.example.com, path: /v1, port: rpc }, { host: '*.example.com' }]\n\
         drain_timeout: 30s\nhold: 10s\nslow_start: 20s\n",
    );
    let want = [route("*.example.com", "/", "http"), route("b.example.com", "/v1", "rpc")];
    assert_eq!(several.traffic.routes, want);
    assert_eq!(several.ports["rpc"].protocol, PortProtocol::Grpc);
    let times = (several.traffic.drain_timeout(), several.traffic.hold, several.traffic.slow_start);
    let secs = Span::from_secs;
    assert_eq!(times, (secs(30), Some(secs(10)), Some(secs(20))));
}

#[test]
fn a_release_without_traffic_is_written_as_before() {
    let spec = spec_of("service: web\nimage: a:1\nports: { http: 80 }\n");
    assert_eq!((spec.version(), spec.traffic.drain_timeout()), (1, Span::from_secs(600)));
    let json = serde_json::to_string(&spec).unwrap();
    assert!(!json.contains("traffic") && !json.contains("protocol"), "{json}");
    for more in ["hold: 1s", "drain_timeout: 0s", "route: { host: a.b }"] {
        let spec = spec_of(&format!("service: web\nimage: a:1\nports: {{ http: 80 }}\n{more}\n"));
        assert_eq!(spec.version(), 2, "{more}");
        assert_eq!(check_release(&release(2, spec.clone())), Ok(()), "{more}");
        let refusal = check_release(&release(1, spec)).unwrap_err();
        assert!(refusal.detail.contains("`version` is too low"), "{more}: {}", refusal.detail);
    }
    let spoken = spec_of("service: web\nimage: a:1\nports: { db: { container: 5432, protocol: tcp } }\n");
    assert_eq!(spoken.version(), 2);
    assert!(check_release(&release(8, spoken)).unwrap_err().detail.contains("reads up to 7"));
}

#[test]
fn called_services_are_signed_once_and_in_order() {
    let plain = "service: web\nimage: a:1\n";
    assert!(!serde_json::to_string(&spec_of(plain)).unwrap().contains("uses"), "written as before");
    let spec = spec_of(&format!("{plain}uses: [db-http, api]\n"));
    let names: Vec<&str> = spec.uses.iter().map(|name| name.as_str()).collect();
    assert_eq!((names, spec.version()), (vec!["api", "db-http"], 5));
    assert_eq!(check_release(&release(5, spec.clone())), Ok(()));
    let low = check_release(&release(4, spec.clone())).unwrap_err();
    assert!(low.detail.contains("`version` is too low"), "{low:?}");
    let twice = Spec { uses: vec![spec.uses[0].clone(); 2], ..spec };
    let refusal = check_release(&release(5, twice)).unwrap_err();
    assert!(refusal.detail.contains("`uses` `api` stands there twice"), "{refusal:?}");
    for (uses, said) in [
        ("[api, api]", "web.yaml:3:13: `uses.1`: `api` stands there twice"),
        (
            "[localhost]",
            "web.yaml:3:8: `uses.0`: `localhost` is the container itself\n  hint: other services are called by their own names",
        ),
    ] {
        assert_eq!(errors(&format!("uses: {uses}")), said);
    }
    assert!(errors("uses: [Api]").contains("`Api` is not a name"), "{}", errors("uses: [Api]"));
}

#[test]
fn a_host_refuses_routes_that_no_manifest_makes() {
    let good = "service: web\nimage: a:1\nports: { http: 80, db: { container: 5432, protocol: tcp } }\nroute: { host: a.b, port: http }\n";
    type Spoil = fn(&mut Spec);
    #[rustfmt::skip]
    let table: [(&str, Spoil); 7] = [
        ("no host name", |spec| spec.traffic.routes[0].host = "A.b".into()),
        ("no host name", |spec| spec.traffic.routes[0].path = "v1".into()),
        ("no request is routed to", |spec| spec.traffic.routes[0].port = "db".into()),
        ("no request is routed to", |spec| spec.traffic.routes[0].port = "x".into()),
        ("name twice", |spec| { let again = spec.traffic.routes[0].clone(); spec.traffic.routes.push(again); }),
        ("more than 64", |spec| spec.traffic.routes = (0..65).map(|n| route(&format!("h{n}"), "/", "http")).collect()),
        ("too long", |spec| spec.traffic.hold = Some(Span::from_secs(3600))),
    ];
    for (why, spoil) in table {
        let mut spec = spec_of(good);
        spoil(&mut spec);
        let refusal = check_release(&release(2, spec)).unwrap_err();
        assert!(refusal.detail.contains(why), "{} lacks {why}", refusal.detail);
    }
}

#[test]
fn what_is_wrong_with_a_route_is_said_with_a_way_out() {
    #[rustfmt::skip]
    let table = [
        ("ports: { http: 80 }\nroute: { host: 'https://Api.example.com/' }", "web.yaml:4:16: `route.host`: `https://Api.example.com/` is not a host name\n  hint: did you mean `api.example.com`?"),
        ("ports: { http: 80 }\nroute: { host: 'api.example.com:8080/v1' }", "web.yaml:4:16: `route.host`: `api.example.com:8080/v1` is not a host name\n  hint: did you mean `host: api.example.com` with `path: /v1`?"),
        ("ports: { http: 80 }\nroute: { host: a..b }", "web.yaml:4:16: `route.host`: `a..b` is not a host name\n  hint: like `api.example.com`, or `*.example.com` for one label more"),
        ("ports: { http: 80 }\nroute: { host: a.b, path: v1 }", "web.yaml:4:27: `route.path`: `v1` is not a path prefix\n  hint: did you mean `/v1`?"),
        ("ports: { http: 80 }\nroute: { host: a.b, port: htp }", "web.yaml:4:27: `route.port`: `htp` is not among `ports`\n  hint: did you mean `http`?"),
        ("ports: { http: 80 }\nroute: { hots: a.b }", "web.yaml:4:10: `route.hots`: unknown key\n  hint: did you mean `host`?"),
        ("ports: { http: 80 }\nroute: [{ host: a.b }, { host: a.b, path: / }]", "web.yaml:4:24: `route.1`: `a.b/` stands at `route.0` too\n  hint: a host name with a path leads to one port"),
        ("route: { host: a.b }", "web.yaml:3:8: `route`: leads to no port: the service has none\n  hint: `ports: { http: 8080 }` names the port that the process listens on"),
        ("ports: { db: { container: 5432, protocol: tcp } }\nroute: { host: a.b }", "web.yaml:4:8: `route.port`: `db` has `protocol: tcp`: TCP is not balanced\n  hint: a route leads to `http`, `h2c` or `grpc`"),
        ("ports: { http: { container: 80, protocol: https } }", "web.yaml:3:43: `ports.http.protocol`: `https` is not one of `http`, `h2c`, `grpc`, `tcp`\n  hint: did you mean `http`?"),
        ("ports: { http: 80 }\nhold: 5m", "web.yaml:4:7: `hold`: must be from 1s to 1m"),
        ("ports: { http: 80 }\ndrain_timeout: 2h", "web.yaml:4:16: `drain_timeout`: must be from 0s to 1h"),
        ("slow_start: 30s", "web.yaml:3:13: `slow_start`: is about requests, and the service has no port that requests are routed to\n  hint: `ports: { http: 8080 }`"),
        ("ports: { http: 80 }\nroute: []", "fine"),
    ];
    for (rest, want) in table {
        assert_eq!(errors(rest), want, "{rest}");
    }
}

#[test]
fn two_services_of_one_file_do_not_share_a_name() {
    let one = |name: &str, path: &str| {
        format!("service: {name}\nimage: a:1\nports: {{ http: 80 }}\nroute: {{ host: a.b, path: {path} }}\n")
    };
    let both = |path: &str| try_load(&format!("{}---\n{}", one("web", "/"), one("api", path)));
    assert!(both("/v1").is_ok());
    let said = both("/").unwrap_err().to_string();
    assert_eq!(said, "web.yaml:9:8: `route`: `a.b/` leads to the service `web` already");
}
