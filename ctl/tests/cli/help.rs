//! `--help` of every command, with its examples.

use crate::{Desk, stdout};

/// Every command, as the helps of those above it list them; the program itself is "".
fn commands(desk: &Desk, path: &str, found: &mut Vec<String>) {
    let mut args: Vec<&str> = path.split_whitespace().collect();
    args.push("--help");
    let text = stdout(&desk.run(&args));
    found.push(path.to_owned());
    let listed = text.split_once("Commands:\n").map(|(_, list)| list).unwrap_or_default();
    let names = listed.lines().take_while(|line| !line.is_empty()).filter(|line| {
        // A help of two lines goes on further right.
        line.starts_with("  ") && !line.starts_with("   ")
    });
    for name in names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
        commands(desk, format!("{path} {name}").trim_start(), found);
    }
}

#[test]
fn every_command_explains_itself() {
    let desk = Desk::new();
    let mut found = Vec::new();
    commands(&desk, "", &mut found);
    for command in ["top", "rollout approve", "rollout promote", "audit accept", "import compose"] {
        assert!(found.iter().any(|known| known == command), "`{command}` is not listed: {found:?}");
    }
    for command in found.iter().map(String::as_str) {
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
fn commands_that_shells_call_are_not_suggested() {
    let desk = Desk::new();
    let said = desk.screen(&["complet"]);
    assert!(said.contains("'completions'") && !said.contains("__complete"), "{said}");
    let said = desk.screen(&["completion", "bash"]);
    assert!(said.contains("_windlass()"), "{said}");
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
