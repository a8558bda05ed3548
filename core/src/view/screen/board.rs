//! The boards of a screen, and their columns.

use serde::{Deserialize, Serialize};

/// The subject of a screen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Board {
    /// A row per host.
    #[default]
    Hosts,
    /// A row per service.
    Services,
    /// A row per rollout, the newest first.
    Rollouts,
    /// A row per instance.
    Instances,
    /// A row per GPU.
    Gpus,
    /// A row per event, the newest first.
    Events,
    /// A row per service that requests are routed to and release of it.
    Routes,
    /// A row per ingress and environment that it serves.
    Ingresses,
}

impl Board {
    /// In the order in which they are offered.
    pub const ALL: [Self; 8] = [
        Self::Hosts,
        Self::Services,
        Self::Rollouts,
        Self::Instances,
        Self::Gpus,
        Self::Events,
        Self::Routes,
        Self::Ingresses,
    ];

    /// Its name, in small letters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Services => "services",
            Self::Rollouts => "rollouts",
            Self::Instances => "instances",
            Self::Gpus => "gpus",
            Self::Events => "events",
            Self::Routes => "routes",
            Self::Ingresses => "ingresses",
        }
    }

    /// The board of a name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|board| board.name() == name)
    }

    /// The names of its columns: rows are sorted by the number of one.
    pub const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Hosts => {
                &["HOST", "STATE", "CPU", "LOAD", "MEM", "DISK", "NET IN", "NET OUT", "SLOTS", "NOTE"]
            }
            Self::Services => &["SERVICE", "RELEASE", "STATE", "HEALTHY", "CPU", "MEM", "RESTARTS", "WHY"],
            Self::Rollouts => {
                &["SERVICE", "RELEASE", "STATE", "AVAILABLE", "TRAFFIC", "STARTED", "TOOK", "WAITS FOR"]
            }
            Self::Instances => {
                &["SERVICE", "SLOT", "HOST", "RELEASE", "STATE", "CPU", "MEM", "PROBE", "RESTARTS", "WHY"]
            }
            Self::Gpus => &["HOST", "GPU", "MODEL", "BUSY", "MEM", "OF", "TEMP", "POWER", "STATE"],
            Self::Events => &["AT", "KIND", "SUBJECT", "MESSAGE"],
            Self::Routes => {
                &["SERVICE", "RELEASE", "REQ/S", "ERRORS", "P95", "IN FLIGHT", "SHARE", "SERVING", "NAMES"]
            }
            Self::Ingresses => &["HOST", "ENVIRONMENT", "STATE", "DESIRED", "HAS", "IN FLIGHT", "REFUSES"],
        }
    }
}
