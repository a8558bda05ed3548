//! A real PostgreSQL and a real Redis on the lab's network, for releases that ask whether a host reaches them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::fleet::path;
use crate::process::{Process, words};
use crate::{Fleet, http, wait};

const STARTED: Duration = Duration::from_secs(20);

/// Both, each on a port of the lab's gateway. Dropping them ends their processes.
#[derive(Debug)]
pub struct Datastores {
    /// `address:port` of the database.
    pub postgres: String,
    /// `address:port` of the cache.
    pub redis: String,
    _running: [Process; 2],
    _data: Folder,
}

impl Datastores {
    /// Starts both and waits until they accept connections.
    ///
    /// # Panics
    /// If one of them is not installed or does not start.
    pub fn start(fleet: &Fleet) -> Self {
        let gateway = fleet.lab.gateway();
        let folder = fleet.folder.join("redis");
        fs::create_dir_all(&folder).expect("the scenario's folder can be written");
        let command = ["redis-server", "--bind", &gateway, "--port", "6379", "--protected-mode", "no"];
        let command = words(command).into_iter().chain(words(["--save", "", "--dir", path(&folder)]));
        let environment = crate::fleet::environment(&fleet.folder);
        let log = |name: &str| fleet.folder.join(name);
        let redis = Process::start("redis", command.collect(), environment.clone(), &log("redis.log"));
        let programs = postgres_programs();
        let data = Folder::of_postgres();
        let user = words(["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]);
        let made = Command::new(&user[0])
            .args(&user[1..])
            .arg(programs.join("initdb"))
            .args(["--auth=trust", "--no-sync", "--pgdata"])
            .arg(&data.0)
            .output()
            .expect("setpriv is there");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut command = user;
        command.push(programs.join("postgres").into());
        let options = ["-D", path(&data.0), "-h", &gateway, "-p", "5432", "-k", path(&data.0), "-F"];
        command.extend(words(options));
        let postgres = Process::start("postgres", command, environment, &log("postgres.log"));
        let started = Self {
            postgres: format!("{gateway}:5432"),
            redis: format!("{gateway}:6379"),
            _running: [postgres, redis],
            _data: data,
        };
        for address in [&started.postgres, &started.redis] {
            wait::until(&format!("{address} accepts connections"), STARTED, || {
                http::connects(address).map_err(|error| error.to_string())
            });
        }
        started
    }
}

/// The database's folder: outside the scenario's, which is root's alone. It goes with its value, after the processes.
#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // the next run clears it too
    }
}

impl Folder {
    fn of_postgres() -> Self {
        let folder = PathBuf::from("/var/tmp/windlass-postgres");
        let _ = fs::remove_dir_all(&folder); // of an earlier run, if there was one
        fs::create_dir(&folder).expect("/var/tmp can be written");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("it was made just now");
        let number = |option: &str| {
            let said = Command::new("id").args([option, "postgres"]).output().expect("id is there").stdout;
            String::from_utf8_lossy(&said).trim().parse::<u32>().expect("the package makes a user postgres")
        };
        chown(&folder, Some(number("-u")), Some(number("-g"))).expect("this is root");
        Self(folder)
    }
}

/// The folder of the newest PostgreSQL that is installed.
fn postgres_programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("tests/lab/install.sh installs PostgreSQL");
    let newest = versions.filter_map(|entry| Some(entry.ok()?.path())).max();
    newest.map(|version: PathBuf| Path::new(&version).join("bin")).expect("a version is installed")
}
