//! The rates of wrong gates: as many canaries of each row as the table of the guide has, by other seeds, compared with it.

#[path = "../../../core/tests/gates/guide.rs"]
mod guide;
#[path = "../../../core/tests/gates/rates.rs"]
mod rates;

#[test]
fn gates_are_wrong_as_often_as_the_guide_says() {
    guide::compare(10_000, 20_271_128);
    guide::sentence_is_of_the_table();
}
