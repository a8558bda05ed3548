//! `store export` and `store import`: of a coordinator that was busy until a moment ago, files that were damaged, and files
//! that somebody else wrote.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use windlass_core::Digest;

use crate::desk::Desk;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A backup as an attacker without any key changes it: one record more, and a digest that is right.
fn forged(backup: &str, key: &str, value: &str) -> (String, String) {
    use base64::Engine;
    let value = base64::engine::general_purpose::STANDARD.encode(value);
    let lines: Vec<&str> = backup.lines().collect();
    let (seal, records) = lines.split_last().unwrap();
    assert!(seal.contains("sealed"), "{seal}");
    let mut text = records[..records.len() - 1].join("\n") + "\n";
    text.push_str(&format!("{{\"record\":{{\"key\":\"{key}\",\"value\":\"{value}\"}}}}\n"));
    let digest = Digest::of(text.as_bytes());
    let count = text.lines().count() - 1;
    text.push_str(&format!("{{\"end\":{{\"records\":{count},\"digest\":\"{digest}\"}}}}\n"));
    let sealed = format!("{text}{seal}\n");
    (text, sealed)
}

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
    assert_eq!(mode(Path::new(&file)), 0o600, "its tokens and certificates are nobody else's");
    let (link, target) = (desk.path("link.jsonl"), desk.path("target"));
    symlink(&target, &link).unwrap();
    let followed = server.run(&["--data", &data, "store", "export", &link.display().to_string()]);
    assert!(followed.code == 1 && !target.exists(), "no link is followed: {}", followed.stderr);

    let other = desk.path("other").display().to_string();
    let import = |bytes: &[u8], how: &[&str]| {
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
        server.run(&[&["--data", &other, "store", "import", &file], how].concat())
    };
    let into = |bytes: &[u8]| import(bytes, &[]);
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
    assert_eq!(mode(Path::new(&other)), 0o700, "a data folder that others could read is closed");

    // Somebody who can write where backups lie, and holds no key, lets himself in as an admin.
    let now = windlass_core::Timestamp::from_millis(4_000_000_000_000);
    let hash = Digest::of(b"a secret of his own");
    let token = format!(
        r#"{{"v":1,"hash":"{hash}","name":"mallory","grant":"admin/*","made_by":"operator/alice","expires_at":"{now}"}}"#
    );
    let whole = String::from_utf8(whole).unwrap();
    let (unsigned, sealed) = forged(&whole, &format!("operator_token/{}", "f".repeat(64)), &token);
    for (case, bytes) in [("without a signature", &unsigned), ("with that of the true one", &sealed)] {
        let refused = into(bytes.as_bytes());
        assert_eq!(refused.code, 1, "{case}: {}", refused.stdout);
        assert!(refused.stderr.contains("not signed by this coordinator"), "{case}: {}", refused.stderr);
        assert!(refused.stderr.contains("--unsigned"), "{case}: {}", refused.stderr);
    }
    let nobody = import(unsigned.as_bytes(), &["--unsigned", "--confirm", "alice"]);
    assert!(nobody.code == 1 && nobody.stderr.contains("neither `operator/NAME`"), "{}", nobody.stderr);
    // Nobody is named: who was revoked is not known, and nobody's certificate counts.
    let closed = import(unsigned.as_bytes(), &["--unsigned"]);
    assert_eq!(closed.code, 0, "{}", closed.stderr);
    assert!(closed.stderr.contains("have to join again"), "{}", closed.stderr);
    let alice = desk.person("alice");
    let (own, away) = (desk.data().join("store"), desk.path("own-store"));
    let answers = |desk: &mut Desk, store: &str| {
        std::fs::rename(store, &own).unwrap();
        desk.listen();
        let answer = alice.run(&["host", "ls"]);
        desk.stop();
        std::fs::rename(&own, store).unwrap();
        answer
    };
    std::fs::rename(&own, &away).unwrap();
    let store = format!("{other}/store");
    let denied = answers(&mut desk, &store);
    assert_eq!(denied.code, 1, "{}", denied.stdout);
    let taken = import(unsigned.as_bytes(), &["--unsigned", "--confirm", "operator/alice"]);
    assert_eq!(taken.code, 0, "{}", taken.stderr);
    let named = answers(&mut desk, &store);
    assert_eq!(named.code, 0, "{}", named.stderr);
    std::fs::rename(&away, &own).unwrap();
    let again = desk.path("again.jsonl").display().to_string();
    server.ok(&["--data", &other, "store", "export", &again]);
    let again = std::fs::read_to_string(again).unwrap();
    assert!(!again.contains("\"token/") && !again.contains("operator_token/"), "no token came in");
    assert!(again.contains("\"audit/"), "the rest did");

    std::fs::set_permissions(&other, PermissionsExt::from_mode(0o777)).unwrap();
    let open = server.run(&["--data", &other, "check"]);
    assert!(open.code == 1 && open.stderr.contains("others may write"), "{}", open.stderr);
}
