//! A coordinator on loopback, and homes of people who call it.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use windlass_tests::fleet::{environment, program};
use windlass_tests::process::{Process, words};
use windlass_tests::{Cli, wait};

const LIMIT: Duration = Duration::from_secs(30);

/// A fleet without hosts.
pub(crate) struct Desk {
    folder: TempDir,
    pub(crate) server: String,
    pub(crate) http: String,
    process: Option<Process>,
}

impl Desk {
    /// With a fleet `demo` of operator `alice`; its coordinator runs.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Of an address of its own: whoever connects from 127.0.0.1 takes none of its ports while it is stopped.
        let own = Ipv4Addr::from_bits(0x7f40_0000 | std::process::id() & 0x3f_ffff);
        let ports = [(); 2].map(|()| TcpListener::bind((own, 0)).unwrap());
        let [server, http] = ports.map(|port| port.local_addr().unwrap().to_string());
        let mut desk = Self { folder, server, http, process: None };
        let data = desk.data().display().to_string();
        let made = [
            "init",
            "--fleet",
            "demo",
            "--server",
            &desk.server,
            "--server-dir",
            &data,
            "--operator",
            "alice",
        ];
        desk.person("alice").ok(&made);
        desk.start();
        desk
    }

    /// The coordinator's folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    /// A file beside everything.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `windlass` as somebody with a home folder of their own.
    pub(crate) fn person(&self, name: &str) -> Cli {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Cli::new(program("windlass"), environment(&folder))
    }

    /// `windlass-server` for one command, while it is stopped.
    pub(crate) fn server_command(&self) -> Cli {
        Cli::new(program("windlass-server"), environment(self.folder.path()))
    }

    /// Starts the coordinator and waits until it answers.
    pub(crate) fn start(&mut self) {
        self.listen();
        let alice = self.person("alice");
        wait::until("the coordinator answers", LIMIT, || {
            let asked = alice.run(&["host", "ls"]);
            if asked.code == 0 { Ok(()) } else { Err(asked.stderr) }
        });
    }

    /// Starts the coordinator and waits until it listens, whomever it answers.
    pub(crate) fn listen(&mut self) {
        let data = self.data().display().to_string();
        let command = [
            program("windlass-server").into_string().unwrap(),
            "--data".into(),
            data,
            "--listen".into(),
            self.server.clone(),
            "--http".into(),
            self.http.clone(),
        ];
        let log = self.folder.path().join("server.log");
        self.process =
            Some(Process::start("windlass-server", words(command), environment(self.folder.path()), &log));
        wait::until("the coordinator listens", LIMIT, || {
            std::net::TcpStream::connect(&self.server).map(drop).map_err(|error| error.to_string())
        });
    }

    /// The coordinator's process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().pid()
    }

    /// Stops it in order: the last thing it does is a checkpoint.
    pub(crate) fn stop(&mut self) {
        let ended = self.process.take().unwrap().stop(LIMIT);
        assert!(ended.success(), "{ended}");
    }

    /// Some entries of the audit log.
    pub(crate) fn entries(&self, name: &str, count: usize) {
        let alice = self.person("alice");
        (0..count).for_each(|n| drop(alice.ok(&["host", "token", &format!("{name}-{n}")])));
    }
}
