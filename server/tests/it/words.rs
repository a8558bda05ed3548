//! The last words of the program: for people, and as JSON where that was asked for.

use std::process::Command;

use serde_json::Value;

/// Exit code and stderr of `windlass-server` with these arguments, in an empty folder with a file `there`.
fn run(args: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("there"), "kept").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_windlass-server"));
    let done = command.args(args).env_clear().current_dir(folder.path()).output().unwrap();
    assert_eq!(done.stdout, b"", "{args:?}: results and errors do not mix");
    assert_eq!(std::fs::read(folder.path().join("there")).unwrap(), b"kept");
    (done.status.code(), String::from_utf8(done.stderr).unwrap())
}

#[test]
fn errors_are_json_where_that_was_asked_for() {
    #[rustfmt::skip]
    let table: [(&[&str], i32, &str); 5] = [
        (&["--data", "none", "check", "-o", "json"],                     1, "none"),
        (&["--data", "none", "check", "-o", "yaml"],                     1, "none"),
        (&["--data", "none", "--log-format", "json", "check"],           1, "none"),
        (&["--data", "none", "store", "export", "there", "-o", "json"],  1, "failed to create `there`"),
        (&["chekc", "-o", "json"],                                       2, "unrecognized subcommand 'chekc'"),
    ];
    for (args, code, what) in table {
        let (exit, stderr) = run(args);
        let error: Value = serde_json::from_str(&stderr).unwrap_or_else(|_| panic!("{args:?}: {stderr}"));
        assert_eq!(exit, Some(code), "{args:?}: {error}");
        let words = format!("{}: {}", error["error"].as_str().unwrap(), error["causes"]);
        assert!(words.contains(what) && error["causes"].is_array(), "{args:?}: {error}");
        assert!(error.as_object().unwrap().contains_key("hint"), "{args:?}: {error}");
    }
    let (exit, stderr) = run(&["--data", "none", "check"]);
    assert!(exit == Some(1) && stderr.starts_with("error: "), "{stderr}");
}

#[test]
fn a_backup_over_another_file_is_refused_with_a_way_out() {
    let (exit, stderr) = run(&["--data", "none", "store", "export", "there"]);
    let want = "error: failed to create `there`\n  caused by: entity already exists\n\nhint: a backup is never written over \
                another one: name a new file, or move that one away first\n";
    assert_eq!((exit, stderr.as_str()), (Some(1), want));
}
