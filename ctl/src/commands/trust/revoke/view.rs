//! The revocation list, as it is printed.

use std::collections::BTreeSet;

use serde::Serialize;
use windlass_certs::identity::{Identity, Role};
use windlass_certs::revocation::RevocationList;
use windlass_core::{Digest, Timestamp};

/// A member none of whose certificates count, up to a generation.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct RevokedMember {
    /// `operator/NAME` or `host/NAME`.
    pub(crate) member: String,
    /// Up to this generation; absent: for ever.
    pub(crate) up_to: Option<u64>,
}

/// The document of `trust revoke` and `trust revoked`.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct RevocationsView {
    /// `none`, `in_force`, `unchanged`, `published`, `signed` (written down, complete) or `needs_signatures`.
    pub(crate) state: &'static str,
    /// Number of the list; 0 if there is none.
    pub(crate) version: u64,
    /// When it was written.
    pub(crate) issued_at: Option<Timestamp>,
    /// Serial numbers of single certificates.
    pub(crate) certificates: Vec<String>,
    /// Members, whichever their certificate.
    pub(crate) members: Vec<RevokedMember>,
    /// The file, unless it was published.
    pub(crate) file: Option<String>,
    /// Digest of its payload, if it was signed just now.
    pub(crate) digest: Option<Digest>,
    /// The commands that come next.
    pub(crate) next: Vec<String>,
}

impl RevocationsView {
    pub(crate) fn of(list: Option<&RevocationList>) -> Self {
        let members = list.into_iter().flat_map(|list| &list.revoked.identities);
        Self {
            state: if list.is_some() { "in_force" } else { "none" },
            version: list.map_or(0, |list| list.version),
            issued_at: list.map(|list| list.issued_at),
            certificates: list
                .into_iter()
                .flat_map(|list| list.revoked.serials.iter().map(ToString::to_string))
                .collect(),
            members: members
                .map(|(who, up_to)| RevokedMember {
                    member: member(who),
                    up_to: Some(*up_to).filter(|up_to| *up_to != u64::MAX),
                })
                .collect(),
            file: None,
            digest: None,
            next: Vec::new(),
        }
    }
}

fn member(who: &Identity) -> String {
    match who.role() {
        Role::Agent => format!("host/{}", who.name()),
        role @ (Role::Operator | Role::Coordinator) => format!("{role}/{}", who.name()),
    }
}

/// Lines for people, of `trust show` too.
pub(in super::super) fn lines(view: &RevocationsView) -> String {
    let certificates: BTreeSet<String> =
        view.certificates.iter().map(|serial| format!("  revoked certificate         {serial}\n")).collect();
    let members = view.members.iter().map(|revoked| {
        let until = revoked.up_to.map_or(String::new(), |up_to| format!(", up to generation {up_to}"));
        format!("  revoked member              {}{until}\n", revoked.member)
    });
    certificates.into_iter().chain(members).collect()
}

pub(super) fn steps(next: &[String]) -> String {
    match next {
        [] => String::new(),
        next => {
            format!("\nNext:\n{}", next.iter().map(|command| format!("  {command}\n")).collect::<String>())
        }
    }
}

pub(super) fn text(view: &RevocationsView) -> String {
    let (version, file) = (view.version, view.file.as_deref().unwrap_or("-"));
    let first = match view.state {
        "none" => return "nothing is revoked".to_owned(),
        "unchanged" => format!("nothing to change: revocation list {version} says so already\n"),
        "published" => format!("revocation list {version} is in force\n"),
        "signed" => format!("wrote revocation list {version} to {file}, signed\n"),
        "needs_signatures" => {
            format!("wrote revocation list {version} to {file}: more signatures are needed\n")
        }
        _ => format!("revocation list {version}\n"),
    };
    first + &lines(view) + &steps(&view.next)
}
