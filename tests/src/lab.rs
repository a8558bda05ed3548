//! The lab's scripts, and the lanes that let scenarios run side by side: a lane is a lab of its own, with its own
//! folder, network, registry and hosts, and one scenario at a time has it.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::host::Host;
use crate::wait;

const FOLDER: &str = "/var/tmp/windlass-tests";
const NET: &str = "10.214.0";
/// Time that a scenario waits for a lane: every lane is in use by a scenario that ends.
const TURN: Duration = Duration::from_secs(600);

/// A lane, locked for one scenario. Its registry and images stay for the next one; `make clean-lab` ends them.
#[derive(Debug)]
pub struct Lab {
    folder: PathBuf,
    net: String,
    _lock: File,
}

impl Lab {
    /// Waits for its turn, then sees to it that the registry runs and has the images.
    ///
    /// # Panics
    /// If this machine does not permit it, with the reason: a scenario is never passed over in silence.
    pub fn enter() -> Self {
        let setting = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
        let (folder, net) = (setting("WINDLASS_LAB", FOLDER), setting("WINDLASS_LAB_NET", NET));
        let lanes = setting("WINDLASS_LAB_LANES", "1").parse().expect("WINDLASS_LAB_LANES is a number");
        let lanes: Vec<(PathBuf, String)> = (0..lanes).map(|lane| lane_of(&folder, &net, lane)).collect();
        let (folder, net, lock) = wait::until("a lane of the lab is free", TURN, || {
            let free = lanes.iter().find_map(|(folder, net)| Some((folder.clone(), net.clone(), lock(net)?)));
            free.ok_or_else(|| "scenarios run in all of them".to_owned())
        });
        let lab = Self { folder, net, _lock: lock };
        lab.script("host.sh", &["down-all"]); // of a scenario that was killed
        lab.script("registry.sh", &["up"]);
        lab.push_images();
        lab
    }

    /// The lab's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The machine's own address in the lab, where coordinator and registry listen.
    pub fn gateway(&self) -> String {
        format!("{}.1", self.net)
    }

    /// The registry without a password.
    pub fn registry(&self) -> String {
        format!("{}:5000", self.gateway())
    }

    /// A sample image of that registry.
    pub fn image(&self, tag: &str) -> String {
        format!("{}/web:{tag}", self.registry())
    }

    /// The path of a scenario's folder.
    pub fn scratch_path(&self, name: &str) -> PathBuf {
        self.folder.join("fleets").join(name)
    }

    /// A new empty folder for a scenario, below the lab's.
    pub fn scratch(&self, name: &str) -> PathBuf {
        let folder = self.scratch_path(name);
        unmount_below(&folder);
        let _ = fs::remove_dir_all(&folder); // of an earlier run, if there was one
        fs::create_dir_all(&folder).expect("the lab's folder can be written");
        folder
    }

    /// Starts hosts h1 to hN.
    pub fn hosts(&self, count: usize) -> Vec<Host> {
        if count == 0 {
            return Vec::new();
        }
        let names: Vec<(String, String)> = (1..=count).map(|n| (format!("h{n}"), n.to_string())).collect();
        let arguments: Vec<&str> = names.iter().flat_map(|(name, index)| [name.as_str(), index]).collect();
        self.script("host.sh", &[&["up"], arguments.as_slice()].concat());
        names.iter().map(|(name, _)| self.host(name)).collect()
    }

    /// Starts one more host, with settings of its own for the engine.
    pub fn host_with(&self, index: usize, engine: &serde_json::Value) -> Host {
        let name = format!("h{index}");
        let mut command = self.command("host.sh", &["up", &name, &index.to_string()]);
        run(command.env("WINDLASS_LAB_ENGINE", engine.to_string()));
        self.host(&name)
    }

    /// Starts one more host, whose engine finds doubles of NVIDIA's hook and runtime (its default one) on its `PATH`. They see
    /// the GPUs that `state` says, and write what they are asked for into `log`.
    pub fn host_with_gpus(&self, index: usize, state: &Path, log: &Path) -> Host {
        let name = format!("h{index}");
        let doubles = Path::new(env!("CARGO_MANIFEST_DIR")).join("gpu");
        // An engine starts them without the environment of whoever started it.
        for double in ["nvidia-container-runtime", "nvidia-container-runtime-hook"] {
            let environment =
                format!("FAKE_NVML_STATE={} FAKE_NVIDIA_LOG={}", state.display(), log.display());
            let script = format!("#!/bin/sh\n{environment} exec {} \"$@\"\n", doubles.join(double).display());
            let at = log.join(double);
            fs::write(&at, script).expect("the scenario's folder can be written");
            fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).expect("it was written just now");
        }
        let runtime = log.join("nvidia-container-runtime");
        let engine = serde_json::json!({
            "runtimes": { "nvidia": { "path": runtime } }, "default-runtime": "nvidia",
        });
        let mut path = log.as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = self.command("host.sh", &["up", &name, &index.to_string()]);
        run(command.env("WINDLASS_LAB_ENGINE", engine.to_string()).env("PATH", path));
        self.host(&name)
    }

    fn host(&self, name: &str) -> Host {
        Host::read(&self.folder.join("hosts").join(name))
    }

    /// Takes every host down. A failed scenario unwinds through here, so nothing panics; the next scenario does the
    /// same again, and insists.
    pub(crate) fn hosts_down(&self) {
        let _ = self.command("host.sh", &["down-all"]).output();
    }

    /// Runs a script of the lab, which must succeed; answers with what it printed.
    #[track_caller]
    pub fn script(&self, name: &str, arguments: &[&str]) -> String {
        run(&mut self.command(name, arguments))
    }

    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab").join(name);
        let mut command = Command::new(script);
        command.args(arguments).env("WINDLASS_LAB", &self.folder).env("WINDLASS_LAB_NET", &self.net);
        command
    }

    /// Pushes the sample images unless the registry has those of the newest sources and of the newest table of images.
    fn push_images(&self) {
        let stamp = self.folder.join("registry/5000/images");
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let wanted = format!("{} {}", newest(&here.join("sample/src")), newest(&here.join("lab")));
        if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
            return;
        }
        self.script("images.sh", &["--registry", &self.registry()]);
        fs::write(stamp, wanted).expect("the lab's folder can be written");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.hosts_down();
    }
}

/// Folder and network of a lane: the first has those of the lab, the others stand beside them.
fn lane_of(folder: &str, net: &str, lane: u8) -> (PathBuf, String) {
    if lane == 0 {
        return (folder.into(), net.to_owned());
    }
    let (front, third) = net.rsplit_once('.').expect("the lab's network has three octets");
    let third: u8 = third.parse().expect("the lab's network has three octets");
    (format!("{folder}-{lane}").into(), format!("{front}.{}", third + lane))
}

/// Takes the lane, unless a scenario has it.
fn lock(net: &str) -> Option<File> {
    let path = std::env::temp_dir().join(format!("windlass-lab-{net}.lock"));
    let file = File::options().create(true).append(true).open(path).expect("the lock file can be written");
    file.try_lock().is_ok().then_some(file)
}

/// Unmounts every file system below a folder: a mount that a killed scenario left there outlives its server, and the
/// folder cannot be removed until it is gone.
fn unmount_below(folder: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let targets = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
    for target in targets.filter(|target| target.starts_with(folder)) {
        let _ = Command::new("umount").arg("--lazy").arg(target).status();
    }
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().expect("the lab's scripts can be run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code();
    let why = if code == Some(3) { "this machine does not permit the lab" } else { "the lab failed" };
    assert!(output.status.success(), "{why}: {command:?} exited with {code:?}\n{}", text(&output.stderr));
    text(&output.stdout)
}

fn newest(folder: &Path) -> u128 {
    let entries = fs::read_dir(folder).expect("the sample's sources are there").flatten();
    let changed = entries.filter_map(|entry| entry.metadata().ok()?.modified().ok());
    changed
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis())
}
