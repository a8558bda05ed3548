//! The conditions of a host, found by its agent for people: one line each, with a code that scripts can rely on.

use serde::{Deserialize, Serialize};

use crate::id::SlotId;

/// Conditions of one host at once; more are left out.
pub const CONDITIONS: usize = 64;
/// Bytes of a condition's message; longer ones are cut.
pub const MESSAGE: usize = 512;

/// Something about a host, or one of its slots, that holds now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Condition {
    /// Its kind; stable, for scripts.
    pub code: ConditionCode,
    /// The slot that it is about; none if it is about the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<SlotId>,
    /// The device that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The details, for people.
    pub message: String,
}

impl Condition {
    /// A condition; a message that is too long is cut.
    pub fn new(code: ConditionCode, slot: Option<SlotId>, message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(MESSAGE));
        Self { code, slot, device: None, message }
    }

    /// The same about a device.
    pub fn of_device(code: ConditionCode, device: &str, message: impl Into<String>) -> Self {
        let mut device = device.to_owned();
        device.truncate(device.floor_char_boundary(MESSAGE));
        Self { device: Some(device).filter(|device| !device.is_empty()), ..Self::new(code, None, message) }
    }
}

/// Kinds of conditions.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ConditionCode {
    /// A container has our labels and is none of ours. It is left alone.
    StrangeContainer,
    /// The image that a slot would go back to has gone from the host.
    FallbackImageMissing,
    /// The instance that a slot would go back to has gone. A new one is made of the image when it is needed.
    StandbyMissing,
    /// A GPU that was there has gone: it fell off the bus, or its driver does not answer for it.
    GpuLost,
    /// A GPU reports errors: of its memory, or of its driver.
    GpuErrors,
    /// A GPU is slowed down, as it is too hot or gets too little power.
    GpuThrottled,
    /// A slot whose instance runs is refused by its host now: it would not be started again.
    SlotRefused,
    /// No interface of the host has the address under which others reach it.
    AddressGone,
    /// One that only a newer agent knows.
    #[serde(other)]
    Other,
}

impl ConditionCode {
    /// Every code.
    pub const ALL: [Self; 9] = [
        Self::StrangeContainer,
        Self::FallbackImageMissing,
        Self::StandbyMissing,
        Self::GpuLost,
        Self::GpuErrors,
        Self::GpuThrottled,
        Self::SlotRefused,
        Self::AddressGone,
        Self::Other,
    ];

    /// The code as documents and people write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StrangeContainer => "strange_container",
            Self::FallbackImageMissing => "fallback_image_missing",
            Self::StandbyMissing => "standby_missing",
            Self::GpuLost => "gpu_lost",
            Self::GpuErrors => "gpu_errors",
            Self::GpuThrottled => "gpu_throttled",
            Self::SlotRefused => "slot_refused",
            Self::AddressGone => "address_gone",
            Self::Other => "other",
        }
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

/// As many as one host may have, in a fixed order.
pub fn bounded(mut conditions: Vec<Condition>) -> Vec<Condition> {
    conditions.sort();
    conditions.dedup();
    conditions.truncate(CONDITIONS);
    conditions
}

/// Returns whether the conditions of one host keep within the bounds.
pub fn is_bounded(conditions: &[Condition]) -> bool {
    let short = |condition: &Condition| {
        condition.message.len() <= MESSAGE
            && condition.device.as_ref().is_none_or(|device| device.len() <= MESSAGE)
    };
    conditions.len() <= CONDITIONS && conditions.iter().all(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_listed_and_written_as_documents_do() {
        for (at, code) in ConditionCode::ALL.iter().enumerate() {
            assert_eq!(*code as usize, at, "in the order of the enum, so none is left out");
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
        assert_eq!(ConditionCode::ALL.len(), ConditionCode::Other as usize + 1);
    }

    #[test]
    fn a_code_of_a_newer_agent_is_read() {
        let read: Condition = serde_json::from_str(r#"{"code":"of_tomorrow","message":"m"}"#).unwrap();
        assert_eq!(read, Condition::new(ConditionCode::Other, None, "m"));
    }

    #[test]
    fn messages_and_lists_are_bounded() {
        let long = Condition::new(ConditionCode::StrangeContainer, None, "ä".repeat(MESSAGE));
        assert_eq!(long.message.len(), MESSAGE);
        let many = |count: usize| {
            (0..count).map(|n| Condition::new(ConditionCode::StrangeContainer, None, n.to_string()))
        };
        assert!(!is_bounded(&many(CONDITIONS + 1).collect::<Vec<_>>()));
        let kept = bounded(many(CONDITIONS + 9).collect());
        assert!(kept.len() == CONDITIONS && is_bounded(&kept));
        assert_eq!(bounded(vec![long.clone(), long]).len(), 1);
        let over = Condition { message: "m".repeat(MESSAGE + 1), ..kept[0].clone() };
        assert!(!is_bounded(&[over]));
    }
}
