//! `store import`, and the records in a store that somebody else may have written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use windlass_core::FleetId;
use windlass_core::audit::Head;
use windlass_core::observation::Observation;
use windlass_core::rollout::Rollout;
use windlass_core::service::Service;
use windlass_core::slot::Slot;
use windlass_server::store::memory::MemoryStore;
use windlass_server::store::record::{
    EventRecord, HostRecord, OperatorRecord, OperatorTokenRecord, PlanRecord, RecoveryRecord, ReleaseRecord,
    TokenRecord, decode, encode,
};
use windlass_server::store::{Store, dump};

/// A record is written and read again to the same.
fn record<T: Serialize + DeserializeOwned>(data: &[u8]) {
    if let Ok(read) = decode::<T>(data) {
        let written = encode(&read);
        let again: T = decode(&written).expect("we read what we write");
        assert_eq!(encode(&again), written);
    }
}

fuzz_target!(|data: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let store = MemoryStore::new();
        match dump::import(&store, &mut &data[..]).await {
            Err(_) => assert!(store.list("").await.expect("memory").is_empty(), "all or nothing"),
            Ok(_) => {
                let mut out = Vec::new();
                dump::export(&store, &mut out).await.expect("memory");
                let copy = MemoryStore::new();
                dump::import(&copy, &mut out.as_slice()).await.expect("we read what we write");
                let bytes = |entries: Vec<windlass_server::store::Entry>| -> Vec<(String, Vec<u8>)> {
                    entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
                };
                let (first, second) =
                    (store.list("").await.expect("memory"), copy.list("").await.expect("memory"));
                assert_eq!(bytes(first), bytes(second));
            }
        }
    });
    record::<FleetId>(data);
    record::<Head>(data);
    record::<HostRecord>(data);
    record::<TokenRecord>(data);
    record::<OperatorRecord>(data);
    record::<OperatorTokenRecord>(data);
    record::<Service>(data);
    record::<Slot>(data);
    record::<Rollout>(data);
    record::<PlanRecord>(data);
    record::<ReleaseRecord>(data);
    record::<EventRecord>(data);
    record::<RecoveryRecord>(data);
    record::<Observation>(data);
});
