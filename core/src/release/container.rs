//! Options of a container that give it nothing of its host: init process, limits, shared memory, stop signal, labels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::units::Size;

/// Limits of one release.
pub(crate) const MAX_ULIMITS: usize = 32;
/// Labels of one release.
pub(crate) const MAX_LABELS: usize = 64;
/// Bytes of a label's key.
pub(crate) const MAX_LABEL_KEY: usize = 128;
/// Bytes of a label's value.
pub(crate) const MAX_LABEL_VALUE: usize = 4096;
/// Limits that may be set. Those of priorities are left out: a container does not get ahead of its host.
pub const ULIMITS: [&str; 13] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nofile",
    "nproc",
    "rss",
    "sigpending",
    "stack",
];

/// Options of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainerOptions {
    /// Whether the engine's init process runs as process 1, and reaps what the service leaves behind.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub init: bool,
    /// Limits by name, like `nofile`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Size of `/dev/shm`; the engine's own, 64 MiB, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<Size>,
    /// The signal that stops it, like `SIGQUIT`; the image's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Labels of the container beside those of Windlass.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A limit; -1 stands for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ulimit {
    /// The limit that a process gets.
    pub soft: i64,
    /// Up to where it may raise that.
    pub hard: i64,
}

impl Default for ContainerOptions {
    fn default() -> Self {
        Self {
            init: true,
            ulimits: BTreeMap::new(),
            shm_size: None,
            stop_signal: None,
            labels: BTreeMap::new(),
        }
    }
}

impl ContainerOptions {
    /// Returns whether the container is as it is without any option.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Ulimit {
    /// Returns whether an engine takes it.
    pub fn is_sound(self) -> bool {
        let (soft, hard) = (self.soft, self.hard);
        soft >= -1 && hard >= -1 && (hard == -1 || (soft != -1 && soft <= hard))
    }
}

/// Signals of Linux by name.
pub const SIGNALS: [&str; 35] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGIOT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPOLL",
    "SIGPWR",
    "SIGSYS",
    "SIGRTMIN",
];

/// Returns whether text is a signal: `SIGQUIT`, `SIGRTMIN+3`, or its number.
pub fn is_signal(text: &str) -> bool {
    let offset = |rest: &str, sign: char| {
        rest.is_empty()
            || rest.strip_prefix(sign).is_some_and(|n| n.parse::<u8>().is_ok_and(|n| (1..=30).contains(&n)))
    };
    let real_time = text.strip_prefix("SIGRTMIN").is_some_and(|rest| offset(rest, '+'))
        || text.strip_prefix("SIGRTMAX").is_some_and(|rest| offset(rest, '-'));
    real_time
        || SIGNALS.contains(&text)
        || text.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number) && text == number.to_string())
}

/// Returns whether a label may stand on a container: plain text, and none of Windlass itself.
pub fn is_container_label(key: &str, value: &str) -> bool {
    let plain = |text: &str| !text.chars().any(char::is_control);
    (1..=MAX_LABEL_KEY).contains(&key.len())
        && plain(key)
        && !key.contains('=')
        && key != "windlass"
        && !key.starts_with("windlass.")
        && value.len() <= MAX_LABEL_VALUE
        && plain(value)
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
const fn is_yes(value: &bool) -> bool {
    *value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_limits_and_labels_are_told_apart() {
        #[rustfmt::skip]
        let signals = [("SIGQUIT", true), ("SIGRTMIN+3", true), ("15", true), ("0", false), ("015", false), ("65", false), ("QUIT", false), ("SIGFOO", false),
            ("SIGRTMIN+31", false), ("SIGRTMAX-1", true), ("SIGRTMIN", true), ("SIGRTMIN-1", false),
            ("SIG", false), ("sigquit", false), ("SIG KILL", false), ("", false)];
        for (text, want) in signals {
            assert_eq!(is_signal(text), want, "{text}");
        }
        let limits =
            [(1, 2, true), (2, 1, false), (-1, -1, true), (5, -1, true), (-1, 5, false), (-2, 0, false)];
        for (soft, hard, want) in limits {
            assert_eq!(Ulimit { soft, hard }.is_sound(), want, "{soft} {hard}");
        }
        #[rustfmt::skip]
        let labels = [("traefik.enable", "true", true), ("windlass.fleet", "x", false), ("windlass", "x", false), ("a=b", "x", false),
            ("", "x", false), ("a", "x\ny", false), ("windlassy", "", true)];
        for (key, value, want) in labels {
            assert_eq!(is_container_label(key, value), want, "{key}");
        }
        assert_eq!(serde_json::to_string(&ContainerOptions::default()).unwrap(), "{}");
        assert!(serde_json::from_str::<ContainerOptions>("{}").unwrap().is_default());
    }
}
