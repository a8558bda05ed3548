//! Scalars without quotes: docker-compose 1.29.2 hands these values to a container, as `docker-compose config` shows.

use super::*;

/// The value of the variable `V` that is written so, and the notes.
fn variable(written: &str) -> (String, Vec<String>) {
    let text = format!(
        "services:\n  web:\n    image: a:1\n    user: app\n    cpus: 1\n    mem_limit: 1g\n    environment:\n      V: {written}\n      Z: z\n"
    );
    let (manifest, notes) = one(&text);
    let line = manifest.lines().find_map(|line| line.trim().strip_prefix("V: ")).unwrap_or_default();
    (line.trim_matches('"').to_owned(), notes)
}

#[test]
fn scalars_without_quotes_reach_the_container_unchanged() {
    #[rustfmt::skip]
    let table = [
        ("y", "y"), ("no", "no"), ("NO", "NO"), ("true", "true"), ("0123456789", "0123456789"), ("1e3", "1e3"), ("1.5", "1.5"), ("0.0", "0.0"),
        ("100000000000000000000", "100000000000000000000"), ("-5", "-5"), ("2024-01-01", "2024-01-01"), ("8080:80", "8080:80"), ("'0777'", "0777"),
        ("\"0777\"", "0777"), ("!!str 0777", "0777"), ("|-\n        0777", "0777"), (">-\n        1:30", "1:30"), ("'y'", "y"), ("|- # text\n        0777", "0777"), ("${A:-0777}", "0777"),
        ("&v no", "no"), ("1.2.3", "1.2.3"),
    ];
    for (written, want) in table {
        let (value, notes) = variable(written);
        assert_eq!(value, want, "{written}");
        assert!(notes.is_empty(), "{written}: {notes:?}");
    }
}

#[test]
fn numbers_with_another_spelling_are_noted() {
    let table =
        [("0777", "511"), ("012", "10"), ("1.10", "1.1"), ("1:30", "90"), ("0x1F", "31"), ("1_000", "1000")];
    for (written, want) in table {
        let (value, notes) = variable(written);
        assert_eq!(value, want, "{written}");
        let note = about(&notes, "services.web.environment.V");
        assert!(note.contains(&format!("`{written}` without quotes is the number {want}")), "{note}");
    }
}

#[test]
fn anchors_ports_and_flags_are_read_as_meant() {
    let text = "x-v: &v 0777\nservices:\n  web:\n    image: a:1\n    user: app\n    environment: { V: *v }\n    ports: [22:22, 80:80]\n    read_only: yes\n    init: off\n";
    let (manifest, notes) = one(text);
    assert!(manifest.contains("V: \"511\""), "{manifest}");
    assert!(manifest.contains("ssh: { container: 22, host: 22, protocol: tcp }"), "{manifest}");
    assert!(manifest.contains("read_only_root: true") && manifest.contains("init: false"), "{manifest}");
    about(&notes, "services.web.environment.V");
    assert!(!notes.iter().any(|note| note.contains("1342")), "{notes:?}");
}

#[test]
fn a_file_beyond_the_limits_is_refused_in_words() {
    let wide = format!("services: {{ a: {{ image: 'a:1', dns: [{}] }} }}", "x, ".repeat(50_001));
    let deep = format!("services: {}", "[".repeat(40) + &"]".repeat(40));
    let level = |n: usize| format!("x-{n}: &a{n} [{}]\n", format!("*a{}, ", n - 1).repeat(9));
    let bomb =
        format!("x-0: &a0 [{}]\n{}services: {{}}\n", "x, ".repeat(9), (1..12).map(level).collect::<String>());
    let table = [
        (wide, "more than 50000 values"),
        (deep, "more than 32 levels deep"),
        (bomb, "more than 50000 values"),
    ];
    for (text, want) in table {
        let said = import(&text, &|_: &str| Found::Folder).unwrap_err().to_string();
        assert!(said.contains(want), "{said}");
    }
}
