//! `audit verify` against coordinators that were tampered with, and files that were.

use std::path::Path;

use windlass_certs::keys::SigningKey;
use windlass_server::open_store;
use windlass_server::store::Transaction;
use windlass_tests::Output;

use crate::desk::Desk;

/// The power of a captured coordinator: it writes into its own store, around the ledger.
fn tamper(desk: &Desk, key: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = open_store(&desk.data()).unwrap();
        let entry = store.get(key).await.unwrap().expect("there is such a record");
        store.commit(Transaction::default().put(key, change(entry.value))).await.unwrap();
    });
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The older store in place of the newer one.
fn set_back(desk: &Desk, older: &Path) {
    let store = desk.data().join("store");
    std::fs::remove_dir_all(&store).unwrap();
    copy_folder(older, &store);
}

fn verdict(output: &Output) -> (i32, String) {
    (output.code, output.stdout.lines().next().unwrap_or_default().to_owned())
}

#[test]
fn audit_verify_finds_each_kind_of_tampering() {
    let mut desk = Desk::new();
    let alice = desk.person("alice");
    desk.entries("first", 3);
    let verify = || verdict(&alice.run(&["audit", "verify"]));
    let (code, text) = verify();
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("not yet covered by a signed checkpoint"),
        "no checkpoint covers what was just written: {text}"
    );
    desk.stop();
    let older = desk.path("older-store");
    copy_folder(&desk.data().join("store"), &older);
    desk.start();
    assert_eq!(verify(), (0, "OK".to_owned()), "the stop has anchored it");

    // More history, which alice's machine then has seen the end of.
    desk.entries("second", 4);
    desk.stop();
    desk.start();
    assert_eq!(verify(), (0, "OK".to_owned()));
    desk.stop();
    let newer = desk.path("newer-store");
    copy_folder(&desk.data().join("store"), &newer);

    // TRUNCATED: the coordinator comes back with its older store and says nothing.
    set_back(&desk, &older);
    desk.start();
    let (code, text) = verify();
    assert_eq!(code, 1, "{text}");
    assert!(text.starts_with("TRUNCATED: "), "{text}");
    // A home that has never looked is told that all is well: that is what the kept checkpoint is for.
    let stranger = alice.run(&["audit", "verify", "-o", "json"]);
    assert_eq!(stranger.json()["sound"], false);
    assert!(stranger.json()["kept"]["size"].as_u64().unwrap() > stranger.json()["entries"].as_u64().unwrap());

    // FORKED: and goes on from there, until its log is longer than what was seen.
    desk.entries("other", 8);
    desk.stop();
    desk.start();
    let (code, text) = verify();
    assert_eq!(code, 1, "{text}");
    assert!(text.starts_with("FORKED within the first "), "{text}");
    let kept = desk.path("alice/home/fleets/demo/audit.json");
    let mine = std::fs::read(&kept).unwrap();
    std::fs::remove_file(&kept).unwrap();
    assert_eq!(
        verify(),
        (0, "OK".to_owned()),
        "the log agrees with itself: only what was kept elsewhere tells"
    );
    std::fs::write(&kept, mine).unwrap();

    // ALTERED: the true store again, with one entry that says something else.
    desk.stop();
    set_back(&desk, &newer);
    tamper(&desk, &format!("audit/{:020}", 1), |bytes| {
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("operator/alice"), "{text}");
        text.replace("operator/alice", "operator/carol").into_bytes()
    });
    desk.start();
    assert_eq!(verify(), (1, "ALTERED at 1".to_owned()));
}

#[test]
fn saved_log_is_verified_offline_and_damage_is_seen() {
    let mut desk = Desk::new();
    let alice = desk.person("alice");
    desk.entries("first", 5);
    desk.stop();
    desk.start();
    let file = desk.path("audit.jsonl").display().to_string();
    alice.ok(&["audit", "verify", "--save", &file]);
    desk.stop();
    let offline = |text: &str| {
        std::fs::write(&file, text).unwrap();
        verdict(&alice.run(&["audit", "verify", &file]))
    };
    let whole = std::fs::read_to_string(&file).unwrap();
    assert_eq!(offline(&whole), (0, "OK".to_owned()));
    let lines: Vec<&str> = whole.lines().collect();
    let is_entry = |line: &&&str| !line.contains("payloadType");
    let entries: Vec<&str> = lines.iter().filter(is_entry).copied().collect();
    let checkpoints: Vec<&str> = lines.iter().filter(|line| !is_entry(line)).copied().collect();
    // Checkpoints may stand anywhere, as in files of older versions.
    let sorted = [entries.clone(), checkpoints.clone()].concat().join("\n");
    assert_eq!(offline(&sorted), (0, "OK".to_owned()));
    assert_eq!(offline(&whole.replace("first-2", "first-9")), (1, "ALTERED at 2".to_owned()));
    let gone = [entries[..2].to_vec(), entries[3..].to_vec(), checkpoints.clone()].concat().join("\n");
    assert_eq!(offline(&gone), (1, "ALTERED at 2".to_owned()));
    let (code, text) = offline(&[entries[..3].to_vec(), checkpoints].concat().join("\n"));
    assert_eq!((code, text.starts_with("TRUNCATED: 3 of ")), (1, true), "{text}");
    // Without any checkpoint in the file, the one that was kept here still says how long it was.
    let (code, text) = offline(&entries[..3].join("\n"));
    assert_eq!((code, text.starts_with("TRUNCATED: 3 of ")), (1, true), "{text}");
    let error = alice.run(&["audit", "verify", "/dev/null"]);
    assert_eq!(error.code, 1, "an empty log is not the one that was kept: {}", error.stdout);
}

/// A restored backup and a captured coordinator that says it was one look alike: entries are gone that were seen.
#[test]
fn a_kept_checkpoint_that_is_gone_needs_an_operators_word() {
    let mut desk = Desk::new();
    let alice = desk.person("alice");
    let verify = || verdict(&alice.run(&["audit", "verify"]));
    let (data, server) = (desk.data().display().to_string(), desk.server_command());
    let backup = desk.path("backup.jsonl").display().to_string();
    let restore = |desk: &mut Desk| {
        desk.stop();
        std::fs::remove_dir_all(desk.data().join("store")).unwrap();
        server.ok(&["--data", &data, "store", "import", &backup]);
        desk.start();
    };
    desk.entries("first", 2);
    desk.stop();
    server.ok(&["--data", &data, "store", "export", &backup]);
    desk.start();
    desk.entries("second", 4);
    desk.stop();
    desk.start();
    assert_eq!(verify(), (0, "OK".to_owned()));
    restore(&mut desk);
    let lost = alice.run(&["audit", "verify", "-o", "json"]);
    assert_eq!((lost.code, lost.json()["sound"].as_bool()), (1, Some(false)), "{}", lost.stdout);
    assert_eq!(lost.json()["contradicted_by"], "this machine: the checkpoint that was kept here");
    let told = alice.run(&["audit", "verify"]).stdout;
    assert!(told.starts_with("LOST: ") && told.contains("windlass audit accept "), "{told}");
    let head =
        lost.json()["losses"][0]["head"].as_str().unwrap().trim_start_matches("sha256:")[..12].to_owned();
    let other = alice.run(&["--yes", "audit", "accept", "000000000000"]);
    assert_eq!(other.code, 1, "{}", other.stdout);
    assert!(other.stderr.contains("names no loss"), "{}", other.stderr);
    // A key that the fleet does not know accepts nothing, and says so at once.
    let foreign = desk.path("foreign.key");
    SigningKey::generate().unwrap().save(&foreign).unwrap();
    let foreign = foreign.display().to_string();
    let nobody = alice.run(&["--yes", "audit", "accept", &head, "--key", &foreign]);
    assert_eq!((nobody.code, nobody.stdout.as_str()), (1, ""), "{}", nobody.stdout);
    assert!(nobody.stderr.contains("no operator of the fleet has signed this"), "{}", nobody.stderr);
    assert!(nobody.stderr.contains("windlass trust show"), "{}", nobody.stderr);
    let revoker = desk.path("alice/home/fleets/demo/revoke.key").display().to_string();
    let other = alice.run(&["--yes", "audit", "accept", &head, "--key", &revoker]);
    assert_eq!(other.code, 1, "a key of another role: {}", other.stdout);
    assert_eq!(verify().0, 1, "nothing was accepted yet");
    // Without the coordinator, from what was saved: signed by one operator, taken over by another home.
    let [saved, signed] = ["saved.jsonl", "loss.json"].map(|name| desk.path(name).display().to_string());
    assert_eq!(alice.run(&["audit", "verify", "--save", &saved]).code, 1);
    let carol = desk.person("carol");
    copy_folder(&desk.path("alice/home"), &desk.path("carol/home"));
    desk.stop();
    let unnamed = alice.run(&["--yes", "audit", "accept", "--from", &saved]);
    assert!(unnamed.code == 1 && unnamed.stderr.contains("say which loss"), "{}", unnamed.stderr);
    alice.ok(&["--yes", "audit", "accept", &head, "--from", &saved, "--out", &signed]);
    assert_eq!(verdict(&alice.run(&["audit", "verify", &saved])).0, 0);
    assert_eq!(verdict(&carol.run(&["audit", "verify", &saved])).0, 1, "she has not said so");
    let text = std::fs::read_to_string(&signed).unwrap();
    let mut envelope: serde_json::Value = serde_json::from_str(&text).unwrap();
    let signature = envelope["signatures"][0]["sig"].as_str().unwrap().to_owned();
    envelope["signatures"][0]["sig"] = signature.chars().rev().collect::<String>().into();
    let bent = desk.path("bent.json");
    std::fs::write(&bent, envelope.to_string()).unwrap();
    let bent = carol.run(&["--yes", "audit", "accept", "--from", &bent.display().to_string()]);
    assert_eq!(bent.code, 1, "{}", bent.stdout);
    let other = carol.run(&["--yes", "audit", "accept", "000000000000", "--from", &signed]);
    assert!(other.code == 1 && other.stderr.contains("names no loss"), "{}", other.stderr);
    carol.ok(&["--yes", "audit", "accept", "--from", &signed]);
    assert_eq!(verdict(&carol.run(&["audit", "verify", &saved])).0, 0);
    desk.start();
    let (code, text) = verify();
    assert_eq!(code, 0, "{text}");
    // One restore was accepted, and no other.
    desk.stop();
    desk.start();
    assert_eq!(verify(), (0, "OK".to_owned()));
    restore(&mut desk);
    let (code, text) = verify();
    assert!(code == 1 && text.starts_with("LOST: "), "{text}");
}
