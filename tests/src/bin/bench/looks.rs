//! The engine's looks at services, as the coordinator's own histogram has them.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use windlass_tests::fleetsim::{Coordinator, Wanted};

use super::figures::median;

/// Metrics are rendered anew after half a second; who asks sooner gets the text of before.
const FRESH: Duration = Duration::from_millis(600);

/// Looks, those that changed something, and the time of all of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looks {
    all: f64,
    changed: f64,
    seconds: f64,
}

impl Looks {
    /// All looks since the start.
    pub(crate) async fn until_now(coordinator: &Coordinator) -> Result<Self> {
        tokio::time::sleep(FRESH).await;
        let figure = |name: &str| coordinator.metric(&format!("windlass_engine_{name}"));
        Ok(Self {
            all: figure("step_seconds_count")?,
            // There is no line before the first one: `since` refuses where there never is.
            changed: figure("steps_total{changed=\"yes\"}").unwrap_or(0.0),
            seconds: figure("step_seconds_sum")?,
        })
    }

    /// The looks since those of `before`.
    pub(crate) async fn since(before: Self, coordinator: &Coordinator) -> Result<Self> {
        let now = Self::until_now(coordinator).await?;
        let looks = Self {
            all: now.all - before.all,
            changed: now.changed - before.changed,
            seconds: now.seconds - before.seconds,
        };
        ensure!(looks.changed >= 1.0, "the metrics show no look of a rollout: {before:?}, then {now:?}");
        Ok(looks)
    }
}

/// Submits a release and follows its rollout: seconds until it succeeded, and the looks in between.
pub(crate) async fn rollout(
    coordinator: &Coordinator,
    wanted: &Wanted<'_>,
    limit: Duration,
) -> Result<(f64, Looks)> {
    let before = Looks::until_now(coordinator).await?;
    let begun = Instant::now();
    let rollout = coordinator.submit(&coordinator.papers.sign(wanted)).await?;
    let outcome = coordinator.follow(&rollout, limit).await?;
    let took = begun.elapsed().as_secs_f64();
    ensure!(outcome == "succeeded", "the rollout ended as {outcome}");
    Ok((took, Looks::since(before, coordinator).await?))
}

/// The medians of some rollouts: how many looks, and how long one took.
pub(crate) fn words(rollouts: &[Looks]) -> String {
    let of = |what: fn(&Looks) -> f64| median(&rollouts.iter().map(what).collect::<Vec<f64>>());
    let each = of(|looks| 1000.0 * looks.seconds / looks.all);
    let (all, changed) = (of(|looks| looks.all), of(|looks| looks.changed));
    format!(
        "{all:.0} looks of the engine of {each:.2} ms, storing included, {changed:.0} of them with changes"
    )
}
