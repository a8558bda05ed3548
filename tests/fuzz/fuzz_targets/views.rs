//! Answers of a coordinator to the CLI, JSON inside of protobuf: statuses, previews, explanations.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use windlass_core::view::{
    EventView, ExplainView, HostView, OperatorView, PreviewView, RecoveryView, ReleaseView, RolloutView,
    StatusView,
};
use windlass_proto::json::{decode, encode};

/// A view that is read is written and read to the same: `-o json` shows the inputs of decisions.
fn read<T: Serialize + DeserializeOwned>(data: &[u8]) {
    if let Ok(view) = decode::<T>("view", data) {
        let written = encode(&view);
        let again: T = decode("view", &written).expect("we read what we write");
        assert_eq!(encode(&again), written);
    }
}

fuzz_target!(|data: &[u8]| {
    read::<EventView>(data);
    read::<ExplainView>(data);
    read::<HostView>(data);
    read::<OperatorView>(data);
    read::<PreviewView>(data);
    read::<RecoveryView>(data);
    read::<ReleaseView>(data);
    read::<RolloutView>(data);
    read::<StatusView>(data);
});
