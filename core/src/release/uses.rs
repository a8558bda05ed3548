//! Services that a release calls by name, through the ingress of its host.

use crate::id::ServiceName;

use super::{Release, Spec};

/// Services that one release calls by name.
pub const MAX_USES: usize = 32;

/// A name in `uses` that a container cannot get.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotUsed {
    /// More names than one release may have.
    #[error("has {0} names, at most {MAX_USES} are allowed")]
    TooMany(usize),
    /// A name stands there twice, or the names are in another order.
    #[error("`{0}` stands there twice, or not in order")]
    Unordered(ServiceName),
    /// Every container has this name for itself.
    #[error("`{0}` is the container itself")]
    Itself(ServiceName),
}

/// Checks the names of a release: each once, ordered, and none that a container has for itself.
///
/// # Errors
/// The first name that is wrong.
pub fn check_uses(uses: &[ServiceName]) -> Result<(), NotUsed> {
    if uses.len() > MAX_USES {
        return Err(NotUsed::TooMany(uses.len()));
    }
    if let Some(pair) = uses.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(NotUsed::Unordered(pair[1].clone()));
    }
    let own = uses.iter().find(|name| name.as_str() == "localhost");
    own.map_or(Ok(()), |name| Err(NotUsed::Itself(name.clone())))
}

/// The first service that `release` calls by name and that has no port which requests are routed to. `current` answers with
/// the release of a service of its environment; one that is not there may come later.
pub fn not_balanced<'a>(
    release: &'a Release,
    current: impl Fn(&ServiceName) -> Option<&'a Release>,
) -> Option<&'a ServiceName> {
    let balanced = |spec: &Spec| spec.is_routed();
    release.spec.uses.iter().find(|name| current(name).is_some_and(|used| !balanced(&used.spec)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<ServiceName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn names_stand_once_and_in_order() {
        assert_eq!(check_uses(&names(&["api", "db"])), Ok(()));
        assert_eq!(check_uses(&[]), Ok(()));
        for wrong in [&["db", "api"][..], &["api", "api"]] {
            assert_eq!(check_uses(&names(wrong)), Err(NotUsed::Unordered("api".parse().unwrap())));
        }
        assert!(matches!(check_uses(&names(&["localhost"])), Err(NotUsed::Itself(_))));
        let many: Vec<String> = (0..=MAX_USES).map(|n| format!("s{n:03}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(check_uses(&names(&many)), Err(NotUsed::TooMany(MAX_USES + 1)));
    }
}
