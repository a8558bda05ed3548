use std::collections::BTreeSet;

use windlass_core::HostId;

use super::readers::UNREAD;
use super::*;

fn host() -> HostId {
    "web-1".parse().unwrap()
}

fn message(request: u64, text: usize) -> pb::LogLines {
    let line = pb::LogLine { text: "x".repeat(text), ..pb::LogLine::default() };
    pb::LogLines { request, lines: vec![line], ..pb::LogLines::default() }
}

/// A host may send messages of 8 MiB; times the length of the queue that would be gigabytes.
#[test]
fn lines_nobody_reads_are_bounded_and_counted() {
    let (sender, mut pieces) = mpsc::channel(256);
    let readers = Readers::default();
    let request = readers.start(&host(), Pieces::new(sender));
    for _ in 0..100 {
        assert!(!readers.lines(&host(), message(request, 1 << 20)));
    }
    assert!(!readers.lines(&host(), pb::LogLines { end: true, ..message(request, 1 << 20) }));
    let (mut unread, mut lines, mut lost) = (0, 0, 0);
    while let Ok(item) = pieces.try_recv() {
        let Item::Entries(entries) = item else { continue };
        for piece in &entries {
            unread += piece.size();
            let line = piece.line.as_ref().unwrap();
            lost += line.dropped;
            lines += u64::from(line.note == 0);
        }
        std::mem::forget(entries); // as a reader that keeps them
    }
    assert!((3 << 20..=UNREAD + 4096).contains(&unread), "{unread}");
    assert_eq!(lines + lost, 101, "{lines} read, {lost} said to be lost");
}

#[test]
fn lines_that_were_read_make_room_again() {
    let (sender, mut pieces) = mpsc::channel(256);
    let readers = Readers::default();
    let request = readers.start(&host(), Pieces::new(sender));
    for _ in 0..100 {
        assert!(!readers.lines(&host(), message(request, 1 << 20)));
        let Ok(Item::Entries(entries)) = pieces.try_recv() else { panic!("nothing came") };
        assert_eq!(entries.iter().filter(|piece| piece.line.as_ref().unwrap().note == 0).count(), 1);
        assert!(matches!(pieces.try_recv(), Ok(Item::Current)));
    }
}

#[test]
fn a_host_answers_only_its_own_requests() {
    let (sender, pieces) = mpsc::channel(4);
    let readers = Readers::default();
    let request = readers.start(&host(), Pieces::new(sender));
    let other: HostId = "web-2".parse().unwrap();
    assert!(readers.take(&other, request).is_none());
    assert!(readers.lines(&other, message(request, 1)), "it is told to stop");
    assert!(pieces.is_empty());
    drop(pieces);
    let mut asked = BTreeSet::from([request]);
    assert_eq!(readers.abandoned(&host(), &mut asked), [request]);
    assert!(asked.is_empty() && readers.open().is_empty());
}

/// Nothing came, and that is not the same as an empty log.
#[test]
fn an_answer_that_is_cut_off_says_so_to_a_full_reader_too() {
    let (sender, mut pieces) = mpsc::channel(3);
    let readers = Readers::default();
    let request = readers.start(&host(), Pieces::new(sender));
    readers.lines(&host(), message(request, 1));
    readers.lines(&host(), message(request, 1));
    readers.forget(&host(), &BTreeSet::from([request]));
    let mut missing = Vec::new();
    while let Ok(item) = pieces.try_recv() {
        let Item::Entries(entries) = item else { continue };
        missing.extend(entries.into_iter().filter(|piece| piece.line.is_none()).map(|piece| piece.missing));
    }
    assert_eq!(missing, ["the host's connection was cut before its log was complete"]);

    let (sender, mut pieces) = mpsc::channel(4);
    let request = readers.start(&host(), Pieces::new(sender));
    readers.lines(&host(), pb::LogLines { end: true, ..message(request, 1) });
    while let Ok(item) = pieces.try_recv() {
        assert!(!matches!(&item, Item::Entries(all) if all.iter().any(|piece| piece.line.is_none())));
    }
}

/// Notes stand for the lines that they count, also where there is no room for the note itself.
#[test]
fn a_full_reader_of_an_old_agent_is_told_the_whole_number() {
    let (sender, mut pieces) = mpsc::channel(3);
    let readers = Readers::default();
    let request = readers.start(&host(), Pieces::new(sender));
    let three = || pb::LogLines { lines: vec![pb::LogLine::default(); 3], ..message(request, 1) };
    let (mut lines, mut lost) = (0, 0);
    let mut read = |pieces: &mut mpsc::Receiver<Item<LogPiece>>| {
        while let Ok(item) = pieces.try_recv() {
            let Item::Entries(entries) = item else { continue };
            for line in entries.into_iter().filter_map(|piece| piece.line) {
                lost += line.dropped;
                lines += u64::from(line.note == 0);
            }
        }
        (lines, lost)
    };
    for _ in 0..10 {
        assert!(!readers.lines(&host(), three()));
    }
    read(&mut pieces);
    for _ in 0..10 {
        assert!(!readers.lines(&host(), three()));
    }
    read(&mut pieces);
    assert!(!readers.lines(&host(), pb::LogLines { end: true, ..three() }));
    let (lines, lost) = read(&mut pieces);
    assert_eq!(lines + lost, 63, "{lines} read, {lost} said to be lost");
    assert!(lost > 40);
}
