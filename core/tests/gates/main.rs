//! A smaller run of `examples/gate_rates.rs`: the figures of the guide, within the tolerance of so many canaries. The long tests run as
//! many as the guide has.

#![expect(clippy::print_stdout, reason = "seeds and figures of a run are told")]

mod guide;
mod rates;

use rates::{Dice, errors, of_errors};

/// Canaries of each row; the guide's table has 10,000.
const CANARIES: u32 = 400;

#[test]
fn gates_stop_about_as_often_as_the_guide_says() {
    guide::compare(CANARIES, 20_261_128);
    guide::sentence_is_of_the_table();
}

#[test]
fn too_few_requests_never_promote_and_never_abort() {
    let row = of_errors(errors(true, 2), 299, 0.0, 0.0);
    let ends = row.run(CANARIES, &mut Dice::new(1));
    assert_eq!((ends.promoted, ends.aborted, ends.paused), (0, 0, CANARIES));
}
