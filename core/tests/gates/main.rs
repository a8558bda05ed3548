//! A smaller run of `examples/gate_rates.rs`: the figures of the guide, within the tolerance of so many canaries.

mod rates;

use rates::{Dice, errors, of_errors, of_latency};

/// Canaries of each row; the guide's table has 10,000.
const CANARIES: u32 = 400;

#[test]
fn gates_abort_about_as_often_as_the_guide_says() {
    let rows = [
        // Healthy ones: hardly ever.
        (of_errors(errors(true, 2), 300, 0.1, 0.1), 0.0, 0.01),
        (of_errors(errors(true, 2), 300, 0.5, 0.5), 0.0, 0.16),
        (of_latency(300, 0.5, 1.0), 0.0, 0.01),
        // A first breach would stop many of them.
        (of_errors(errors(true, 1), 300, 0.5, 0.5), 0.45, 0.8),
        // Sick ones: nearly always.
        (of_errors(errors(true, 2), 300, 3.0, 0.1), 0.99, 1.0),
        (of_errors(errors(true, 2), 3000, 0.9, 0.1), 0.95, 1.0),
        (of_latency(1000, 0.5, 2.0), 0.99, 1.0),
    ];
    let seed = 20_261_128;
    let mut dice = Dice::new(seed);
    for (row, least, most) in rows {
        let ends = row.run(CANARIES, &mut dice);
        let aborted = f64::from(ends.aborted) / f64::from(CANARIES);
        assert!((least..=most).contains(&aborted), "{}, seed {seed}: {aborted} of {ends:?}", row.name);
        assert_eq!(ends.paused, 0, "{}", row.name);
    }
}

#[test]
fn too_few_requests_never_promote_and_never_abort() {
    let row = of_errors(errors(true, 2), 299, 0.0, 0.0);
    let ends = row.run(CANARIES, &mut Dice::new(1));
    assert_eq!((ends.promoted, ends.aborted, ends.paused), (0, 0, CANARIES));
}
