use std::collections::BTreeSet;

use super::*;
use crate::host::GpuReadings;

fn gpu(number: u32) -> RowView {
    let uuid = format!("GPU-{number:05}");
    let readings = GpuReadings { utilization: Some(f64::from(number % 100)), ..GpuReadings::default() };
    let stats = GpuStats { uuid: uuid.clone(), readings, ..GpuStats::default() };
    let gpu = Gpu { uuid, name: "L4".to_owned(), memory: 24 << 30, ..Gpu::default() };
    let host = format!("gpu-{}", number / 8).parse().unwrap();
    RowView::Gpu(Box::new(GpuRow {
        host,
        gpu,
        lost: None,
        stats: (!number.is_multiple_of(7)).then_some(stats),
        conditions: Vec::new(),
        holders: Vec::new(),
    }))
}

#[test]
fn a_gpu_has_a_word_for_its_state() {
    let RowView::Gpu(row) = gpu(1) else { panic!("no GPU") };
    let with = |change: fn(&mut GpuRow)| {
        let mut row = (*row).clone();
        change(&mut row);
        row.state()
    };
    let found = |code: &str| -> Vec<ConditionView> {
        let found =
            serde_json::json!({ "code": code, "message": "XID 79", "host": "gpu-0", "device": "GPU-00001" });
        vec![serde_json::from_value(found).unwrap()]
    };
    let throttled = |row: &mut GpuRow, why: &str| {
        row.stats.iter_mut().for_each(|stats| stats.throttled = vec![why.to_owned()]);
    };
    assert_eq!(with(|_| {}), "well");
    assert_eq!(with(|row| row.stats = None), "silent");
    assert_eq!(with(|row| row.lost = Some(GpuLost::default())), "lost");
    assert_eq!(GpuRow { conditions: found("gpu_errors"), ..(*row).clone() }.state(), "errors");
    assert_eq!(GpuRow { conditions: found("gpu_throttled"), ..(*row).clone() }.state(), "slow");
    let mut slowed = (*row).clone();
    throttled(&mut slowed, "power_cap");
    assert_eq!(slowed.state(), "well", "it keeps to its own limit");
    throttled(&mut slowed, "thermal");
    assert_eq!(slowed.state(), "slow");
}

fn event(subject: &str, message: &str) -> RowView {
    let at = Timestamp::from_millis(1000);
    let (kind, subject) = ("rollout.failed".to_owned(), subject.to_owned());
    RowView::Event(EventView { n: 1, at, kind, subject, message: message.to_owned(), actor: None })
}

#[test]
fn of_many_rows_the_wanted_part_is_chosen_in_order() {
    let rows: Vec<RowView> = (0..10_000).map(gpu).collect();
    let wanted = Wanted {
        board: Board::Gpus,
        filter: "GPU-7".to_owned(),
        sort: 3,
        descending: false,
        from: 2,
        limit: 5,
        environment: None,
    };
    let (found, chosen) = choose(rows.iter(), &wanted, Timestamp::ZERO);
    let of_host_7 = (56..64).chain(560..640).chain(5600..6400);
    let expected: BTreeSet<usize> = of_host_7.collect();
    assert_eq!(found, expected.len(), "hosts gpu-7, gpu-7x and gpu-7xx, whatever the case of the filter");
    assert_eq!(chosen.len(), 5);
    assert!(chosen.iter().all(|number| expected.contains(number)), "{chosen:?}");
    let busy = |number: &usize| match &rows[*number] {
        RowView::Gpu(row) => row.stats.as_ref().and_then(|stats| stats.readings.utilization),
        RowView::Host(_)
        | RowView::Service(_)
        | RowView::Rollout(_)
        | RowView::Instance(_)
        | RowView::Event(_)
        | RowView::Route(_)
        | RowView::Ingress(_) => None,
    };
    let shown: Vec<Option<f64>> = chosen.iter().map(busy).collect();
    assert!(shown.is_sorted() && shown[0] == Some(0.0), "{shown:?}");
    // An unknown value comes last, and first the other way round.
    let last = Wanted { descending: true, from: 0, ..wanted.clone() };
    assert_eq!(busy(&choose(rows.iter(), &last, Timestamp::ZERO).1[0]), None);
    let beyond = Wanted { from: 20_000, ..wanted };
    assert_eq!(choose(rows.iter(), &beyond, Timestamp::ZERO).1, [0_usize; 0]);
}

#[test]
fn another_environment_is_left_out_and_hosts_are_not() {
    let rows = [event("default/web", "one"), event("staging/web", "two"), event("web-1", "three")];
    let of = |environment: Option<&str>| {
        let environment = environment.map(|name| name.parse().unwrap());
        let wanted = Wanted { board: Board::Events, limit: 10, environment, ..Wanted::default() };
        choose(rows.iter(), &wanted, Timestamp::ZERO)
    };
    assert_eq!(of(None), (3, vec![0, 1, 2]), "as they come");
    assert_eq!(of(Some("staging")), (2, vec![1, 2]));
}

#[test]
fn numbers_stand_before_words_and_nothing_is_last() {
    let mut keys =
        [Key::None, Key::Words("b".into()), Key::Number(2.0), Key::Words("a".into()), Key::Number(-1.0)];
    keys.sort_by(Key::compare);
    assert_eq!(
        keys,
        [Key::Number(-1.0), Key::Number(2.0), Key::Words("a".into()), Key::Words("b".into()), Key::None]
    );
    assert!(Key::Words("Web-1".into()).has("web") && !Key::Number(2.0).has("2"));
}

#[test]
fn each_board_is_found_by_its_name() {
    for board in Board::ALL {
        assert_eq!(Board::of(board.name()), Some(board));
        assert!(board.columns().len() >= 4);
    }
    assert_eq!(Board::of("ingress"), None);
}
