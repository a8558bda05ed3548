//! Checks of the user that a container runs as, and of its extra rights.

use crate::manifest::model::Manifest;

use super::super::closest::closest;
use super::Findings;

pub(super) fn check(manifest: &Manifest, findings: &mut Findings<'_>) {
    user(manifest, findings);
    capabilities(manifest, findings);
}

fn user(manifest: &Manifest, findings: &mut Findings<'_>) {
    let Some(user) = &manifest.security.user else { return };
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let part = |text: &str| match text.parse::<u64>() {
        Ok(number) => number < u64::from(u32::MAX),
        Err(_) => (1..=32).contains(&text.len()) && text.chars().all(inner) && !text.starts_with(['-', '.']),
    };
    if !user.0.splitn(2, ':').all(part) {
        let reason = "is not a user";
        findings.error(
            &["security", "user"],
            reason,
            "`uid`, `uid:gid` (in quotes), or names known in the image",
        );
    }
}

fn capabilities(manifest: &Manifest, findings: &mut Findings<'_>) {
    for (index, written) in manifest.security.capabilities.iter().enumerate() {
        let index = index.to_string();
        let path = ["security", "capabilities", &index];
        let name = capability(written);
        if name == "ALL" {
            findings.error(&path, "`ALL` is too much to ask", "name each capability the process needs");
        } else if !CAPABILITIES.contains(&name.as_str()) {
            let near = CAPABILITIES
                .iter()
                .find(|known| closest(&name.to_lowercase(), [known.to_lowercase().as_str()]).is_some());
            let hint = near
                .map_or_else(|| "see capabilities(7)".to_owned(), |known| format!("did you mean `{known}`?"));
            let shown: String = written.chars().take(40).collect();
            findings.error(&path, format!("`{shown}` is not a capability"), &hint);
        }
    }
}

/// `cap_net_admin` as engines and policies write it: `NET_ADMIN`.
pub(in crate::manifest) fn capability(written: &str) -> String {
    let upper = written.to_ascii_uppercase();
    upper.strip_prefix("CAP_").map(str::to_owned).unwrap_or(upper)
}

#[rustfmt::skip]
const CAPABILITIES: [&str; 41] = [
    "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN",
    "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE",
    "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE",
    "NET_BROADCAST", "NET_RAW", "PERFMON", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN",
    "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM",
];
