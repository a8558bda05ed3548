//! GPUs whose library hangs in the middle of a deploy: what serves goes on, and the deploy with it when they answer again.

use windlass_core::host::{Gpu, Silent};
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
