//! GPUs whose library hangs in the middle of a deploy: what serves goes on, and the deploy with it when they answer again.

use windlass_core::host::{Gpu, GpuLost, Silent};
use windlass_core::release::Gpus;

use super::*;
use crate::gpu::Seen;

impl Host {
    /// The probe sees one GPU, or hangs.
    fn see_gpu(&self, hangs: bool) {
        let gpu = Gpu { uuid: "GPU-1".to_owned(), memory: 24 << 30, ..Gpu::default() };
        let why = "the NVIDIA library has not answered for 5 s".to_owned();
        let silent = hangs.then(|| Silent { what: crate::gpu::WHAT.to_owned(), since: now(), why });
        let seen = Seen { gpus: vec![gpu], silent, at: Some(Instant::now()), ..Seen::default() };
        self.gpus.send_replace(Arc::new(seen));
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_runs_on_a_lost_card_says_so() {
    let mut host = Host::new();
    host.see_gpu(false);
    let one = host.release(1, |spec| spec.resources.gpus = Some(Gpus { count: 1, memory: None }));
    host.plan(vec![PlanSlot { good: true, gpus: vec!["GPU-1".to_owned()], ..running(0, one) }]);
    host.settled().await;
    assert_eq!(host.observation.borrow().conditions, []);
    let (uuid, why) = ("GPU-1".to_owned(), "it has fallen off the bus".to_owned());
    let lost = vec![GpuLost { uuid, why, ..GpuLost::default() }];
    host.gpus.send_replace(Arc::new(Seen { lost, at: Some(Instant::now()), ..Seen::default() }));
    let said = |seen: &Arc<Observation>| seen.conditions.iter().any(|found| found.slot.is_some());
    let mut told = host.observation.clone();
    tokio::time::timeout(Duration::from_secs(60), told.wait_for(said)).await.unwrap().unwrap();
    let seen = host.observation.borrow().clone();
    let [found] = seen.conditions.as_slice() else { panic!("{:?}", seen.conditions) };
    assert_eq!((found.code.as_str(), found.device.as_deref()), ("gpu_lost", Some("GPU-1")));
    assert_eq!(found.slot.as_ref(), Some(&seen.slots[0].slot));
    assert!(found.message.starts_with("its GPU GPU-1 is lost (it has fallen off the bus)"), "{found}");
}

#[tokio::test(start_paused = true)]
async fn gpus_that_hang_in_a_deploy_stop_nothing_and_it_goes_on() {
    let mut host = Host::new();
    host.see_gpu(false);
    let with_gpu = |spec: &mut Spec| spec.resources.gpus = Some(Gpus { count: 1, memory: None });
    let (one, two) = (host.release(1, with_gpu), host.release(2, with_gpu));
    let gpus = vec!["GPU-1".to_owned()];
    host.plan(vec![PlanSlot { good: true, gpus: gpus.clone(), ..running(0, one) }]);
    host.settled().await;
    let before = host.journal().len();

    // The deploy comes while the library hangs: the old instance would have to stop first.
    host.see_gpu(true);
    let previous = Some(Previous { release: one, phase: Phase::Standby });
    host.plan(vec![PlanSlot { order: Order::StopFirst, previous, gpus, ..replacing(0, two, one) }]);
    tokio::time::sleep(Duration::from_secs(300)).await;
    let done = host.journal().split_off(before);
    assert!(done.iter().all(|step| step.starts_with("pull ")), "it waits: {done:?}");
    let serves = |seen: &Observation, counter| {
        seen.slots[0].instances.iter().any(|i| i.counter == Counter(counter) && i.state.is_running())
    };
    assert!(serves(&host.observation.borrow(), 1), "what serves goes on");

    host.see_gpu(false);
    let took = host.settled().await;
    assert!(took < Duration::from_secs(60), "and the deploy goes on when they answer: {took:?}");
    let seen = host.observation.borrow().clone();
    assert!(serves(&seen, 2) && !serves(&seen, 1), "{seen:#?}");
}
