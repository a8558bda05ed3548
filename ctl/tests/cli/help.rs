//! `--help` of every command, with its examples.

use crate::{Desk, stdout};

#[test]
fn every_command_explains_itself() {
    let desk = Desk::new();
    #[rustfmt::skip]
    let commands = [
        "", "init", "dev", "context", "context ls", "context use", "context rename", "context rm", "ps", "version", "quarantine", "quarantine ls", "quarantine clear",
        "host label", "audit ls", "import", "import compose", "host", "host token", "host ls", "host show", "host drain",
        "host cordon", "host uncordon", "host recover", "host evict", "host ban", "plan", "deploy", "rollout", "rollout ls", "rollout show",
        "rollout watch", "rollout pause", "rollout resume", "rollout abort", "rollback", "scale", "restart", "stop", "rm", "status", "wait", "release", "release ls",
        "release show", "release diff", "release sign", "release verify", "logs", "events", "trust", "trust show", "trust sign",
        "trust publish", "trust verify", "trust add-key", "trust remove-key", "trust rotate", "trust renew", "trust revoke", "trust revoked", "operator", "operator invite",
        "operator join", "operator ls", "operator revoke", "operator recover", "audit", "audit verify", "schema", "render", "completions", "man", "wait", "routes", "routes forget",
    ];
    for command in commands {
        let mut args: Vec<&str> = command.split_whitespace().collect();
        args.push("--help");
        let output = desk.run(&args);
        assert_eq!(output.status.code(), Some(0), "{command}");
        let text = stdout(&output);
        let (_, examples) =
            text.split_once("Example").unwrap_or_else(|| panic!("`{command}` has no example:\n{text}"));
        let name = format!("windlass {command}");
        assert!(examples.contains(&name), "{command}: the example is of another command");
    }
}

#[test]
fn the_main_screens() {
    let desk = Desk::new();
    for command in ["", "deploy", "init"] {
        let mut args: Vec<&str> = command.split_whitespace().collect();
        args.push("--help");
        let name = format!("help {command}");
        insta::assert_snapshot!(name.trim().replace(' ', "_"), stdout(&desk.run(&args)));
    }
}
