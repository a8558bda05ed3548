//! Whose name it is: a host name with a path leads to one service of an environment.

use crate::id::ServiceName;
use crate::release::{Release, Route};

/// The first name of `release` that a service of the same environment has already, and that service.
pub fn taken<'a>(
    release: &'a Release,
    others: impl IntoIterator<Item = &'a Release>,
) -> Option<(&'a Route, &'a ServiceName)> {
    let others = others.into_iter();
    let mut others =
        others.filter(|other| other.environment == release.environment && other.service != release.service);
    others.find_map(|other| {
        let theirs = &other.spec.traffic.routes;
        let mine = release.spec.traffic.routes.iter();
        let mut mine = mine.filter(|route| theirs.iter().any(|other| route.is_same_name(other)));
        mine.next().map(|route| (route, &other.service))
    })
}
