//! The contract of every backend, as tests that run against each of them.

use std::sync::Arc;

use super::memory::MemoryStore;
use super::sled::SledStore;
use super::watch::Notice;
use super::{MAX_VALUE, Store, StoreError, Transaction};

fn backends(folder: &std::path::Path) -> Vec<(&'static str, Arc<dyn Store>)> {
    vec![
        ("memory", Arc::new(MemoryStore::new())),
        ("sled", Arc::new(SledStore::open(&folder.join("store")).unwrap())),
    ]
}

macro_rules! contract {
    ($(fn $name:ident($store:ident) $body:block)*) => {$(
        #[tokio::test]
        async fn $name() {
            let folder = tempfile::tempdir().unwrap();
            for (backend, $store) in backends(folder.path()) {
                eprintln!("backend: {backend}");
                $body
            }
        }
    )*};
}

fn txn() -> Transaction {
    Transaction::default()
}

contract! {
    fn a_written_value_is_read_with_its_revision(store) {
        assert_eq!(store.get("a").await.unwrap(), None);
        let first = store.commit(txn().put("a", b"1".to_vec()).put("b", b"2".to_vec())).await.unwrap();
        let entry = store.get("a").await.unwrap().unwrap();
        assert_eq!((entry.value.as_slice(), entry.revision), (b"1".as_slice(), first));
        let second = store.commit(txn().put("a", b"3".to_vec())).await.unwrap();
        assert!(second > first);
        assert_eq!(store.get("b").await.unwrap().unwrap().revision, first);
    }

    fn a_list_has_the_prefix_and_the_order(store) {
        let keys = ["host/b", "host/a", "hosts", "host/a/x", "rollout/1", "host"];
        let t = keys.iter().fold(txn(), |t, key| t.put(*key, key.as_bytes().to_vec()));
        store.commit(t).await.unwrap();
        let listed: Vec<_> = store.list("host/").await.unwrap().into_iter().map(|e| e.key).collect();
        assert_eq!(listed, ["host/a", "host/a/x", "host/b"]);
        assert_eq!(store.list("").await.unwrap().len(), keys.len(), "nothing of the backend's own");
        assert!(store.list("nothing").await.unwrap().is_empty());
    }

    fn a_guard_refuses_the_whole_transaction(store) {
        let first = store.commit(txn().guard("a", 0).put("a", b"1".to_vec())).await.unwrap();
        let error = store.commit(txn().guard("a", 0).put("a", b"2".to_vec()).put("b", Vec::new())).await.unwrap_err();
        let expected_conflict = matches!(error, StoreError::Conflict { ref key, expected: 0, found } if key == "a" && found == first);
        assert!(expected_conflict, "{error:?}");
        assert_eq!(store.get("a").await.unwrap().unwrap().value, b"1");
        assert_eq!(store.get("b").await.unwrap(), None);
        store.commit(txn().guard("a", first).guard("b", 0).put("a", b"2".to_vec())).await.unwrap();
    }

    fn a_removed_key_counts_as_never_written(store) {
        store.commit(txn().put("a", b"1".to_vec())).await.unwrap();
        store.commit(txn().delete("a").delete("never-there")).await.unwrap();
        assert_eq!(store.get("a").await.unwrap(), None);
        store.commit(txn().guard("a", 0).put("a", b"2".to_vec())).await.unwrap();
    }

    fn of_many_writers_with_one_guard_one_wins(store) {
        let attempts = (0..16_u8).map(|n| store.commit(txn().guard("a", 0).put("a", vec![n])));
        let results = futures_util::future::join_all(attempts).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    }

    fn a_watcher_hears_of_its_prefix_only(store) {
        let mut watch = store.watch("host/");
        store.commit(txn().put("rollout/1", Vec::new())).await.unwrap();
        let revision = store.commit(txn().put("host/a", Vec::new())).await.unwrap();
        let Some(Notice::Changed(change)) = watch.next().await else { panic!("no notice") };
        assert_eq!((change.key.as_str(), change.revision), ("host/a", revision));
    }

    fn a_value_that_is_too_long_is_refused(store) {
        let error = store.commit(txn().put("a", vec![0; MAX_VALUE + 1])).await.unwrap_err();
        assert!(matches!(error, StoreError::TooLarge { .. }), "{error:?}");
        assert_eq!(store.get("a").await.unwrap(), None);
    }
}
