//! The last words of the program: for people, and as JSON where that was asked for.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;

use serde_json::Value;

/// Exit code and stderr of `windlass-agent` with these arguments, in an empty folder.
fn run(args: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_windlass-agent"));
    let done = command.args(args).env_clear().current_dir(folder.path()).output().unwrap();
    assert_eq!(done.stdout, b"", "{args:?}: results and errors do not mix");
    (done.status.code(), String::from_utf8(done.stderr).unwrap())
}

#[test]
fn errors_are_json_where_that_was_asked_for() {
    #[rustfmt::skip]
    let table: [(&[&str], i32, &str); 5] = [
        (&["--data", "none", "trust", "import", "no.json", "-o", "json"],        1, "no"),
        (&["--data", "none", "trust", "import", "no.json", "--log", "json"],     1, "no"),
        (&["--data", "none", "--log-format", "json", "trust", "import", "no.json"], 1, "no"),
        (&["doctro", "-o", "json"],                                              2, "unrecognized subcommand 'doctro'"),
        (&["run", "--log", "json", "--polcy", "p"],                              2, "unexpected argument '--polcy'"),
    ];
    for (args, code, what) in table {
        let (exit, stderr) = run(args);
        let error: Value = serde_json::from_str(&stderr).unwrap_or_else(|_| panic!("{args:?}: {stderr}"));
        assert_eq!(exit, Some(code), "{args:?}: {error}");
        let words = format!("{}: {}", error["error"], error["causes"]);
        assert!(words.contains(what), "{args:?}: {error}");
    }
    let (exit, stderr) = run(&["--data", "none", "trust", "import", "no.json"]);
    assert!(exit == Some(1) && stderr.starts_with("error: "), "{stderr}");
}
