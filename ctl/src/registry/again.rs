//! Second tries: pauses between requests that a registry could not serve just now.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;

/// The longest wait of one run for all registries together.
const LONGEST: Duration = Duration::from_secs(20);
/// The pauses before the second, third and fourth try.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// Says a line to a person.
pub(super) type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// The pauses of one run.
#[derive(Clone)]
pub(super) struct Patience {
    pauses: [Duration; 3],
    left: Duration,
    tell: Tell,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { pauses: PAUSES, left: LONGEST, tell: Arc::new(|_| {}) }
    }

    /// With shorter pauses.
    #[cfg(test)]
    pub(super) const fn short(pause: Duration, left: Duration, tell: Tell) -> Self {
        Self { pauses: [pause; 3], left, tell }
    }

    /// Has waits told by `tell`.
    pub(super) fn tell_by(&mut self, tell: Tell) {
        self.tell = tell;
    }

    /// Waits before another try, and says why; `false` if there is none.
    pub(super) async fn wait(&mut self, tries: usize, trouble: &Trouble, registry: &str) -> bool {
        let Some(pause) = pause(&self.pauses, self.left, tries, trouble.after) else { return false };
        self.left = self.left.saturating_sub(pause);
        let seconds = pause.as_secs_f64();
        (self.tell)(&format!("the registry `{registry}` {}; trying again in {seconds} s", trouble.what));
        tokio::time::sleep(pause).await;
        true
    }
}

/// The pause before another try. A registry that names a later time than there is left for is not asked again.
fn pause(pauses: &[Duration], left: Duration, tries: usize, after: Option<Duration>) -> Option<Duration> {
    let usual = *pauses.get(tries)?;
    Some(after.map_or(usual, |after| after.max(usual))).filter(|pause| *pause <= left)
}

/// Something that may pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    what: String,
    /// The time that the registry asks for.
    after: Option<Duration>,
}

impl Trouble {
    /// The trouble that a state means; `after` is `Retry-After`.
    pub(super) fn of_status(status: StatusCode, after: Option<&str>) -> Option<Self> {
        if !matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504) {
            return None;
        }
        let after = after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        Some(Self { what: format!("answered {}", status.as_u16()), after })
    }

    /// The trouble of a request that got no answer: only a refused connection may pass soon.
    pub(super) fn of_error(error: &reqwest::Error) -> Option<Self> {
        is_refused(error).then(|| Self { what: "refused the connection".to_owned(), after: None })
    }
}

/// Returns whether nothing listens at the port.
pub(super) fn is_refused(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused)
    })
}

/// An error and its causes, with those that stand inside of an I/O error.
pub(super) fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_asked_again_within_bounds() {
        let seconds = Duration::from_secs;
        #[rustfmt::skip]
        let table = [
            (0, 20, None, Some(1)), (1, 20, None, Some(2)), (2, 20, None, Some(4)), (3, 20, None, None), (0, 20, Some(9), Some(9)), (2, 20, Some(1), Some(4)),
            (0, 20, Some(20), Some(20)), (0, 20, Some(21), None), (1, 1, None, None), (0, 20, Some(u64::MAX), None),
        ];
        for (tries, left, after, want) in table {
            let got = pause(&PAUSES, seconds(left), tries, after.map(seconds));
            assert_eq!(got, want.map(seconds), "{tries} {left} {after:?}");
        }
    }

    #[test]
    fn states_that_may_pass_are_known() {
        for (status, may_pass) in
            [(429, true), (500, true), (501, false), (503, true), (404, false), (401, false)]
        {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(Trouble::of_status(status, None).is_some(), may_pass, "{status}");
        }
        let after = |text| Trouble::of_status(StatusCode::SERVICE_UNAVAILABLE, Some(text)).unwrap().after;
        assert_eq!((after("7"), after("soon")), (Some(Duration::from_secs(7)), None));
    }
}
