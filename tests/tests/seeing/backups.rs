//! `store export`: of a coordinator that was busy until a moment ago, and files that were damaged.

use crate::desk::Desk;

#[test]
fn an_export_is_whole_or_refused_and_never_half() {
    let mut desk = Desk::new();
    // Busy until it is asked to stop: what was acknowledged is in the export.
    desk.entries("host", 6);
    let data = desk.data().display().to_string();
    let file = desk.path("backup.jsonl").display().to_string();
    let server = desk.server_command();
    let busy = server.run(&["--data", &data, "store", "export", &file]);
    assert_eq!(busy.code, 1, "while it runs its store is its own: {}", busy.stdout);
    assert!(busy.stderr.contains("in use") && busy.stderr.contains("hint"), "{}", busy.stderr);
    desk.stop();
    server.ok(&["--data", &data, "store", "export", &file]);
    let whole = std::fs::read(&file).unwrap();
    let tokens = String::from_utf8(whole.clone()).unwrap().matches("\"token/").count();
    assert_eq!(tokens, 6);

    let other = desk.path("other").display().to_string();
    let into = |bytes: &[u8]| {
        drop(std::fs::remove_dir_all(&other));
        std::fs::create_dir(&other).unwrap();
        for part in ["ca", "keys", "trust"] {
            std::fs::create_dir(format!("{other}/{part}")).unwrap();
            for entry in std::fs::read_dir(format!("{data}/{part}")).unwrap() {
                let entry = entry.unwrap();
                std::fs::copy(
                    entry.path(),
                    format!("{other}/{part}/{}", entry.file_name().to_str().unwrap()),
                )
                .unwrap();
            }
        }
        std::fs::copy(format!("{data}/server.toml"), format!("{other}/server.toml")).unwrap();
        std::fs::write(&file, bytes).unwrap();
        server.run(&["--data", &other, "store", "import", &file])
    };
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let cut = &whole[..whole.len() - 40];
    for (case, bytes) in
        [("a bit was flipped", flipped.as_slice()), ("it was cut", cut), ("it is empty", b"")]
    {
        let refused = into(bytes);
        assert_eq!(refused.code, 1, "{case}: {}", refused.stdout);
        assert!(refused.stderr.contains("use another backup"), "{case}: {}", refused.stderr);
    }
    let restored = into(&whole);
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    assert_eq!(
        server.run(&["--data", &other, "store", "import", &file]).code,
        1,
        "never into a store in use"
    );
    server.ok(&["--data", &other, "check"]);
}
