//! The engine's way to give GPUs to containers. No engine says so itself: one that knows the runtime `nvidia` may still refuse a
//! device
//! request, and one that knows none may serve it, as that is up to NVIDIA's hook on the engine's own `PATH`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout;
use windlass_core::host::GpuAccess;

/// A process that cannot be looked at within this is not seen.
const PATIENCE: Duration = Duration::from_secs(2);
/// The hook that makes an engine serve device requests.
const HOOK: &str = "nvidia-container-runtime-hook";
/// Processes that are looked through for the engine's.
const PROCESSES: usize = 65_536;
/// The part of a CDI device's name before its UUID or number.
pub const CDI: &str = "nvidia.com/gpu=";

/// Folders of CDI specifications that are named, and characters of each.
const FOLDERS: (usize, usize) = (4, 128);

const HINT: &str = "install the NVIDIA Container Toolkit on the host and restart the engine";

/// The engine's word about itself.
#[derive(Debug, Clone, Default)]
pub struct Says {
    /// Programs of its runtimes, by name; empty where it does not say.
    pub runtimes: BTreeMap<String, String>,
    /// Names of the CDI devices that it has found.
    pub cdi: Vec<String>,
    /// The folders in which it looks for their specifications.
    pub cdi_folders: Vec<String>,
}

impl Says {
    /// ` in /etc/cdi, /var/run/cdi`; empty where the engine does not say.
    pub fn folders(&self) -> String {
        let short = |folder: &String| folder.chars().take(FOLDERS.1).collect::<String>();
        let named: Vec<String> = self.cdi_folders.iter().take(FOLDERS.0).map(short).collect();
        if named.is_empty() { String::new() } else { format!(" in {}", named.join(", ")) }
    }
}

/// Facts that its process shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    /// Whether the hook is on its `PATH`.
    hook: bool,
    /// Whether the program of its runtime `nvidia` is there.
    runtime: bool,
}

/// Finds out how the engine behind `socket` gives GPUs to containers.
pub async fn find(socket: &Path, says: &Says) -> GpuAccess {
    let peer = timeout(PATIENCE, UnixStream::connect(socket)).await;
    let peer = peer.ok().and_then(Result::ok).and_then(|stream| stream.peer_cred().ok()?.pid());
    let program = says.runtimes.get("nvidia").cloned();
    // Reads in another process may hang.
    let look = tokio::task::spawn_blocking(move || process(peer?, program.as_deref()));
    let process = timeout(PATIENCE, look).await.ok().and_then(Result::ok).flatten();
    judge(says, process)
}

fn judge(says: &Says, process: Option<Process>) -> GpuAccess {
    let has_runtime = says.runtimes.contains_key("nvidia");
    let has_cdi = says.cdi.iter().any(|name| name.starts_with(CDI));
    match process {
        Some(Process { hook: true, .. }) => GpuAccess::Hook,
        Some(_) | None if has_cdi => GpuAccess::Cdi,
        Some(Process { runtime: true, .. }) if has_runtime => GpuAccess::Runtime,
        Some(_) if has_runtime => {
            GpuAccess::No(format!("the program of the engine's runtime `nvidia` is not there: {HINT}"))
        }
        Some(_) => GpuAccess::No(format!(
            "the engine has neither NVIDIA's hook on its PATH, nor its runtime, nor CDI devices{}: {HINT}",
            says.folders()
        )),
        // Without the right to look at the engine's process, the first start tells.
        None => GpuAccess::Unknown,
    }
}

/// Looks at the engine's process. `peer` is the one that made the socket: the engine, or systemd for it.
fn process(peer: i32, program: Option<&str>) -> Option<Process> {
    let pid = if peer == 1 { only_dockerd()? } else { peer };
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let path = environ.split(|byte| *byte == 0).find_map(|pair| pair.strip_prefix(b"PATH="))?;
    let path = String::from_utf8_lossy(path).into_owned();
    // Its folders may be others than ours.
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let on_path = |name: &str| {
        let folders = path.split(':').filter(|folder| folder.starts_with('/'));
        folders.into_iter().any(|folder| is_program(&root.join(&folder[1..]).join(name)))
    };
    let runtime = program.is_some_and(|program| match program.strip_prefix('/') {
        Some(program) => is_program(&root.join(program)),
        None => program.is_empty() || on_path(program),
    });
    Some(Process { hook: on_path(HOOK), runtime })
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The one engine of this machine; none if there are several.
fn only_dockerd() -> Option<i32> {
    let entries = fs::read_dir("/proc").ok()?.flatten().take(PROCESSES);
    let mut found = entries.filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        (name.trim() == "dockerd").then_some(pid)
    });
    found.next().filter(|_| found.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(runtime: bool, cdi: bool) -> Says {
        let runtimes = runtime.then(|| ("nvidia".to_owned(), "nvidia-container-runtime".to_owned()));
        let cdi =
            if cdi { vec!["nvidia.com/gpu=GPU-1".to_owned()] } else { vec!["vendor.com/nic=0".to_owned()] };
        Says { runtimes: runtimes.into_iter().collect(), cdi, cdi_folders: Vec::new() }
    }

    #[test]
    fn what_serves_a_device_request_is_not_what_the_engine_lists() {
        let process = |hook, runtime| Some(Process { hook, runtime });
        #[rustfmt::skip]
        let table = [
            ("the hook alone",                     says(false, false), process(true, false),  "Hook"),
            ("the hook and the runtime",           says(true, false),  process(true, true),   "Hook"),
            ("the runtime alone",                  says(true, false),  process(false, true),  "Runtime"),
            ("a runtime whose program has gone",   says(true, false),  process(false, false), "No"),
            ("CDI",                                says(false, true),  process(false, false), "Cdi"),
            ("CDI, and nobody may look",           says(false, true),  None,                  "Cdi"),
            ("nothing",                            says(false, false), process(false, false), "No"),
            ("nobody may look",                    says(true, false),  None,                  "Unknown"),
        ];
        for (case, says, process, want) in table {
            let got = format!("{:?}", judge(&says, process));
            assert!(got.starts_with(want), "{case}: {got}");
        }
    }

    #[test]
    fn an_engine_without_devices_says_where_it_looked() {
        let folders = (0..9).map(|number| format!("/cdi/{number}")).collect();
        let says = Says { cdi_folders: folders, ..says(false, false) };
        let GpuAccess::No(why) = judge(&says, Some(Process { hook: false, runtime: false })) else {
            panic!("it gives some");
        };
        assert!(why.contains("nor CDI devices in /cdi/0, /cdi/1, /cdi/2, /cdi/3: install"), "{why}");
    }

    #[tokio::test]
    async fn the_engine_behind_a_socket_and_its_path_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("engine.sock");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        // It is this process, whose PATH has no such hook, and whose shell is a program.
        let shell =
            Says { runtimes: [("nvidia".to_owned(), "/bin/sh".to_owned())].into(), ..Says::default() };
        assert_eq!(find(&socket, &shell).await, GpuAccess::Runtime);
        let gone =
            Says { runtimes: [("nvidia".to_owned(), "/no/such".to_owned())].into(), ..Says::default() };
        assert!(matches!(find(&socket, &gone).await, GpuAccess::No(why) if why.contains("is not there")));
        drop(listener);
        assert_eq!(find(&dir.path().join("none"), &shell).await, GpuAccess::Unknown);
    }
}
