//! The process that asks for GPUs, as it is shipped, with a library in which any call may hang: nobody waits for it, it
//! is replaced, and what was known last stands.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod doctor;
mod memory;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_agent::gpu::{Known, Limits, Probe, Shared};

/// Every function that is called.
const FUNCTIONS: [&str; 25] = [
    "nvmlInit_v2",
    "nvmlSystemGetDriverVersion",
    "nvmlSystemGetCudaDriverVersion_v2",
    "nvmlDeviceGetSupportedEventTypes",
    "nvmlEventSetCreate",
    "nvmlDeviceRegisterEvents",
    "nvmlDeviceGetCount_v2",
    "nvmlDeviceGetHandleByIndex_v2",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetName",
    "nvmlDeviceGetMemoryInfo_v2",
    "nvmlDeviceGetFieldValues",
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetTemperature",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetClockInfo",
    "nvmlDeviceGetRetiredPagesPendingStatus",
    "nvmlDeviceGetEnforcedPowerLimit",
    "nvmlDeviceGetTotalEccErrors",
    "nvmlDeviceGetCurrentClocksThrottleReasons",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetMaxMigDeviceCount",
    "nvmlDeviceGetMigDeviceHandleByIndex",
    "nvmlEventSetWait_v2",
];
/// Those of them that are called only when the library is loaded.
const AT_LOAD: usize = 6;
const LONG: Duration = Duration::from_secs(60);

struct Scene {
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl Scene {
    /// With the stand-in, built from its source, and the program started so that it finds it.
    fn new() -> Self {
        Self::built_with(&[])
    }

    /// The same with more arguments for the compiler.
    fn built_with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/gpu/fake_nvml.c");
        let library = folder.path().join("libnvidia-ml.so.1");
        let built = Command::new("gcc")
            .args(["-std=c11", "-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .args(arguments)
            .status()
            .unwrap();
        assert!(built.success(), "gcc builds the stand-in");
        let program = folder.path().join("agent");
        let state = folder.path().join("gpus.state");
        let agent = env!("CARGO_BIN_EXE_windlass-agent");
        let log = |name: &str| folder.path().join(name).display().to_string();
        let script = format!(
            "#!/bin/sh\nexport WINDLASS_NVML={} FAKE_NVML_STATE={} FAKE_NVML_LOG={} FAKE_SMI_LOG={}\nPATH={}:$PATH exec {agent} \"$@\"\n",
            library.display(),
            state.display(),
            log("calls.log"),
            log("smi.log"),
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/gpu").display()
        );
        std::fs::write(&program, script).unwrap();
        assert!(Command::new("chmod").arg("+x").arg(&program).status().unwrap().success());
        let scene = Self { folder, program };
        scene.say("");
        scene
    }

    /// Two GPUs, and what else stands in the file.
    fn say(&self, more: &str) {
        let two = "gpu uuid=GPU-1 name=L4 total=24576 used=1000 util=37 temp=55 power=61000\ngpu uuid=GPU-2 name=L4 total=24576";
        self.write(&format!("{two}\n{more}"));
    }

    fn write(&self, lines: &str) {
        let beside = self.folder.path().join("new.state");
        std::fs::write(&beside, format!("driver 550\n{lines}\n")).unwrap();
        std::fs::rename(beside, self.folder.path().join("gpus.state")).unwrap();
    }

    /// The functions of the library that were called.
    fn called(&self) -> BTreeSet<String> {
        let log = std::fs::read_to_string(self.folder.path().join("calls.log")).unwrap();
        log.lines().filter_map(|line| line.split(' ').nth(2)).map(str::to_owned).collect()
    }

    fn probe(&self, cancel: &CancellationToken) -> Probe {
        self.probe_within(Duration::from_secs(2), Duration::from_millis(700), cancel)
    }

    /// One that gives the first answer of a child so much time, and says after `silent` that there is none.
    fn probe_within(&self, first: Duration, silent: Duration, cancel: &CancellationToken) -> Probe {
        let ms = Duration::from_millis;
        let limits = Limits {
            first,
            later: ms(1200),
            silent,
            every: ms(50),
            again: ms(200),
            pause: (ms(50), ms(200)),
            dying: 2,
        };
        Probe::new(Known::default(), limits, cancel.clone()).with_program(&self.program)
    }
}

/// Children of this process: how many there are, and how many of them are dead and were not fetched.
fn children() -> (usize, usize) {
    let me = std::process::id().to_string();
    let stats = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = stats.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let mine = stats.filter_map(|stat| {
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned);
        let state = fields.next()?;
        (fields.next()? == me).then_some(state)
    });
    let states: Vec<String> = mine.collect();
    (states.len(), states.iter().filter(|state| *state == "Z").count())
}

async fn until(seen: &mut watch::Receiver<Shared>, what: &str, look: impl Fn(&Shared) -> bool) -> Shared {
    let found = tokio::time::timeout(LONG, seen.wait_for(look)).await;
    found.unwrap_or_else(|_| panic!("never: {what}")).unwrap().clone()
}

#[tokio::test]
async fn whichever_call_hangs_the_probe_goes_on_and_is_right_again() {
    hang_each(0..FUNCTIONS.len() / 2).await;
}

#[tokio::test]
async fn whichever_other_call_hangs_the_probe_goes_on_and_is_right() {
    hang_each(FUNCTIONS.len() / 2..FUNCTIONS.len()).await;
}

async fn hang_each(numbers: std::ops::Range<usize>) {
    let scene = Scene::new();
    let cancel = CancellationToken::new();
    let probe = scene.probe(&cancel);
    let mut seen = probe.seen();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(probe.run());
    // The third one is divided.
    let divided = "gpu uuid=GPU-3 name=A30 total=24576 mig=1\nmig gpu=2 uuid=MIG-1 total=5952";
    scene.say(divided);
    for number in numbers {
        let function = FUNCTIONS[number];
        let is_well = |seen: &Shared| seen.stats.len() == 3 && seen.silent.is_none();
        let well = until(&mut seen, "there are three", is_well).await;
        assert_eq!(well.gpus.len(), 3, "{function}");
        let readings = well.stats[0].readings;
        assert_eq!((readings.utilization, readings.power), (Some(37.0), Some(61.0)), "{function}");
        assert_eq!((well.driver.version.as_str(), well.driver.cuda.as_str()), ("550", "12.4"), "{function}");
        // One that was loaded is not loaded again, so that such a call hangs in the next child.
        let also = if number < AT_LOAD { "\nhang nvmlDeviceGetCount_v2 3600" } else { "" };
        scene.say(&format!("{divided}\nhang {function} 3600{also}"));
        let silent = until(&mut seen, function, |seen| seen.silent.is_some()).await;
        assert_eq!((silent.gpus.len(), silent.stats.len()), (3, 0), "{function}: what was known last");
        assert!(silent.silent.as_ref().unwrap().why.contains("has not answered"), "{silent:?}");
        let since = silent.silent.as_ref().unwrap().since;
        tokio::time::sleep(Duration::from_millis(1700)).await; // another child hangs by now, or is about to
        let (all, _) = children();
        assert!(all <= 3, "{function}: {all} children");
        assert_eq!(seen.borrow().silent.as_ref().unwrap().since, since, "{function}: since then, all along");
        scene.say(divided);
    }
    let called = scene.called();
    let left_out: Vec<_> = called.iter().filter(|name| !FUNCTIONS.contains(&name.as_str())).collect();
    assert!(left_out.is_empty() && called.len() == FUNCTIONS.len(), "{left_out:?} of {called:?}");
    until(&mut seen, "it is well in the end", |seen| seen.silent.is_none()).await;
    cancel.cancel();
    tasks.join_next().await.unwrap().unwrap().unwrap();
    let gone = tokio::time::timeout(LONG, async {
        while children().0 > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(gone.await.is_ok(), "no child and no zombie is left: {:?}", children());
}

#[tokio::test]
async fn what_fails_is_said_and_what_is_not_there_is_no_fault() {
    let scene = Scene::new();
    let cancel = CancellationToken::new();
    scene.say("init 18");
    let probe = scene.probe(&cancel);
    let mut seen = probe.seen();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(probe.run());
    let failed = until(&mut seen, "it fails", |seen| seen.silent.is_some()).await;
    assert!(failed.silent.as_ref().unwrap().why.contains("does not work"), "{failed:?}");
    scene.say("");
    until(&mut seen, "it works", |seen| seen.gpus.len() == 2 && seen.silent.is_none()).await;
    std::fs::remove_file(scene.folder.path().join("libnvidia-ml.so.1")).unwrap();
    scene.say("fail nvmlDeviceGetCount_v2 999"); // ends the child, and the next one finds no library
    let none = until(&mut seen, "there is none", |seen| seen.gpus.is_empty()).await;
    assert_eq!(none.silent, None, "an ordinary host");
    cancel.cancel();
    tasks.join_next().await.unwrap().unwrap().unwrap();
}

fn codes(seen: &Shared) -> Vec<&'static str> {
    seen.conditions.iter().map(|condition| condition.code.as_str()).collect()
}

#[tokio::test]
async fn what_becomes_of_gpus_is_seen_within_a_look_and_told() {
    let scene = Scene::new();
    let cancel = CancellationToken::new();
    let probe = scene.probe(&cancel);
    let mut seen = probe.seen();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(probe.run());
    let well = until(&mut seen, "there are two", |seen| seen.gpus.len() == 2).await;
    assert_eq!((well.gpus[0].memory, well.gpus[0].reserved), (24_576 << 20, 0));
    // One falls off the bus, and is there again.
    scene.write("gpu uuid=GPU-1 name=L4 total=24576\ngpu uuid=GPU-2 name=L4 total=24576 lost=1");
    let lost = until(&mut seen, "one is lost", |seen| !seen.lost.is_empty()).await;
    assert_eq!((lost.gpus.len(), lost.gpus[0].uuid.as_str()), (1, "GPU-1"));
    assert_eq!(
        (lost.lost[0].uuid.as_str(), lost.lost[0].why.as_str()),
        ("GPU-2", "it has fallen off the bus")
    );
    assert!(codes(&lost).contains(&"gpu_lost") && lost.silent.is_none(), "{lost:?}");
    scene.say("");
    let back = until(&mut seen, "it is back", |seen| seen.gpus.len() == 2 && seen.lost.is_empty()).await;
    assert_eq!(codes(&back), Vec::<&str>::new());
    // Errors of memory and driver, heat, processes.
    scene.write("gpu uuid=GPU-1 name=L4 total=24576 reserved=500 used=900 ecc=2 throttle=64\ngpu uuid=GPU-2 name=L4 total=24576 remapped=3 remap_pending=1 remap_failed=1 retired=2\nproc gpu=0 pid=4711 used=900\nxid gpu=1 code=48");
    let ill = until(&mut seen, "they are ill", |seen| codes(seen).len() == 3).await;
    assert_eq!(codes(&ill), ["gpu_errors", "gpu_throttled", "gpu_errors"], "{ill:?}");
    assert_eq!((ill.stats[0].ecc_uncorrected, ill.stats[1].xid), (2, 48));
    let of_memory = |at: usize| {
        let stats = &ill.stats[at];
        (stats.remapped_rows, stats.retired_pages, stats.pages_pending, stats.remap_failed)
    };
    assert_eq!((of_memory(0), of_memory(1)), ((0, 0, false, false), (3, 2, true, true)));
    assert_eq!((ill.stats[0].processes[0].pid, ill.gpus[0].reserved), (4711, 500 << 20));
    // A value that it cannot tell is no number: 0 °C would be one.
    scene.say("fail nvmlDeviceGetTemperature 3 1\nfail nvmlDeviceGetPowerUsage 3 1");
    let mute = until(&mut seen, "one is mute", |seen| {
        seen.stats.get(1).is_some_and(|of| of.readings.power.is_none() && of.readings.temperature.is_none())
    });
    let mute = mute.await;
    assert_eq!(mute.stats[1].readings.utilization, Some(0.0));
    assert_eq!(mute.stats[0].readings.temperature, Some(55.0));
    // One that does not tell its memory is there; of one that is divided its instances are.
    scene.write("gpu uuid=GPU-1 name=L4 total=24576\ngpu uuid=GPU-2 name=A30 total=24576 mig=1\nmig gpu=1 uuid=MIG-1 total=5952\nmig gpu=1 uuid=MIG-2 total=5952\nfail nvmlDeviceGetMemoryInfo_v2 3 0");
    let divided = until(&mut seen, "it is divided", |seen| seen.gpus.len() == 3).await;
    let named: Vec<_> = divided.gpus.iter().map(|gpu| (gpu.uuid.as_str(), gpu.parent.as_deref())).collect();
    assert_eq!(named, [("GPU-1", None), ("MIG-1", Some("GPU-2")), ("MIG-2", Some("GPU-2"))]);
    assert_eq!((divided.gpus[0].memory, divided.gpus[1].memory), (0, 5952 << 20));
    assert!(divided.lost.is_empty(), "{divided:?}");
    cancel.cancel();
    tasks.join_next().await.unwrap().unwrap().unwrap();
}

/// One that reports nothing silences no other one, and the last words of one that falls off the bus are heard.
#[tokio::test]
async fn errors_are_heard_beside_a_deaf_gpu_and_with_a_loss() {
    let scene = Scene::new();
    let gpus = |lost: &str, errors: &str| {
        let deaf = "gpu uuid=GPU-1 name=T4 total=16384 deaf=1";
        scene.write(&format!("{deaf}\ngpu uuid=GPU-2 name=L4 total=24576{lost}\n{errors}"));
    };
    gpus("", "");
    let cancel = CancellationToken::new();
    let probe = scene.probe(&cancel);
    let mut seen = probe.seen();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(probe.run());
    until(&mut seen, "there are two", |seen| seen.stats.len() == 2).await;
    gpus("", "xid gpu=1 code=48");
    until(&mut seen, "an error is heard", |seen| seen.stats.get(1).is_some_and(|of| of.xid == 48)).await;
    gpus(" lost=1", "xid gpu=1 code=48\nxid gpu=1 code=79");
    let lost =
        until(&mut seen, "its loss is heard", |seen| seen.lost.iter().any(|lost| lost.xid == 79)).await;
    assert_eq!((lost.lost[0].uuid.as_str(), lost.lost[0].xid_count), ("GPU-2", 2), "{lost:?}");
    gpus("", "");
    let back = until(&mut seen, "it is back", |seen| seen.stats.len() == 2).await;
    assert_eq!((back.stats[1].xid_count, back.stats[0].xid_count), (2, 0), "{back:?}");
    cancel.cancel();
    tasks.join_next().await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn gpus_go_and_come_with_their_driver() {
    let scene = Scene::new();
    scene.say("init 9");
    let cancel = CancellationToken::new();
    let probe = scene.probe(&cancel);
    let mut seen = probe.seen();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(probe.run());
    let none = until(&mut seen, "there is no driver", |seen| seen.at.is_some()).await;
    assert!(none.gpus.is_empty() && none.lost.is_empty() && none.silent.is_none(), "an ordinary host");
    scene.say("");
    until(&mut seen, "the driver was loaded", |seen| seen.gpus.len() == 2).await;
    scene.say("init 9\nfail nvmlDeviceGetCount_v2 1");
    let gone = until(&mut seen, "the driver was unloaded", |seen| seen.lost.len() == 2).await;
    assert!(gone.gpus.is_empty() && gone.lost[0].why.contains("driver is not there"), "{gone:?}");
    cancel.cancel();
    tasks.join_next().await.unwrap().unwrap().unwrap();
}

/// The script for real GPUs, with the stand-ins: one in two is divided.
#[test]
fn the_script_for_real_gpus_runs_with_stand_ins() {
    if Command::new("jq").arg("--version").output().is_err() {
        return eprintln!("LEFT OUT: tests/gpu/real.sh, because jq is not installed");
    }
    let scene = Scene::new();
    scene.write("gpu uuid=GPU-1 name=L4 total=24576 used=1000\ngpu uuid=GPU-2 name=A30 total=24576 mig=1\nmig gpu=1 uuid=MIG-1 total=5952\nmig gpu=1 uuid=MIG-2 total=5952");
    let doubles = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/gpu");
    let path = format!("{}:{}", doubles.display(), std::env::var("PATH").unwrap());
    let run = |state: &Path| {
        let mut script = Command::new(doubles.join("real.sh"));
        script.arg(&scene.program).env("PATH", &path).env("FAKE_NVML_STATE", state);
        let ended = script.env("WINDLASS_DATA", scene.folder.path()).output().unwrap();
        let said = [ended.stdout, ended.stderr].map(|of| String::from_utf8_lossy(&of).into_owned()).concat();
        (ended.status.code(), said)
    };
    let (code, said) = run(&scene.folder.path().join("gpus.state"));
    assert_eq!(code, Some(0), "{said}");
    for line in [
        "ok     inventory: 2 GPUs as nvidia-smi lists them",
        "ok     inventory: MIG instances as nvidia-smi lists them",
        "ok     cost: ",
        "figure a look takes ",
        "skip   hang: no agent with GPUs runs here",
    ] {
        assert!(said.contains(line), "{line} is not in {said}");
    }
    // It fails where nvidia-smi lists another GPU than the probe sees.
    let other = scene.folder.path().join("other.state");
    std::fs::write(&other, "driver 550\ngpu uuid=GPU-9 name=L4 total=24576\n").unwrap();
    let (code, said) = run(&other);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("FAIL   inventory: "), "{said}");
}
