//! `store import`, and the records in a store that somebody else may have written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use windlass_server::store::memory::MemoryStore;
use windlass_server::store::record::{EventRecord, HostRecord, PlanRecord, ReleaseRecord, TokenRecord};
use windlass_server::store::{Store, dump};

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
                let (first, second) = (store.list("").await.expect("memory"), copy.list("").await.expect("memory"));
                assert_eq!(bytes(first), bytes(second));
            }
        }
    });
    let _ = serde_json::from_slice::<HostRecord>(data);
    let _ = serde_json::from_slice::<TokenRecord>(data);
    let _ = serde_json::from_slice::<PlanRecord>(data);
    let _ = serde_json::from_slice::<ReleaseRecord>(data);
    let _ = serde_json::from_slice::<EventRecord>(data);
});
