use windlass_certs::keys::SigningKey;
use windlass_core::audit::{Fact, Head, Loss, RESTORED, Verdict, segment_subject};
use windlass_core::receipt::Witnessed;
use windlass_core::{Digest, Timestamp};

use super::*;

const AT: Timestamp = Timestamp::from_millis(1_750_000_000_000);

struct Keys {
    fleet: windlass_testkit::keys::Keys,
    host: SigningKey,
}

fn keys() -> Keys {
    Keys { fleet: windlass_testkit::keys::Keys::generate(), host: windlass_testkit::keys::key() }
}

/// A log of two entries, and the head that it has after them.
fn log(salt: &str) -> (Vec<Vec<u8>>, Head) {
    let mut head = Head::default();
    let entries = [0, 1].map(|n| {
        let (actor, subject) = ("operator/alice".to_owned(), format!("{salt} {n}"));
        head.append(Fact { actor, verb: "test", subject, digest: None, outcome: "ok".to_owned() }, AT)
    });
    (entries.to_vec(), head)
}

fn receipt(key: &SigningKey, host: &str, size: u64, head: Digest) -> Vec<u8> {
    let receipt = Receipt {
        version: 1,
        fleet: "demo".parse().unwrap(),
        host: host.parse().unwrap(),
        seq: 7,
        plan: Digest::of(b"plan"),
        slots: Vec::new(),
        checkpoint: Some(Witnessed { size, head, segment: 0 }),
        at: AT,
    };
    Envelope::sign(PayloadType::Receipt, serde_json::to_vec(&receipt).unwrap(), &[key]).to_bytes()
}

fn checkpoint(key: &SigningKey, fleet: &str, size: u64, head: Digest) -> Vec<u8> {
    let fleet = fleet.parse().unwrap();
    let checkpoint = Checkpoint { version: 1, fleet, size, head, segment: 0, at: AT };
    Envelope::sign(PayloadType::Audit, serde_json::to_vec(&checkpoint).unwrap(), &[key]).to_bytes()
}

/// The findings in a whole log when a host `web-1` shows `receipt` and `checkpoint`.
fn held_against(keys: &Keys, receipt: &[u8], checkpoint: &[u8]) -> AuditView {
    let mut reading = Reading::new(&keys.fleet.document(AT), None, &[]);
    log("a").0.iter().for_each(|entry| reading.entry(entry));
    let key = keys.host.public();
    reading.witness("web-1".to_owned(), receipt, key.as_bytes(), checkpoint);
    reading.finish(None).0
}

#[test]
fn a_log_that_was_cut_or_rewritten_is_contradicted_by_a_host() {
    let keys = keys();
    let ((_, same), (_, other)) = (log("a"), log("b"));
    let table = [
        (2, same.hash, Verdict::UnanchoredTail(2)),
        (3, other.hash, Verdict::Truncated { have: 2, want: 3 }),
        (2, other.hash, Verdict::Forked(2)),
    ];
    for (size, head, want) in table {
        let shown = checkpoint(&keys.fleet.audit, "demo", size, head);
        let view = held_against(&keys, &receipt(&keys.host, "web-1", size, head), &shown);
        let accuser = (!want.is_sound()).then(|| "host web-1".to_owned());
        assert_eq!(
            (view.verdict, view.witnesses, view.contradicted_by),
            (want, vec!["web-1".to_owned()], accuser)
        );
    }
}

#[test]
fn a_host_that_shows_no_signed_checkpoint_accuses_nobody() {
    let keys = keys();
    let (_, other) = log("b");
    let said = receipt(&keys.host, "web-1", 900, other.hash);
    let made_up = checkpoint(&keys.host, "demo", 900, other.hash);
    let elsewhere = checkpoint(&keys.fleet.audit, "other", 900, other.hash);
    for shown in [b"".as_slice(), b"{}", &made_up, &elsewhere] {
        let view = held_against(&keys, &said, shown);
        assert_eq!(view.verdict, Verdict::UnanchoredTail(2));
        assert_eq!((view.witnesses, view.unproven), (Vec::new(), vec!["web-1".to_owned()]));
    }
}

#[test]
fn a_receipt_that_is_wrong_or_of_another_host_says_nothing() {
    let (keys, stranger) = (keys(), SigningKey::generate().unwrap());
    let (_, other) = log("b");
    let forged = receipt(&stranger, "web-1", 3, other.hash);
    let elsewhere = receipt(&keys.host, "web-2", 3, other.hash);
    let shown = checkpoint(&keys.fleet.audit, "demo", 3, other.hash);
    for said in [forged.as_slice(), &elsewhere, b"", b"{}"] {
        let view = held_against(&keys, said, &shown);
        assert_eq!((view.verdict, view.witnesses), (Verdict::UnanchoredTail(2), Vec::new()));
    }
}

#[test]
fn a_loss_counts_as_accepted_only_with_an_operators_signature() {
    let keys = keys();
    let (_, before) = log("a");
    let mut head = Head::default();
    let fact = Fact {
        actor: "coordinator".to_owned(),
        verb: RESTORED,
        subject: segment_subject(70),
        digest: None,
        outcome: "ok".to_owned(),
    };
    let mark = head.append(fact, AT);
    let kept = KeptCheckpoint { size: before.size, head: before.hash, segment: 0, at: AT };
    let look = |accepted: &[String]| {
        let mut reading = Reading::new(&keys.fleet.document(AT), Some(&kept), accepted);
        reading.entry(&mark);
        reading.finish(None).0
    };
    let view = look(&[]);
    let [loss] = view.losses[..] else { panic!("{view:?}") };
    assert_eq!((view.verdict, loss.head), (Verdict::Lost { size: 2 }, before.hash));
    let accepted = |fleet: &str, loss: Loss, key: &SigningKey| {
        let accepted =
            AcceptedLoss { version: 1, fleet: fleet.parse().unwrap(), loss, by: "alice".to_owned(), at: AT };
        let payload = serde_json::to_vec(&accepted).unwrap();
        String::from_utf8(Envelope::sign(PayloadType::Loss, payload, &[key]).to_bytes()).unwrap()
    };
    assert!(look(&[accepted("demo", loss, &keys.fleet.release)]).sound);
    for other in [
        accepted("demo", loss, &keys.fleet.audit),
        accepted("other", loss, &keys.fleet.release),
        accepted("demo", Loss { mark: Digest::of(b"another"), ..loss }, &keys.fleet.release),
        "nonsense".to_owned(),
    ] {
        assert!(!look(&[other]).sound);
    }
}
