use std::time::Duration;

use super::*;
use crate::fixture::at;
use crate::id::SlotId;
use crate::rollout::model::MAX_FAILURES;

fn place(index: u32) -> Place {
    Place { slot: SlotId::new("production/web".parse().unwrap(), index), host: "h1".parse().unwrap() }
}

fn moved() -> What {
    What::Steered {
        by: "ada".into(),
        steering: RolloutCommand::Pause,
        from: State::Advancing,
        to: State::Paused,
    }
}

#[test]
fn a_long_story_is_cut_in_its_details_and_never_in_what_matters() {
    let mut log = Log::default();
    for n in 0..DETAILS * 3 {
        log.detail(at(1), What::Retried { place: place(n) });
        if n % 100 == 0 {
            log.note(at(1), moved());
        }
    }
    for index in 0..60 {
        let place = place(index);
        let failure = Failure { host: place.host, slot: place.slot, evidence: None, refusal: None };
        log.failed(at(2), failure);
    }
    assert_eq!(log.left_out(), DETAILS * 2);
    let told = log.take_fresh();
    let count = |wanted: fn(&What) -> bool| told.iter().filter(|decision| wanted(&decision.what)).count();
    assert_eq!(count(|what| matches!(what, What::Retried { .. })), DETAILS as usize);
    assert_eq!(count(|what| matches!(what, What::Steered { .. })), 12);
    assert_eq!(count(|what| matches!(what, What::Failed { cut: false, .. })), MAX_FAILURES);
    assert_eq!(count(|what| matches!(what, What::Failed { .. })), 60);
    assert!((0..).zip(&told).all(|(n, decision)| n == decision.n), "numbered without a gap");
}

#[test]
fn a_log_stays_small_whatever_the_service_has() {
    let mut log = Log::default();
    for index in 0..10_000 {
        log.saw_image(index);
        log.began(index, at(1));
        log.arrived(index, at(2));
    }
    let bytes = serde_json::to_vec(&log).unwrap().len();
    assert!(bytes < 8 << 10, "{bytes} bytes in every write of the rollout");
}

#[test]
fn news_is_told_once() {
    let mut log = Log::default();
    log.began(3, at(10));
    assert_eq!(log.arrived(3, at(25)), Some(Some(Duration::from_secs(15))));
    assert_eq!(log.arrived(3, at(26)), None);
    log.began(3, at(30));
    assert_eq!(log.arrived(3, at(31)), Some(Some(Duration::from_secs(1))), "another try");
    assert_eq!(log.arrived(4, at(31)), Some(None), "when it began is not known");
    assert!(log.saw_image(3) && !log.saw_image(3));
    let decision = Decision { n: 0, at: at(1), what: moved() };
    let json = serde_json::to_value(&decision).unwrap();
    assert_eq!((&json["decision"], &json["n"]), (&"steered".into(), &0.into()));
    assert_eq!(serde_json::from_value::<Decision>(json).unwrap(), decision);
}

#[test]
fn what_is_written_is_read_again() {
    let weight = Weight::try_from(100).unwrap();
    let all = [
        moved(),
        What::Weighed { release: Counter(2), weight, step: Some(1), of: 3 },
        What::Weighed { release: Counter(2), weight, step: None, of: 0 },
        What::Switched { weight, took_ms: 12 },
    ];
    for (n, what) in (0..).zip(all) {
        let decision = Decision { n, at: at(1), what };
        let text = serde_json::to_string(&decision).unwrap();
        assert_eq!(serde_json::from_str::<Decision>(&text).unwrap(), decision, "{text}");
    }
}
