//! Memory of GPUs where the library lacks the call for it: it is that of a driver before 510.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Scene, until};

/// The compiler leaves the call out of the stand-in's library.
const LACKS: &str = "-DnvmlDeviceGetMemoryInfo_v2=left_out";
/// Longer than the first look waits for `nvidia-smi`.
const PATIENT: Duration = Duration::from_secs(20);

fn questions(scene: &Scene) -> usize {
    std::fs::read_to_string(scene.folder.path().join("smi.log")).unwrap_or_default().lines().count()
}

#[tokio::test]
async fn smi_tells_the_memory_that_the_library_does_not() {
    for (case, arguments, more) in [
        ("the call is not there", &[LACKS][..], ""),
        ("the library says that it has none", &[], "fail nvmlDeviceGetMemoryInfo_v2 13"),
    ] {
        let scene = Scene::built_with(arguments);
        scene.say(more);
        let cancel = CancellationToken::new();
        let probe = scene.probe_within(PATIENT, PATIENT, &cancel);
        let mut seen = probe.seen();
        let mut tasks = JoinSet::new();
        tasks.spawn(probe.run());
        let first = until(&mut seen, case, |seen| seen.gpus.len() == 2).await;
        let memory: Vec<u64> = first.gpus.iter().map(|gpu| gpu.memory >> 20).collect();
        assert_eq!(memory, [24_576, 24_576], "{case}: at the first look");
        assert_eq!((first.stats[0].memory_used, first.stats[0].memory_total), (1000 << 20, 24_576 << 20));
        // Looks go on, and ask it once in a while only.
        scene.write(&format!("gpu uuid=GPU-1 name=L4 total=24576 temp=77\n{more}"));
        let later = until(&mut seen, case, |seen| seen.stats[0].readings.temperature == Some(77.0)).await;
        assert_eq!((later.gpus[0].memory, questions(&scene)), (24_576 << 20, 1), "{case}");
        cancel.cancel();
        tasks.join_next().await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn memory_is_unknown_while_smi_hangs_and_looks_go_on() {
    let scene = Scene::built_with(&[LACKS]);
    scene.say("smi hang 60");
    let cancel = CancellationToken::new();
    let probe = scene.probe_within(PATIENT, PATIENT, &cancel);
    let mut seen = probe.seen();
    let mut tasks = JoinSet::new();
    tasks.spawn(probe.run());
    let first = until(&mut seen, "two GPUs", |seen| seen.gpus.len() == 2).await;
    assert_eq!((first.gpus[0].memory, first.gpus[1].memory), (0, 0), "nobody tells it");
    assert!(first.silent.is_none() && first.lost.is_empty(), "{first:?}");
    scene.write("gpu uuid=GPU-1 name=L4 total=24576 temp=77\nsmi hang 60");
    let asked_at = std::time::Instant::now();
    until(&mut seen, "a later look", |seen| {
        seen.stats.first().is_some_and(|of| of.readings.temperature == Some(77.0))
    })
    .await;
    assert!(asked_at.elapsed() < PATIENT / 2, "a later look waits for nothing");
    assert_eq!(questions(&scene), 1, "and begins no second one beside it");
    cancel.cancel();
    tasks.join_next().await.unwrap().unwrap().unwrap();
}
