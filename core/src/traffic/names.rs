//! Whose name it is: a host name with a path leads to one service.

use crate::release::{Release, Route};

/// The first name of `release` that one of `others` has already, and that one. Releases of the same service are no others.
pub fn taken<'a>(
    release: &'a Release,
    others: impl IntoIterator<Item = &'a Release>,
) -> Option<(&'a Route, &'a Release)> {
    let mine = release.service_id();
    others.into_iter().filter(|other| other.service_id() != mine).find_map(|other| {
        let theirs = &other.spec.traffic.routes;
        let is_taken = |route: &&Route| theirs.iter().any(|other| route.is_same_name(other));
        release.spec.traffic.routes.iter().find(is_taken).map(|route| (route, other))
    })
}
