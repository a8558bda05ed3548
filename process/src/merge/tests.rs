use super::*;

#[derive(Debug, PartialEq, Eq)]
struct At(i64, usize);

impl Entry for At {
    fn nanos(&self) -> i64 {
        self.0
    }
    fn size(&self) -> usize {
        self.1
    }
}

fn entries(times: &[i64]) -> Item<At> {
    Item::Entries(times.iter().map(|at| At(*at, 10)).collect())
}

#[test]
fn the_past_comes_in_order_and_waits_for_everybody() {
    let now = Instant::now();
    let mut merge = Merge::new();
    merge.open("a", now);
    merge.open("b", now);
    merge.take(&"a", entries(&[1, 4]), now);
    assert_eq!(merge.next(now), Next::Wait(Some(now + PATIENCE)), "b may have older ones");
    merge.take(&"b", entries(&[2, 3]), now);
    for (key, want) in [("a", 1), ("b", 2), ("b", 3)] {
        assert_eq!(merge.next(now), Next::Entry(key, At(want, 10)));
    }
    assert_eq!(merge.next(now), Next::Wait(Some(now + PATIENCE)));
    merge.close(&"b");
    assert_eq!(merge.next(now), Next::Entry("a", At(4, 10)));
    merge.close(&"a");
    assert_eq!(merge.next(now), Next::End);
}

#[test]
fn a_current_source_that_is_silent_holds_nobody_up() {
    let now = Instant::now();
    let mut merge = Merge::new();
    merge.open("a", now);
    merge.open("b", now);
    merge.take(&"b", Item::Current, now);
    merge.take(&"a", entries(&[1]), now);
    assert_eq!(merge.next(now), Next::Wait(Some(now + HOLD)));
    assert_eq!(merge.next(now + HOLD), Next::Entry("a", At(1, 10)));
    assert!(!merge.is_current());
    merge.take(&"a", Item::Current, now);
    assert!(merge.is_current());
}

#[test]
fn a_source_is_read_only_while_there_is_room() {
    let now = Instant::now();
    let mut merge = Merge::new();
    merge.open("a", now);
    merge.open("b", now);
    assert!(merge.wants(&"a") && !merge.wants(&"c"));
    merge.take(&"a", Item::Entries(vec![At(1, ROOM), At(2, 1)]), now);
    assert!(!merge.wants(&"a"));
    merge.close(&"b");
    assert_eq!(merge.next(now), Next::Entry("a", At(1, ROOM)));
    assert!(merge.wants(&"a"));
}

#[test]
fn many_sources_share_the_room_of_one() {
    let now = Instant::now();
    let mut merge = Merge::new();
    let keys: Vec<usize> = (0..64).collect();
    keys.iter().for_each(|key| merge.open(*key, now));
    let mut held = 0;
    for key in &keys {
        while merge.wants(key) {
            merge.take(key, Item::Entries(vec![At(1, 1000)]), now);
            held += 1000;
        }
    }
    assert!((ROOM..ROOM + 64 * 1000).contains(&held), "{held}");
}

#[test]
fn a_position_counts_what_came_out_of_order() {
    let mut position = Position::default();
    let read = |position: &mut Position, times: &[i64]| times.iter().for_each(|at| position.read(*at));
    read(&mut position, &[3, 5]);
    assert_eq!(position, Position { nanos: 5, older: 0 });
    read(&mut position, &[4, 5]);
    assert_eq!(position, Position { nanos: 5, older: 2 });
    read(&mut position, &[6]);
    assert_eq!(position, Position { nanos: 6, older: 0 });
}

#[tokio::test(start_paused = true)]
async fn channels_are_merged_and_end() {
    let mut merged = Merged::new();
    for (key, times) in [("a", [1, 5]), ("b", [3, 4])] {
        let (sender, receiver) = mpsc::channel(4);
        merged.add(key, receiver);
        sender.try_send(entries(&times)).unwrap();
    }
    let mut seen = Vec::new();
    while let Some((_, At(at, _))) = merged.next().await {
        seen.push(at);
    }
    assert_eq!(seen, [1, 3, 4, 5]);
    assert!(!merged.has(&"a"));
}
