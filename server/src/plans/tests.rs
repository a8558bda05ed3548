//! Since which number a slot's part is as it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use windlass_core::plan::{Order, Phase, PlanSlot};
use windlass_core::slot::Slot;
use windlass_core::{Digest, HostId, SlotId};

use super::{Overlay, issue, raise, renew};
use crate::clock::Clock;
use crate::ledger::{Change, Ledger, state_for_tests};
use crate::store::memory::MemoryStore;
use crate::store::record::{PlanRecord, decode, encode};

fn assignment(slot: &SlotId, phase: Phase) -> Slot {
    let want = PlanSlot {
        slot: slot.clone(),
        release: Digest::of(b"release"),
        phase,
        good: true,
        fallback: None,
        order: Order::StartFirst,
        gpus: Vec::new(),
        previous: None,
        retry_quarantined: false,
        generation: 0,
        keeps_older: false,
        task: None,
    };
    Slot::adopted(host(), want)
}

fn host() -> HostId {
    "h0".parse().unwrap()
}

fn slot(name: &str) -> SlotId {
    format!("production/{name}/0").parse().unwrap()
}

/// An event that changes a host's plan.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// A slot's part is this.
    Put(&'static str, Phase),
    /// A slot is no more.
    Gone(&'static str),
    /// A slot's part is this, and no plan was numbered for it: nobody knew what the host held.
    Unnumbered(&'static str, Phase),
    Renew,
    Raise,
}

/// An act, the number of the plan after it, and the numbers of its parts.
type Step = (Act, u64, &'static [(&'static str, u64)]);

async fn act(ledger: &Ledger, act: Act) {
    let done = ledger.write(move |batch| {
        let (name, to, numbered) = match act {
            Act::Put(name, phase) => (name, Some(phase), true),
            Act::Unnumbered(name, phase) => (name, Some(phase), false),
            Act::Gone(name) => (name, None, true),
            Act::Renew => return renew(batch, &host()),
            Act::Raise => return raise(batch, &host()),
        };
        let (slot, mut overlay) = (slot(name), Overlay::default());
        let to = to.map(|phase| assignment(&slot, phase));
        overlay.set(slot.clone(), to.clone());
        batch.change(match to {
            Some(to) => Change::Slot(slot, Box::new(to)),
            None => Change::SlotGone(slot),
        });
        if numbered {
            issue(batch, &[host()].into(), &overlay);
        }
    });
    done.await.unwrap();
}

#[tokio::test]
async fn a_part_has_the_number_of_the_first_plan_that_had_it() {
    use Act::{Gone, Put, Raise, Renew, Unnumbered};
    let (ledger, writer) =
        Ledger::open(Arc::new(MemoryStore::new()), state_for_tests(), Clock::system()).await.unwrap();
    let (stop, mut tasks) = (CancellationToken::new(), tokio::task::JoinSet::new());
    tasks.spawn(writer.run(stop.clone()));
    #[rustfmt::skip]
    let story: [Step; 11] = [
        (Put("a", Phase::Pulled),         1, &[("a", 1)]),
        (Put("b", Phase::Pulled),         2, &[("a", 1), ("b", 2)]),
        (Put("a", Phase::Running),        3, &[("a", 3), ("b", 2)]),
        (Put("a", Phase::Running),        3, &[("a", 3), ("b", 2)]),
        (Put("a", Phase::Pulled),         4, &[("a", 4), ("b", 2)]),
        (Renew,                           5, &[("a", 4), ("b", 2)]),
        (Put("c", Phase::Running),        6, &[("a", 4), ("b", 2), ("c", 6)]),
        (Gone("a"),                       7, &[("b", 2), ("c", 6)]),
        (Put("a", Phase::Pulled),         8, &[("a", 8), ("b", 2), ("c", 6)]),
        (Raise,                           9, &[("a", 9), ("b", 9), ("c", 9)]),
        (Put("b", Phase::Running),       10, &[("a", 9), ("b", 10), ("c", 9)]),
    ];
    let since = |name: &str| {
        ledger.read(|state| {
            let plan: &PlanRecord = &state.plans[&host()];
            plan.since.get(&slot(name)).copied().unwrap_or(plan.seq)
        })
    };
    for (step, (change, seq, want)) in story.into_iter().enumerate() {
        act(&ledger, change).await;
        assert_eq!(ledger.read(|state| state.plans[&host()].seq), seq, "{step}: {change:?}");
        let got: BTreeMap<&str, u64> = want.iter().map(|(name, _)| (*name, since(name))).collect();
        assert_eq!(got, want.iter().copied().collect(), "{step}: {change:?}");
    }
    // The plan before says other things than the slots were: nothing is taken to be unchanged.
    act(&ledger, Unnumbered("c", Phase::Standby)).await;
    act(&ledger, Put("a", Phase::Running)).await;
    assert_eq!(["a", "b", "c"].map(since), [11; 3]);
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap().unwrap();
}

/// A store that was written before parts had numbers: every part counts as new with the plan.
#[test]
fn a_record_without_numbers_of_parts_is_read() {
    let record: PlanRecord = serde_json::from_value(serde_json::json!({
        "seq": 7, "epoch": 1, "issued_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-02T00:00:00Z",
        "slots": Digest::of(b"slots"),
    }))
    .unwrap();
    assert!(record.since.is_empty());
    assert_eq!(decode::<PlanRecord>(&encode(&record)).unwrap(), record);
    let newer = PlanRecord { since: Arc::new([(slot("a"), 3)].into()), ..record };
    assert_eq!(decode::<PlanRecord>(&encode(&newer)).unwrap(), newer);
}
