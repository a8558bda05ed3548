//! Rolling: a few slots at a time, within batch, surge and unavailability.

use super::super::draft::Draft;
use super::super::exclusive;
use super::standing::{Old, Standing};
use crate::slot::Limits;

pub(super) fn step(draft: &mut Draft<'_>) {
    let Some(mut standing) = Standing::look(draft, Old::Rests) else { return };
    exclusive::stop_others(draft, &standing.to.digest);
    let hurries = Standing::hurries(draft);
    let limits = Limits::of(&standing.spec.strategy, hurries, standing.total, standing.available);
    standing.begin(draft, limits);
    standing.close(draft);
}
