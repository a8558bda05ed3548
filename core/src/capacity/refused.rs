//! The devices of a host that are not given, and why, in words.

use std::collections::BTreeMap;

use crate::host::HostFacts;

use super::need::DeviceFull;

/// Devices that are named for one reason.
const NAMED: usize = 4;

/// Devices by what is in their way.
#[derive(Debug, Default)]
pub(super) struct Refused {
    by_reason: BTreeMap<String, Vec<String>>,
    policy: Option<String>,
}

impl Refused {
    pub(super) fn add(&mut self, uuid: &str, why: &DeviceFull) {
        self.by_reason.entry(why.to_string()).or_default().push(uuid.to_owned());
    }

    /// Adds those that the host has lost.
    pub(super) fn lost(&mut self, facts: &HostFacts) {
        for lost in facts.gpus_lost.iter().filter(|lost| !lost.uuid.is_empty()) {
            self.by_reason.entry("lost".to_owned()).or_default().push(lost.uuid.clone());
        }
    }

    /// Adds the host's policy, where the devices that are `held` are all that it gives.
    pub(super) fn policy(&mut self, facts: &HostFacts, held: usize) {
        if let Some(most) = facts.policy.gpus {
            self.policy = Some(format!("`gpus = {most}` in the host's policy, {held} in use"));
        }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let devices = self.by_reason.iter().map(|(why, uuids)| {
            let named = uuids.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            match uuids.len().saturating_sub(NAMED) {
                0 => format!("{named}: {why}"),
                more => format!("{named} and {more} more: {why}"),
            }
        });
        let all: Vec<String> = devices.chain(self.policy.clone()).collect();
        f.write_str(&all.join("; "))
    }
}
