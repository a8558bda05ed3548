//! The identity that a certificate gives its holder.
//!
//! A leaf certificate carries only URI names:
//!
//! ```text
//! spiffe://<fleet>/{agent,operator,coordinator}/<name>     exactly one
//! windlass:generation/<n>                                  exactly one, rises with every issue
//! windlass:grant/<role>/<*|env,env,…>                      exactly one for operators, none for others
//! ```
//!
//! Being signed by our CA is not authorisation: the role is checked per RPC.

mod peer;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass_core::{EnvironmentId, FleetId, HostId, OperatorName};

pub use peer::{InvalidPeer, PeerIdentity, Serial};

/// Leaf certificates begin this long ago, for clocks that are behind.
pub const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// The kind of a certificate's holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The agent of one host.
    Agent,
    /// A person, or a machine that acts for people.
    Operator,
    /// A coordinator.
    Coordinator,
}

impl Role {
    /// As the URI writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Operator => "operator",
            Self::Coordinator => "coordinator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A name within a fleet: `spiffe://demo/agent/web-1`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Identity {
    fleet: FleetId,
    role: Role,
    // A DNS label like every name here; `HostId` has just these rules.
    name: HostId,
}

/// Text that is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an identity (like `spiffe://demo/agent/web-1`)")]
pub struct InvalidIdentity(String);

impl Identity {
    /// The agent of a host.
    pub const fn agent(fleet: FleetId, host: HostId) -> Self {
        Self { fleet, role: Role::Agent, name: host }
    }

    /// An operator.
    pub fn operator(fleet: FleetId, name: &OperatorName) -> Self {
        let name = name.as_str().parse().expect("host and operator names have the same rules");
        Self { fleet, role: Role::Operator, name }
    }

    /// A coordinator.
    pub const fn coordinator(fleet: FleetId, name: HostId) -> Self {
        Self { fleet, role: Role::Coordinator, name }
    }

    /// Its fleet.
    pub const fn fleet(&self) -> &FleetId {
        &self.fleet
    }

    /// The kind of the holder.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Its name, without role and fleet.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The host, if this is an agent.
    pub fn host(&self) -> Option<HostId> {
        (self.role == Role::Agent).then(|| self.name.clone())
    }

    /// The operator, if this is one.
    pub fn operator_name(&self) -> Option<OperatorName> {
        (self.role == Role::Operator).then(|| self.name.as_str().parse().ok()).flatten()
    }
}

impl FromStr for Identity {
    type Err = InvalidIdentity;
    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let invalid = || InvalidIdentity(text.chars().take(80).collect());
        let rest = text.strip_prefix("spiffe://").ok_or_else(invalid)?;
        let mut parts = rest.splitn(3, '/');
        let (Some(fleet), Some(role), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(invalid());
        };
        let role = [Role::Agent, Role::Operator, Role::Coordinator]
            .into_iter()
            .find(|known| known.as_str() == role)
            .ok_or_else(invalid)?;
        let fleet = fleet.parse().map_err(|_| invalid())?;
        Ok(Self { fleet, role, name: name.parse().map_err(|_| invalid())? })
    }
}

impl TryFrom<String> for Identity {
    type Error = InvalidIdentity;
    fn try_from(text: String) -> Result<Self, InvalidIdentity> {
        text.parse()
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> String {
        identity.to_string()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/{}/{}", self.fleet, self.role, self.name)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// The role of an operator; each includes the ones before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorRole {
    /// Look.
    Viewer,
    /// Deploy, roll back, scale.
    Deployer,
    /// Approve what others deployed.
    Approver,
    /// Hosts, operators, trust.
    Admin,
}

impl OperatorRole {
    /// As the URI and the command line write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Deployer => "deployer",
            Self::Approver => "approver",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for OperatorRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for OperatorRole {
    type Err = InvalidGrant;
    fn from_str(text: &str) -> Result<Self, InvalidGrant> {
        [Self::Viewer, Self::Deployer, Self::Approver, Self::Admin]
            .into_iter()
            .find(|known| known.as_str() == text)
            .ok_or_else(|| InvalidGrant::Role(text.chars().take(80).collect()))
    }
}

/// The rights of an operator, and their environments. Written `deployer/staging,test` or `admin/*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Grant {
    /// The role.
    pub role: OperatorRole,
    /// In which environments; all if `None`.
    pub environments: Option<BTreeSet<EnvironmentId>>,
}

/// Text that is no grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGrant {
    /// Not of that form, or with names that are none.
    #[error("`{0}` is not a grant (like `admin/*` or `deployer/staging,test`)")]
    Malformed(String),
    /// No role of ours.
    #[error("unknown role {0:?}; one of viewer, deployer, approver, admin")]
    Role(String),
}

/// More environments do not fit a certificate; grant `*` instead.
pub const MAX_GRANT_ENVIRONMENTS: usize = 32;

impl Grant {
    /// Everything, everywhere.
    pub const fn admin() -> Self {
        Self { role: OperatorRole::Admin, environments: None }
    }

    /// Whether it includes `role` in `environment`.
    pub fn allows(&self, role: OperatorRole, environment: &EnvironmentId) -> bool {
        self.role >= role && self.environments.as_ref().is_none_or(|list| list.contains(environment))
    }

    /// Whether it includes `role` for the whole fleet (hosts, operators, trust).
    pub fn allows_fleet(&self, role: OperatorRole) -> bool {
        self.role >= role && self.environments.is_none()
    }
}

impl FromStr for Grant {
    type Err = InvalidGrant;
    fn from_str(text: &str) -> Result<Self, InvalidGrant> {
        let invalid = || InvalidGrant::Malformed(text.chars().take(80).collect());
        let (role, environments) = text.split_once('/').ok_or_else(invalid)?;
        let environments = match environments {
            "*" => None,
            list if list.split(',').count() <= MAX_GRANT_ENVIRONMENTS => {
                Some(list.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| invalid())?)
            }
            _ => return Err(invalid()),
        };
        Ok(Self { role: role.parse()?, environments })
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.role)?;
        match &self.environments {
            None => f.write_str("*"),
            Some(list) => f.write_str(&list.iter().map(EnvironmentId::as_str).collect::<Vec<_>>().join(",")),
        }
    }
}

impl TryFrom<String> for Grant {
    type Error = InvalidGrant;
    fn try_from(text: String) -> Result<Self, InvalidGrant> {
        text.parse()
    }
}

impl From<Grant> for String {
    fn from(grant: Grant) -> String {
        grant.to_string()
    }
}

#[cfg(test)]
mod tests;
