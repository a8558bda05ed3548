//! The rates at which gates stop a healthy release, and miss a sick one: `cargo run -p windlass-core --example gate_rates [CANARIES
//! [SEED]]`.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

#[path = "../tests/gates/rates.rs"]
mod rates;

use rates::{Dice, errors, of_errors, of_latency};

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().ok());
    let canaries = arguments.next().flatten().and_then(|count| u32::try_from(count).ok()).unwrap_or(10_000);
    let seed = arguments.next().flatten().unwrap_or(20_261_128);
    println!("seed {seed}, {canaries} canaries a row, steps 1, 5, 10, 25, 50 %, 3 windows have to pass\n");
    println!("| true figures, requests of the new release in a window | promoted | aborted | paused |");
    println!("|---|---|---|---|");
    let mut rows = Vec::new();
    for rate in [0.1, 0.2, 0.5, 0.8] {
        rows.push(of_errors(errors(true, 2), 300, rate, rate));
    }
    rows.push(of_errors(errors(true, 1), 300, 0.5, 0.5));
    rows.push(of_errors(errors(false, 2), 300, 0.5, 0.5));
    for (requests, rate) in [(3000, 0.5), (3000, 0.8)] {
        rows.push(of_errors(errors(true, 2), requests, rate, rate));
    }
    for rate in [1.5, 2.0, 3.0, 5.0] {
        rows.push(of_errors(errors(true, 2), 300, rate, 0.1));
    }
    for (requests, rate) in [(300, 0.9), (1000, 0.9), (3000, 0.9)] {
        rows.push(of_errors(errors(true, 2), requests, rate, 0.1));
    }
    rows.push(of_errors(errors(false, 2), 3000, 0.9, 0.1));
    for (requests, times) in
        [(100, 1.0), (300, 1.0), (1000, 1.0), (1000, 1.1), (300, 1.5), (100, 2.0), (300, 2.0), (1000, 2.0)]
    {
        rows.push(of_latency(requests, 0.5, times));
    }
    rows.push(of_latency(300, 1.0, 1.0));
    rows.push(of_latency(300, 1.0, 2.0));
    let mut dice = Dice::new(seed);
    for row in rows {
        let ends = row.run(canaries, &mut dice);
        let share = |count: u32| format!("{:.2} %", f64::from(count) * 100.0 / f64::from(canaries.max(1)));
        println!(
            "| {} | {} | {} | {} |",
            row.name,
            share(ends.promoted),
            share(ends.aborted),
            share(ends.paused)
        );
    }
}
