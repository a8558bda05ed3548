//! The ingress as its shipped unit starts it: a user of its own without a right but to listen on low ports, and the folders of
//! `tmpfiles.d` and `StateDirectory`.

use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use crate::http::{Endpoint, get};
use crate::world::{FakeAgent, Keys, Process};

const WEB: &str = "web.example.com";
const UNIT: &str = include_str!("../../../deploy/ingress/windlass-ingress@.service");
const TMPFILES: &str = include_str!("../../../deploy/ingress/tmpfiles.conf");
/// Of nobody on this machine, as `sysusers.d` gives one that is free.
const USER: u32 = 64_987;

/// The value of a setting of the unit.
fn setting(name: &str) -> &'static str {
    let found = UNIT.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("the unit has no {name}"))
}

/// Makes a folder with this mode, owner and group.
fn folder(path: &Path, mode: &str, owner: u32, group: u32) {
    fs::create_dir(path).unwrap();
    chown(path, Some(owner), Some(group)).unwrap();
    fs::set_permissions(path, Permissions::from_mode(u32::from_str_radix(mode, 8).unwrap())).unwrap();
}

/// A port that only the capability opens, at an address of this machine that nobody listens on.
fn low_port() -> Option<SocketAddr> {
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").ok()?;
    let low = 80..first.trim().parse::<u16>().ok()?;
    low.map(|port| SocketAddr::from(([127, 80, 14, 1], port))).find(|at| TcpListener::bind(at).is_ok())
}

/// The command of the unit as its user, with its capabilities, its folders in `run` and `state`, and its address.
fn command(program: &Path, run: &Path, state: &Path, at: SocketAddr) -> Command {
    let capabilities = setting("CapabilityBoundingSet");
    assert_eq!(setting("AmbientCapabilities"), capabilities);
    let kept = capabilities.trim_start_matches("CAP_").to_lowercase();
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid",
        &USER.to_string(),
        "--regid",
        &USER.to_string(),
        "--clear-groups",
        "--no-new-privs",
    ]);
    command.args(["--bounding-set", "--inh-caps", "--ambient-caps"].map(|set| format!("{set}=-all,+{kept}")));
    let mut words = setting("ExecStart").split(' ');
    assert_eq!(words.next(), Some("/usr/local/bin/windlass-agent"));
    command.arg(program);
    for word in words.filter(|word| *word != "$INGRESS_OPTIONS") {
        command.arg(match word {
            "/run/windlass/ingress.sock" => run.join("ingress.sock").display().to_string(),
            "/var/lib/windlass-ingress" => state.display().to_string(),
            "0.0.0.0:80" => at.to_string(),
            word => word.to_owned(),
        });
    }
    command
}

#[tokio::test]
async fn the_unit_of_the_ingress_needs_no_more_than_it_gives() {
    let setpriv = Command::new("setpriv").arg("--version").output().is_ok();
    if !rustix::process::geteuid().is_root() || !setpriv {
        return eprintln!("LEFT OUT: the ingress as its own user, which takes root and setpriv");
    }
    let Some(at) = low_port() else {
        return eprintln!("LEFT OUT: the ingress on a low port, which everybody may have here");
    };
    let base = tempfile::tempdir().unwrap();
    fs::set_permissions(base.path(), Permissions::from_mode(0o755)).unwrap();
    let program = base.path().join("windlass-agent");
    fs::copy(env!("CARGO_BIN_EXE_windlass-agent"), &program).unwrap();
    let (run, state) = (base.path().join("run"), base.path().join("state"));
    let made: Vec<&str> = TMPFILES.lines().last().unwrap().split(' ').collect();
    assert_eq!(made[..2], ["d", "/run/windlass"]);
    assert_eq!((made[3], made[4], setting("Group")), ("root", "windlass-ingress", "windlass-ingress"));
    folder(&run, made[2], 0, USER);
    folder(&state, setting("StateDirectoryMode"), USER, USER);

    let keys = Keys::new();
    let one = Endpoint::listen("one").await;
    let said = vec![keys.trust(1, &keys.0.dispatch), keys.table(5, &[one.address])];
    let mut agent = FakeAgent::listen(&run, said);
    let socket = fs::metadata(run.join("ingress.sock")).unwrap();
    assert_eq!((socket.mode() & 0o777, socket.uid(), socket.gid()), (0o660, 0, USER));
    let ingress = Process::of(&mut command(&program, &run, &state, at));
    let report = agent.report("a table", |report| !report.tables.is_empty()).await;
    assert_eq!(report.listens[0].address, at);
    assert_eq!(get(at, WEB, "/").await.unwrap().body, "one");

    let status = fs::read_to_string(format!("/proc/{}/status", ingress.pid())).unwrap();
    let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(of("Uid:").split_whitespace().collect::<Vec<_>>(), [USER.to_string().as_str(); 4], "{status}");
    for set in ["CapEff:", "CapPrm:", "CapBnd:", "CapAmb:"] {
        assert_eq!(of(set), "0000000000000400", "{set} is NET_BIND_SERVICE alone");
    }
    // The ingress owns every file that it wrote.
    let kept = fs::read_dir(&state).unwrap().flatten().collect::<Vec<_>>();
    assert!(!kept.is_empty() && kept.iter().all(|entry| entry.metadata().unwrap().uid() == USER), "{kept:?}");
}
