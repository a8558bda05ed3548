//! Attackers that are not the coordinator: agents with a real certificate, operators with a smaller grant,
//! strangers with none. Of each attack the same is asked: it is refused, it costs little, and others are served.

mod agent;
mod client;
mod enrolment;
mod flood;

use crate::fleet::Fleet;
use crate::release::release;
use crate::rollouts::deploy;

/// Memory of this process, in bytes: the coordinator, and whoever attacks it.
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

/// The coordinator still does its work for those who do no harm.
async fn serves(fleet: &Fleet, counter: u64, content: &str) {
    assert_eq!(deploy(fleet, &release(counter, 2, content)).await, "succeeded", "r{counter}");
}
