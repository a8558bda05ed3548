//! Paths of the host: normal form, and which may be bound into a container.

/// Host folders that no release may bind, whatever the policy lists: they are the machine itself.
pub const FORBIDDEN_MOUNTS: [&str; 9] =
    ["/etc", "/proc", "/sys", "/dev", "/run", "/var/run", "/boot", "/var/lib/docker", "/var/lib/containerd"];

/// A path that is not absolute, or not a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an absolute path without `..`, of at most 1024 characters")]
pub struct InvalidPath(String);

/// An absolute path without `.`, doubled or trailing slashes. `..` is refused: what it means depends on links.
pub fn normalise_path(path: &str) -> Result<String, InvalidPath> {
    let bad = || InvalidPath(path.chars().take(120).collect());
    if !path.starts_with('/') || path.len() > 1024 || path.chars().any(char::is_control) {
        return Err(bad());
    }
    let mut normal = String::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(bad()),
            part => {
                normal.push('/');
                normal.push_str(part);
            }
        }
    }
    if normal.is_empty() {
        normal.push('/');
    }
    Ok(normal)
}

/// Returns whether `path` is the folder `folder` or inside it. Both in normal form; compared part by part.
pub fn contains(folder: &str, path: &str) -> bool {
    folder == "/" || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Checks that `path` of the host may be bound, when `allowed` are the prefixes of the policy and `own` are paths of
/// this host that never may (the agent's folder, the engine's socket). The error says why not.
///
/// A folder *above* a forbidden one is refused too, since binding it would bind the forbidden one with it.
pub fn check_mount(allowed: &[String], path: &str, own: &[String]) -> Result<(), String> {
    let path = normalise_path(path).map_err(|error| error.to_string())?;
    let forbidden = FORBIDDEN_MOUNTS.iter().copied().chain(own.iter().map(String::as_str));
    for folder in forbidden {
        if contains(folder, &path) || contains(&path, folder) {
            return Err(format!("`{path}` would open `{folder}`, which may never be bound"));
        }
    }
    let mut prefixes = allowed.iter().filter_map(|prefix| normalise_path(prefix).ok());
    if prefixes.any(|prefix| prefix != "/" && contains(&prefix, &path)) {
        Ok(())
    } else {
        Err(format!("`{path}` is under none of the allowed prefixes ({})", listed(allowed.iter())))
    }
}

/// The allowed values of a rule, in words: at most five of them.
pub(super) fn listed<T: std::fmt::Display>(allowed: impl ExactSizeIterator<Item = T>) -> String {
    const SHOWN: usize = 5;
    let more = allowed.len().saturating_sub(SHOWN);
    let mut names: Vec<String> = allowed.take(SHOWN).map(|one| one.to_string()).collect();
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    match names.is_empty() {
        true => "policy.toml allows none".to_owned(),
        false => format!("policy.toml allows {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts() {
        let allowed = [
            "/srv".to_owned(),
            "/data/apps/".to_owned(),
            "/".to_owned(),
            "/etc/app".to_owned(),
            "/var".to_owned(),
        ];
        let own = ["/srv/windlass".to_owned(), "/opt/docker.sock".to_owned()];
        #[rustfmt::skip]
        let table = [
            ("/srv/a", true), ("/data/apps", true), ("/data/apps/x", true),
            ("/srv", false), // holds the agent's folder
            ("/srv/windlass", false), ("/srv/windlass/releases", false), ("/srv/windlass2", true),
            ("/srvx", false), ("/data/appsx", false), ("/data", false), ("/", false), ("/home", false),
            ("/etc/app", false), ("/proc/1", false), ("/sys", false), ("/dev/sda", false), ("/run/x", false),
            ("/var/run/docker.sock", false), ("/var", false), ("/var/www", true),
            ("/srv/../etc", false), ("/srv//a/./b", true), ("srv/a", false), ("/srv/a\0", false), ("", false),
        ];
        for (path, want) in table {
            assert_eq!(check_mount(&allowed, path, &own).is_ok(), want, "{path}");
        }
    }

    #[test]
    fn one_form() {
        assert_eq!(normalise_path("//a/./b/").unwrap(), "/a/b");
        assert_eq!(normalise_path("/").unwrap(), "/");
        assert!(normalise_path("/a/../b").is_err());
        let long = |length: usize| format!("/{}", "x".repeat(length - 1));
        assert!(normalise_path(&long(1024)).is_ok() && normalise_path(&long(1025)).is_err());
    }
}
