//! Traffic tables and the reports that answer them: what is checked can be followed, and is written and read to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use windlass_certs::dsse::PayloadType;
use windlass_certs::json::decode_bounded;
use windlass_core::traffic::{Hold, IngressReport, MAX_REPORT, Position, Routes, choose};
use windlass_ingress::{Ingress, Limits};

fuzz_target!(|data: &[u8]| {
    if let Ok(routes) = decode_bounded::<Routes>(data, PayloadType::Routes.max_len()) {
        table(&routes);
    }
    if let Ok(report) = serde_json::from_slice::<IngressReport>(data)
        && report.check().is_ok()
    {
        let fitted = report.fitted();
        let bytes = fitted.clone().to_bytes();
        assert!(bytes.len() <= MAX_REPORT);
        let again: IngressReport = serde_json::from_slice(&bytes).expect("we read what we write");
        assert!(again.check().is_ok());
        assert_eq!(fitted, again);
    }
});

fn table(routes: &Routes) {
    let bytes = serde_json::to_vec(routes).expect("documents are JSON");
    let again: Routes = decode_bounded(&bytes, usize::MAX).expect("we read what we write");
    assert_eq!(*routes, again);
    let checked = routes.check().is_ok();
    let ingress = Ingress::new(Limits::default(), 1);
    assert_eq!(
        ingress.take(routes.clone()).is_ok(),
        checked,
        "what is checked is followed, and nothing else"
    );
    if !checked {
        return;
    }
    assert!(ingress.take(routes.clone()).is_ok(), "the same again changes nothing");
    for service in &routes.services {
        for bucket in [0, 1, u16::MAX] {
            let _ = choose(service, Position::of_bucket(bucket, &service.salt), |_, _| Some("x"));
        }
    }
    // A release that each endpoint's host has restored at another port.
    for service in &routes.services {
        let Some(place) = service.endpoints.first() else { continue };
        let hold = Hold {
            service: windlass_core::ServiceId::new(routes.environment.clone(), service.service.clone()),
            port: place.port.clone(),
            number: place.number ^ 1,
            release: windlass_core::Digest::of(service.salt.as_bytes()),
            failed: place.release,
            instead_of: Some(place.number),
        };
        ingress.hold(&place.host, vec![hold]);
        assert!(ingress.holds().len() <= routes.services.len());
    }
    let _ = (ingress.traffic(), ingress.draining(), ingress.inner_listens());
}
