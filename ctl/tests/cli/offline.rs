//! Releases and trust documents without a coordinator.

use serde_json::json;
use windlass_certs::keys::SigningKey;

use crate::{Desk, PINNED, mode, stderr, stdout};

fn sign(desk: &Desk) {
    let file = desk.write("web.yaml", PINNED);
    let args = ["release", "sign", "-f", &file, "--counter", "7", "--out", "web.release.json"];
    let output = desk.run(&args);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_release_is_signed_and_verified_offline() {
    let desk = Desk::with_fleet();
    sign(&desk);
    let view = desk.json(&["release", "verify", "web.release.json", "-o", "json"]);
    assert_eq!(view["trusted"], true);
    assert_eq!(view["release"]["counter"], "r7");
    assert_eq!(view["release"]["author"], "alice");
    assert_eq!(view["release"]["environment"], "default");
    assert_eq!(view["signed_by"].as_array().unwrap().len(), 1);
    assert_eq!(mode(&desk.path("web.release.json")), 0o600);
}

#[test]
fn one_changed_byte_is_found() {
    let desk = Desk::with_fleet();
    sign(&desk);
    let text = std::fs::read_to_string(desk.path("web.release.json")).unwrap();
    let mut envelope: serde_json::Value = serde_json::from_str(&text).unwrap();
    let payload = envelope["payload"].as_str().unwrap();
    // `"version":1` begins the payload; another base64 letter in the fleet's name.
    let altered =
        format!("{}{}{}", &payload[..30], if &payload[30..31] == "B" { "C" } else { "B" }, &payload[31..]);
    envelope["payload"] = json!(altered);
    desk.write("altered.json", &envelope.to_string());
    let screen = desk.screen(&["release", "verify", "altered.json"]);
    assert!(screen.ends_with("exit 1"), "{screen}");
}

#[test]
fn a_release_of_another_fleet_is_not_trusted() {
    let desk = Desk::with_fleet();
    sign(&desk);
    let args = ["init", "--fleet", "other", "--server", "127.0.0.1:2", "--server-dir", "other"];
    assert!(desk.run(&args).status.success());
    insta::assert_snapshot!(desk.screen(&["release", "verify", "web.release.json"]), @"
    $ windlass release verify web.release.json
    error: the release is of fleet `demo`, the context is of fleet `other`

    hint: choose the context with --context
    exit 1
    ");
    assert!(desk.run(&["release", "verify", "web.release.json", "--context", "demo"]).status.success());
}

#[test]
fn a_second_signature_keeps_the_digest() {
    let desk = Desk::with_fleet();
    sign(&desk);
    let before = desk.json(&["release", "verify", "web.release.json", "-o", "json"]);
    SigningKey::generate().unwrap().save(&desk.path("bob.key")).unwrap();
    let add = ["release", "sign", "--envelope", "web.release.json", "--key", "bob.key", "-o", "json"];
    let after = desk.json(&add);
    assert_eq!(before["digest"], after["digest"]);
    let text = std::fs::read_to_string(desk.path("web.release.json")).unwrap();
    let envelope: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(envelope["signatures"].as_array().unwrap().len(), 2);
    // Bob's key is not in the trust document: it neither helps nor harms.
    assert_eq!(after["signed_by"].as_array().unwrap().len(), 1);
}

#[test]
fn a_key_that_may_not_sign_is_told_before_anything_is_submitted() {
    let desk = Desk::with_fleet();
    SigningKey::generate().unwrap().save(&desk.path("bob.key")).unwrap();
    let file = desk.write("web.yaml", PINNED);
    let args = ["release", "sign", "-f", &file, "--counter", "1", "--out", "r.json", "--key", "bob.key"];
    let output = desk.run(&args);
    assert!(stderr(&output).contains("warning: hosts would not take it yet"), "{}", stderr(&output));
    let output = desk.run(&[&args[..7], &["structured.json", "--key", "bob.key", "-o", "json"]].concat());
    let warning: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(warning["warning"].as_str().unwrap().starts_with("hosts would not take it yet"), "{warning}");
    insta::assert_snapshot!(desk.screen(&["release", "verify", "r.json"]), @"
    $ windlass release verify r.json
    error: the trust document does not let these keys sign releases of `default/web`
      caused by: no signature is of a key that the trust document names for this

    hint: sign with a key that `windlass trust show` lists for this environment, or have yours added by whoever has the root key: `windlass trust add-key PUBLIC_KEY --scope default`
    exit 1
    ");
    let shown = desk.screen(&["release", "show", "r.json"]);
    assert!(shown.contains("NOT TRUSTED: the trust document does not let these keys sign"), "{shown}");
}

#[test]
fn a_release_says_how_many_signatures_count() {
    let desk = Desk::with_fleet();
    sign(&desk);
    for command in ["show", "verify"] {
        let screen = desk.screen(&["release", command, "web.release.json"]);
        assert!(screen.contains("valid: 1 of 1 required release signatures"), "{screen}");
    }
    let json = desk.json(&["release", "show", "web.release.json", "-o", "json"]);
    assert_eq!((json["trusted"].as_bool(), json["needed"].as_u64()), (Some(true), Some(1)), "{json}");
}

#[test]
fn an_image_without_a_digest_cannot_be_signed_offline() {
    let desk = Desk::with_fleet();
    let file = desk.write("web.yaml", "service: web\nimage: 127.0.0.1:1/web:v1\n");
    let screen = desk.screen(&["release", "sign", "-f", &file, "--counter", "1", "--out", "r.json"]);
    assert!(screen.contains("failed to reach the registry"), "{screen}");
    let screen = desk.screen(&["release", "sign", "-f", &file]);
    assert!(screen.contains("needs --counter N and --out FILE") && screen.ends_with("exit 2"), "{screen}");
}

#[test]
fn two_releases_are_compared() {
    let desk = Desk::with_fleet();
    sign(&desk);
    let file = desk.write("next.yaml", &format!("{PINNED}env: {{ MODE: fast }}\nreplicas: 3\n"));
    assert!(
        desk.run(&["release", "sign", "-f", &file, "--counter", "8", "--out", "next.json"]).status.success()
    );
    insta::assert_snapshot!(desk.screen(&["release", "diff", "web.release.json", "next.json"]), @"
    $ windlass release diff web.release.json next.json
    + env.MODE: fast
    ~ scale.replicas.max: 1 → 3
    ~ scale.replicas.min: 1 → 3
    exit 0
    ");
}

#[test]
fn files_and_overlays_lie_beside_the_manifest() {
    let desk = Desk::with_fleet();
    let manifest = format!("{PINNED}files: {{ /app/config.json: {{ from: config.json }} }}\n");
    let file = desk.write("app/web.yaml", &manifest);
    desk.write("app/config.json", "{}");
    desk.write("app/environments/staging.yaml", "replicas: 4\n");
    let args =
        ["release", "sign", "-f", &file, "--counter", "1", "--out", "r.json", "-e", "staging", "-o", "json"];
    let view = desk.json(&args);
    assert_eq!(view["release"]["environment"], "staging");
    assert_eq!(view["release"]["spec"]["scale"]["replicas"]["min"], 4);
    assert_eq!(view["release"]["spec"]["files"]["/app/config.json"]["content"], "e30=");
    let rendered = stdout(&desk.run(&["render", "-f", &file, "-e", "staging"]));
    assert!(rendered.contains("replicas: 4  # app/environments/staging.yaml:1:11"), "{rendered}");
    std::fs::remove_file(desk.path("app/config.json")).unwrap();
    let screen = desk.screen(&args);
    assert!(screen.contains("failed to read `app/config.json`"), "{screen}");
}

#[test]
fn a_trust_document_is_signed_step_by_step() {
    let desk = Desk::with_fleet();
    let mut document = desk.json(&["trust", "show", "--offline", "-o", "json"]);
    document["version"] = json!(2);
    desk.write("next.json", &document.to_string());
    let signed = desk.json(&["trust", "sign", "next.json", "--out", "next.trust.json", "-o", "json"]);
    assert_eq!((&signed["version"], &signed["complete"]), (&json!(2), &json!(true)));
    insta::assert_snapshot!(desk.screen(&["trust", "verify", "next.trust.json"]), @"
    $ windlass trust verify next.trust.json
    OK: version 2 of fleet `demo`
    exit 0
    ");
    // A version that leaves one out does not follow.
    document["version"] = json!(3);
    desk.write("later.json", &document.to_string());
    let signed = desk.json(&["trust", "sign", "later.json", "--out", "later.trust.json", "-o", "json"]);
    assert_eq!(signed["complete"], false);
    let screen = desk.screen(&["trust", "verify", "later.trust.json"]);
    assert!(screen.contains("version 3 of the trust document cannot follow version 1"), "{screen}");
    desk.write("other.json", r#"{ "service": "web" }"#);
    let screen = desk.screen(&["trust", "sign", "other.json", "--out", "other.trust.json"]);
    assert!(screen.contains("`other.json` holds no trust document"), "{screen}");
    assert!(screen.contains("windlass trust show -o json > next.json"), "{screen}");
}

#[test]
fn an_exported_audit_log_is_checked() {
    use windlass_certs::dsse::{Envelope, PayloadType};
    use windlass_core::Timestamp;
    use windlass_core::audit::{Checkpoint, Fact, Head};
    let desk = Desk::with_fleet();
    let mut head = Head::default();
    let mut lines: Vec<String> = (0..3)
        .map(|n| {
            let fact = Fact {
                actor: "operator/alice".to_owned(),
                verb: "test",
                subject: format!("thing {n}"),
                digest: None,
                outcome: "ok".to_owned(),
            };
            String::from_utf8(head.append(fact, Timestamp::from_millis(n))).unwrap()
        })
        .collect();
    let checkpoint = Checkpoint {
        version: 1,
        fleet: "demo".parse().unwrap(),
        size: head.size,
        head: head.hash,
        segment: 0,
        at: Timestamp::ZERO,
    };
    let payload = serde_json::to_vec(&checkpoint).unwrap();
    let key = SigningKey::load(&desk.path("server/keys/audit.key")).unwrap();
    let envelope = Envelope::sign(PayloadType::Audit, payload.clone(), &[&key]);
    lines.push(String::from_utf8(envelope.to_bytes()).unwrap());
    let verdict = |lines: &[String]| {
        desk.write("audit.jsonl", &lines.join("\n"));
        let output = desk.run(&["audit", "verify", "audit.jsonl"]);
        (output.status.code().unwrap(), stdout(&output).lines().next().unwrap_or_default().to_owned())
    };
    assert_eq!(verdict(&lines), (0, "OK".to_owned()));
    assert_eq!(
        verdict(&lines[..3]),
        (0, "OK: 3 entries; the last 3 not yet covered by a signed checkpoint".to_owned())
    );
    assert_eq!(verdict(&[&lines[..2], &lines[3..]].concat()), (1, "TRUNCATED: 2 of 3 entries".to_owned()));
    let mut altered = lines.clone();
    altered[1] = altered[1].replace("thing 1", "thing X");
    assert_eq!(verdict(&altered), (1, "ALTERED at 1".to_owned()));
    // A checkpoint by somebody else's key is an error, not a verdict.
    let other = SigningKey::generate().unwrap();
    let forged = Envelope::sign(PayloadType::Audit, payload, &[&other]);
    lines[3] = String::from_utf8(forged.to_bytes()).unwrap();
    desk.write("audit.jsonl", &lines.join("\n"));
    let screen = desk.screen(&["audit", "verify", "audit.jsonl"]);
    assert!(screen.contains("checkpoint 0 is not signed by the fleet's audit key"), "{screen}");
}

#[test]
fn schemas_and_completions() {
    let desk = Desk::new();
    let schema = desk.json(&["schema"]);
    assert!(schema["properties"]["service"].is_object());
    let outputs = desk.json(&["schema", "--results"]);
    assert_eq!(desk.json(&["schema", "--output"]), outputs, "the spelling of version 0.1");
    assert!(stdout(&desk.run(&["schema", "-o", "yaml"])).contains("\nproperties:\n"));
    assert!(outputs["status SERVICE"]["properties"]["instances"].is_object());
    assert!(
        outputs["deploy, rollback, restart, rollout watch: the last line"]["properties"]["outcome"]
            .is_object()
    );
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&desk.run(&["completions", shell])).contains("rollback"), "{shell}");
    }
    let refused = desk.error(&["completions", "bash", "-o", "json"]);
    assert_eq!(refused["error"], "`completions` prints text only, not JSON or YAML");
    assert!(stdout(&desk.run(&["man"])).contains(".TH windlass 1"));
    assert!(desk.run(&["man", "--out", "pages"]).status.success());
    let page = std::fs::read_to_string(desk.path("pages/windlass-rollout-show.1")).unwrap();
    assert!(page.contains("web@r6"), "{page}");
}

#[test]
fn bash_completes_names_that_the_program_prints() {
    let desk = Desk::new();
    desk.write("windlass.bash", &stdout(&desk.run(&["completions", "bash"])));
    // In the place of the program: names it would have from the coordinator, if it is asked with the words so far.
    let stub = "windlass() { [[ \"$*\" == '__complete for rollback w' ]] && printf 'web\\nworker\\ndb\\n'; }";
    let script = format!(
        "source windlass.bash; {stub}; COMP_WORDS=(windlass rollback w); COMP_CWORD=2; \
         _windlass_named windlass w rollback; echo \"${{COMPREPLY[@]}}\""
    );
    let output =
        std::process::Command::new("bash").args(["-c", &script]).current_dir(desk.path("")).output().unwrap();
    assert_eq!(stdout(&output).trim(), "web worker", "{}", stderr(&output));
    // Where names stand no file of the folder is one, and without a coordinator there is nothing; elsewhere there are files.
    for (words, told, want) in [
        ("ps --host ''", "printf 'h1\\nh2\\n'", "h1 h2"),
        ("ps --host ''", "true", ""),
        ("deploy --set w", "false", "windlass.bash"),
    ] {
        let count = words.split(' ').count();
        let script = format!(
            "source windlass.bash; windlass() {{ {told}; }}; COMP_WORDS=(windlass {words}); COMP_CWORD={count}; \
             _windlass_named windlass \"${{COMP_WORDS[{count}]}}\" \"${{COMP_WORDS[{}]}}\"; echo \"${{COMPREPLY[@]}}\"",
            count - 1
        );
        let mut bash = std::process::Command::new("bash");
        let output = bash.args(["-c", &script]).current_dir(desk.path("")).output().unwrap();
        assert_eq!(stdout(&output).trim(), want, "{words}: {}", stderr(&output));
    }
    let files = desk.run(&["__complete", "for", "deploy", "-f", ""]);
    assert_eq!(files.status.code(), Some(1), "no names stand there");
    let silent = Desk::new().run(&["__complete", "services"]);
    assert!(
        silent.status.success() && silent.stdout.is_empty() && silent.stderr.is_empty(),
        "no fleet, no words"
    );
}

#[test]
fn commands_that_change_contexts_print_a_document() {
    let desk = Desk::with_fleet();
    let renamed = desk.json(&["context", "rename", "demo", "prod", "-o", "json"]);
    assert_eq!(renamed, serde_json::json!({ "context": "prod", "was": "demo", "current": "prod" }));
    let used = desk.json(&["context", "use", "prod", "-o", "json"]);
    assert_eq!(used, serde_json::json!({ "context": "prod", "current": "prod" }));
    let removed = desk.json(&["context", "rm", "prod", "-o", "json"]);
    assert_eq!(removed, serde_json::json!({ "context": "prod", "current": null }));
    // The keys are still there, and so is a way back to them.
    let back = ["context", "add", "prod", "--fleet", "demo", "--server", "127.0.0.1:1", "-o", "json"];
    assert_eq!(desk.json(&back), serde_json::json!({ "context": "prod", "current": "prod" }));
    assert_eq!(desk.json(&["context", "ls", "-o", "json"])[0]["server"], "127.0.0.1:1");
    let unknown = desk.run(&["context", "add", "other", "--fleet", "nowhere", "--server", "127.0.0.1:1"]);
    assert!(
        stderr(&unknown).contains("there is no trust document of fleet `nowhere`"),
        "{}",
        stderr(&unknown)
    );
}

#[test]
fn numbers_and_releases_that_are_none_are_named() {
    let desk = Desk::new();
    for (args, said) in [
        (&["scale", "web", "five"][..], "`five` is not a number of instances"),
        (&["logs", "web", "--release", "7"], "`7` is not a release: write it like `r7`"),
        (&["rollback", "web", "--to", "7"], "`7` is not a release: write it like `r7`"),
    ] {
        let output = desk.run(args);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
}

#[test]
fn the_trust_document_is_changed_without_a_coordinator() {
    let desk = Desk::with_fleet();
    let other = desk.path("home/fleets/demo/release.key");
    let add = |args: &[&str]| desk.run(&[&["trust", "add-key"], args].concat());
    let unsaid = add(&["ed25519:AAAA"]);
    assert_eq!(unsaid.status.code(), Some(2), "where it signs must be said");
    let bad = add(&["ed25519:AAAA", "--everywhere"]);
    assert!(
        stderr(&bad).contains("is not a public key") && stderr(&bad).contains("hint:"),
        "{}",
        stderr(&bad)
    );
    // Who may sign already changes nothing, from a private key file too.
    let same = desk.json(&[
        "trust",
        "add-key",
        other.to_str().unwrap(),
        "--everywhere",
        "--out",
        "n.json",
        "-o",
        "json",
    ]);
    assert_eq!((&same["state"], &same["version"]), (&"unchanged".into(), &1.into()));
    assert!(!desk.path("n.json").exists());
    let key = windlass_certs::keys::SigningKey::generate().unwrap();
    let line = key.public().to_line();
    let pem = desk.write("bob.pem", &key.public().to_pem());
    let made = desk.json(&["trust", "add-key", &line, "--scope", "staging", "--out", "n.json", "-o", "json"]);
    assert_eq!(
        (&made["state"], &made["version"], &made["missing"]),
        (&"signed".into(), &2.into(), &0.into())
    );
    assert_eq!(made["next"][0], "windlass trust publish n.json");
    desk.json(&["trust", "verify", "n.json", "-o", "json"]);
    desk.json(&["trust", "add-key", &pem, "--scope", "staging", "--out", "same.json", "-o", "json"]);

    // A document that nobody has signed is not a damaged one.
    let next = stdout(&desk.run(&["trust", "show", "--offline", "-o", "json"]));
    desk.write("my next.json", &next);
    insta::assert_snapshot!(desk.screen(&["trust", "verify", "my next.json"]), @"
    $ windlass trust verify my next.json
    error: `my next.json` is not signed

    hint: run: windlass trust sign 'my next.json' --out 'my next.trust.json'
    exit 1
    ");

    // Two of two root keys: the first writes it down and says who is next.
    let second = windlass_certs::keys::SigningKey::generate().unwrap();
    second.save(&desk.path("second.key")).unwrap();
    let two =
        desk.json(&["trust", "add-key", "second.key", "--role", "root", "--out", "two.json", "-o", "json"]);
    assert_eq!(two["state"], "signed", "{two}");
    let text = desk.screen(&["trust", "remove-key", &second.id().to_string(), "--out", "x.json"]);
    assert!(text.contains("stands nowhere in the trust document") && text.ends_with("exit 1"), "{text}");
    let root = desk.path("home/fleets/demo/root.key");
    let root = windlass_certs::keys::SigningKey::load(&root).unwrap();
    let rotated =
        ["trust", "rotate", &root.id().to_string(), "second.key", "--out", "r.json"].map(str::to_owned);
    let rotate = |more: &[&str]| {
        let args: Vec<&str> = rotated.iter().map(String::as_str).chain(more.iter().copied()).collect();
        desk.json(&[&args[..], &["-o", "json"]].concat())
    };
    let half = rotate(&[]);
    assert_eq!((&half["state"], &half["missing"]), (&"needs_signatures".into(), &1.into()), "{half}");
    assert_eq!(half["signers"][0], second.id().to_string());
    assert_eq!(half["next"][0], "windlass trust sign r.json --key ROOT_KEY_FILE");
    let signed = desk.json(&["trust", "sign", "r.json", "--key", "second.key", "-o", "json"]);
    assert_eq!(signed["complete"], true, "{signed}");
    std::fs::rename(desk.path("home/fleets/demo/root.key"), desk.path("away.key")).unwrap();
    let text = desk.screen(&["trust", "add-key", &line, "--everywhere", "--out", "x.json"]);
    assert!(text.contains("there is no root key here") && text.contains("--key FILE"), "{text}");
    let text =
        desk.screen(&["trust", "add-key", &line, "--everywhere", "--out", "x.json", "--key", "second.key"]);
    assert!(text.contains("is no root key"), "{text}");
    let last = desk.screen(&[
        "trust",
        "remove-key",
        other.to_str().unwrap(),
        "--out",
        "x.json",
        "--key",
        "away.key",
    ]);
    assert!(last.contains("would be left with 0 of the 1 keys"), "{last}");
}

#[test]
fn a_second_fleet_says_that_the_context_is_another_now() {
    let desk = Desk::with_fleet();
    let second = ["init", "--fleet", "two", "--server", "127.0.0.1:2", "--server-dir", "second server"];
    let output = desk.run(&second);
    assert!(stdout(&output).contains("windlass-server --data 'second server'"), "{}", stdout(&output));
    assert!(
        stderr(&output).contains(
            "The current context is `two` now; it was `demo`. Back with: windlass context use demo"
        ),
        "{}",
        stderr(&output)
    );
}
