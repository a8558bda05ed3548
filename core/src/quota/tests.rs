use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000) + SECOND * u32::try_from(seconds).unwrap()
}

fn source(text: &str) -> Source {
    Source::of(text.parse().unwrap())
}

#[test]
fn a_source_is_an_address_or_its_network() {
    assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
    assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
    assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
    assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
    assert_eq!(source("2001:db8::1").to_string(), "2001:db8::/64");
    assert_eq!(source("10.0.0.1").to_string(), "10.0.0.1");
}

#[test]
fn who_overspends_waits_and_others_do_not() {
    let mut quotas = Quotas::new(Rate::new(3, SECOND), 10);
    for _ in 0..3 {
        assert!(quotas.has(&"bad", at(0)));
        assert_eq!(quotas.take(&"bad", at(0)), Ok(()));
    }
    assert!(!quotas.has(&"bad", at(0)));
    assert_eq!(quotas.take(&"bad", at(0)), Err(SECOND));
    assert_eq!(quotas.take(&"good", at(0)), Ok(()));
    assert_eq!(quotas.take(&"bad", at(1)), Ok(()));
    assert_eq!(quotas.take(&"bad", at(1)), Err(SECOND));
    let later = (0..4).map(|_| quotas.take(&"bad", at(100)).is_ok()).collect::<Vec<_>>();
    assert_eq!(later, [true, true, true, false], "a rest that was not used does not add up");
}

#[test]
fn a_clock_that_is_set_back_locks_nobody_out() {
    let mut quotas = Quotas::new(Rate::new(2, SECOND), 10);
    while quotas.take(&"host", at(10_000)).is_ok() {}
    assert!(quotas.take(&"host", at(0)).is_err());
    assert_eq!(quotas.take(&"host", at(70)), Ok(()));
}

#[test]
fn a_turn_can_be_waited_for_and_not_for_long() {
    let mut quotas = Quotas::new(Rate::new(1, SECOND), 10);
    let waits: Vec<_> = (0..5).map(|_| quotas.reserve(&"a", at(0), SECOND * 2)).collect();
    assert_eq!(waits, [Some(Duration::ZERO), Some(SECOND), Some(SECOND * 2), None, None]);
    assert_eq!(quotas.reserve(&"a", at(2), SECOND * 2), Some(SECOND));
}

#[test]
fn flood_of_keys_takes_no_memory_from_known_keys() {
    let mut quotas = Quotas::new(Rate::new(2, SECOND), 100);
    quotas.take(&u32::MAX, at(0)).unwrap();
    let passed = (0..10_000).filter(|key| quotas.take(key, at(0)).is_ok()).count();
    assert_eq!(passed, 99 + 2, "those beyond share one");
    assert_eq!(quotas.len(), 100);
    quotas.take(&u32::MAX, at(0)).unwrap();
    quotas.take(&1, at(5)).unwrap();
    quotas.take(&20_000, at(5)).unwrap();
    assert_eq!(quotas.len(), 2, "those that were whole again are forgotten");
}

#[test]
fn the_first_events_are_told_and_the_others_counted() {
    let rate = |burst| Rate::new(burst, SECOND * 10);
    let mut notices = Notices::new(rate(2), rate(5), 3);
    let told: Vec<_> = (0..6).map(|_| notices.note(&"a", at(0))).collect();
    assert_eq!(told, [Some(0), Some(0), None, None, None, None]);
    assert_eq!(notices.note(&"a", at(10)), Some(4), "the next line says how many there were");
    for key in ["b", "c", "d", "e", "f", "g"] {
        for _ in 0..10 {
            notices.note(&key, at(10));
        }
    }
    let (by_key, rest) = notices.untold(2);
    let all = by_key.iter().map(|(_, count)| count).sum::<u64>() + rest;
    assert_eq!(by_key.len(), 2);
    assert!((55..60).contains(&all), "of 61 events at most 5 were told: {all}");
    assert_eq!(notices.untold(2), (Vec::new(), 0));
}

#[test]
fn one_key_that_takes_more_than_its_share_loses_its_oldest() {
    let mut places = Places::new(100, 2);
    let other = places.enter(&"other");
    let [one, two, three] = std::array::from_fn(|_| places.enter(&"flood"));
    assert_eq!((one.out, two.out, three.out), (None, None, Some(one.at)));
    places.leave(&"flood", one.at);
    assert_eq!(places.open(), 3, "it was gone already");
    places.leave(&"other", other.at);
    places.leave(&"flood", two.at);
    places.leave(&"flood", three.at);
    assert_eq!((places.open(), places.keys()), (0, 0));
}

#[test]
fn when_all_places_are_taken_the_fullest_gives_one() {
    let mut places = Places::new(6, 5);
    let first: Vec<_> = (0..4).map(|_| places.enter(&"flood").at).collect();
    let honest = places.enter(&"honest");
    let _third = places.enter(&"third");
    assert_eq!(places.enter(&"newcomer").out, Some(first[0]));
    places.greeted(&"flood", first[1]);
    assert_eq!(places.enter(&"another").out, Some(first[2]), "who has shown something goes last");
    assert_eq!(places.open(), 6);
    places.leave(&"honest", honest.at);
    assert_eq!(places.enter(&"late").out, None);
}

#[test]
fn of_equals_the_oldest_gives_its_place_whatever_its_key() {
    let mut places = Places::new(3, 3);
    let entered: Vec<_> = [1, 9, 5].iter().map(|key| places.enter(key).at).collect();
    let out: Vec<_> = [0, 8, 7].iter().filter_map(|key| places.enter(key).out).collect();
    assert_eq!(out, entered);
}

#[test]
fn peers_text_is_escaped_and_cut() {
    assert_eq!(printable("/a/b", 10), "/a/b");
    assert_eq!(printable("a\nb\u{1b}[0m", 40), "a\\nb\\u{1b}[0m");
    for text in ["x".repeat(1000), "\u{1b}".repeat(1000), "é".repeat(1000), "\"".repeat(7)] {
        for most in [3, 5, 10, 64] {
            let shown = printable(&text, most);
            assert!(shown.len() <= most, "{shown:?}");
        }
    }
}
