//! The table of the guide that says how often gates are wrong, read from its text, and runs that are compared with it.

use super::rates::{Dice, Row, errors, of_errors, of_latency};

/// The guide.
const GUIDE: &str = include_str!("../../../docs/guide.md");
/// Canaries of each row of the guide's table.
const OF_GUIDE: f64 = 10_000.0;
/// The heading of the table.
const HEAD: &str = "| the new release | the old one | requests of the new one in a window | stopped |";

/// A row of the table: canaries of a kind, and the share of them that the guide says is stopped.
pub(crate) struct Said {
    pub(crate) row: Row,
    pub(crate) stopped: f64,
}

/// Every row of the table; one that stands for several counts of requests is several.
pub(crate) fn table() -> Vec<Said> {
    let (_, table) = GUIDE.split_once(HEAD).expect("the guide has the table");
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    lines.flat_map(read).collect()
}

fn read(line: &str) -> Vec<Said> {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [new, old, requests, stopped] = cells[..] else { panic!("four cells: {line}") };
    let number = |text: &str| -> f64 {
        let word = text.split(' ').next().unwrap_or_default();
        word.parse().unwrap_or_else(|_| panic!("a number begins `{text}`: {line}"))
    };
    let stopped = number(stopped) / 100.0;
    let (counts, fails) = match requests.split_once(", with `fails: ") {
        Some((counts, fails)) => (counts, number(fails.trim_end_matches('`'))),
        None => (requests, 2.0),
    };
    let counts = match counts {
        "100 to 1000" => vec![100, 300, 1000],
        one => vec![one.parse().unwrap_or_else(|_| panic!("requests: {line}"))],
    };
    let of = |count: u64| {
        if new.contains("errors") {
            let gate = errors(true, if fails < 2.0 { 1 } else { 2 });
            return of_errors(gate, count, number(new), number(old));
        }
        let times = if new == "the same latency" { 1.0 } else { number(new) };
        of_latency(count, 0.5, times)
    };
    counts.into_iter().map(|count| Said { row: of(count), stopped }).collect()
}

/// Runs so many canaries of each row, and compares what is stopped with the guide. Each row has a seed of its own.
pub(crate) fn compare(canaries: u32, seed: u64) {
    let table = table();
    assert!(table.len() >= 15, "{} rows", table.len());
    let mut wrong = Vec::new();
    for (n, said) in (0..).zip(&table) {
        let seed = seed + n;
        let ends = said.row.run(canaries, &mut Dice::new(seed));
        let stopped = f64::from(ends.aborted) / f64::from(canaries);
        // Five times the spread of a share of so many canaries, and of the guide's. One that is next to nothing is seldom, and not never.
        let likely = said.stopped.clamp(0.0003, 0.9997);
        let most = 5.0 * (likely * (1.0 - likely) * (1.0 / f64::from(canaries) + 1.0 / OF_GUIDE)).sqrt();
        let words = format!(
            "seed {seed}, {canaries} canaries, {}: stopped {:.2} %, the guide says {:.2} % (at most {:.2} apart)",
            said.row.name,
            stopped * 100.0,
            said.stopped * 100.0,
            most * 100.0
        );
        println!("{words}");
        if (stopped - said.stopped).abs() > most || ends.paused > 0 {
            wrong.push(words);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The sentence below the table repeats two of its figures.
pub(crate) fn sentence_is_of_the_table() {
    let row = |new: &str| {
        let start = format!("| {new} | {} | 300 | ", new.trim_end_matches(" errors"));
        let line =
            GUIDE.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no {start}"));
        line.trim_start_matches(&start).trim_end_matches([' ', '|']).to_owned()
    };
    let text = GUIDE.split_whitespace().collect::<Vec<_>>().join(" ");
    let want = format!(
        "a limit of 1 % stops {} of the releases that fail 0.5 % of 300 requests by nature, and {} of those that fail 0.8 %",
        row("0.5 % errors"),
        row("0.8 % errors")
    );
    assert!(text.contains(&want), "the guide does not say: {want}");
}
