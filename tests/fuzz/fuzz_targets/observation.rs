//! Reports of agents: observations, facts and statistics, as the coordinator reads them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use windlass_core::host::{HostFacts, HostStats};
use windlass_core::observation::Observation;
use windlass_core::plan::HostPlan;
use windlass_core::receipt::outcomes;

fuzz_target!(|data: &[u8]| {
    if let Ok(seen) = serde_json::from_slice::<Observation>(data) {
        let again = serde_json::to_vec(&seen).expect("an observation is JSON");
        assert_eq!(serde_json::from_slice::<Observation>(&again).ok().as_ref(), Some(&seen));
        if let Some(first) = seen.slots.first() {
            assert!(seen.slot(&first.slot).is_some());
        }
        for slot in &seen.slots {
            let _ = slot.release.as_ref().and_then(|release| slot.instance_of(release));
        }
        let plan = r#"{"version":1,"fleet":"lab","host":"h1","epoch":1,"seq":1,"issued_at":"2026-01-01T00:00:00.000Z",
            "expires_at":"2026-01-02T00:00:00.000Z","slots":[]}"#;
        let plan: HostPlan = serde_json::from_str(plan).expect("a plan");
        assert_eq!(outcomes(&plan, &seen).map(|all| all.len()), Some(0));
    }
    if let Ok(facts) = serde_json::from_slice::<HostFacts>(data) {
        assert!(serde_json::to_vec(&facts).is_ok());
    }
    if let Ok(stats) = serde_json::from_slice::<HostStats>(data) {
        assert!(serde_json::to_vec(&stats).is_ok());
    }
});
