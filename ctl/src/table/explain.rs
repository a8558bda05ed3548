//! `explain`: a rollout's decision log.

use std::time::Duration;

use windlass_core::Timestamp;
use windlass_core::time::display_duration;
use windlass_core::view::{DecisionView, ExplainView};

use super::services::serving;
use super::{ago, fields, printable};
use crate::printer::Colour;

/// Every decision with its evidence, the oldest first.
pub(crate) fn explain(view: &ExplainView, now: Timestamp, colour: Colour) -> String {
    let list = |items: Vec<String>| Some(items.join(", ")).filter(|text| !text.is_empty());
    let mut text = fields(&[
        ("rollout", Some(view.rollout.to_string())),
        ("service", Some(format!("{}/{}", view.environment, view.service))),
        ("release", Some(view.course())),
        ("state", Some(view.state.as_str().replace('_', " "))),
        ("reason", view.reason.as_deref().map(printable)),
        ("waiting", list(view.waiting.clone())),
        ("started", Some(format!("{} by {}", ago(view.created_at, now), view.actor))),
        ("duration", Some(display_duration(Duration::from_secs(view.duration_ms / 1000)))),
        ("stragglers", list(view.stragglers.iter().map(ToString::to_string).collect())),
        ("now serving", Some(serving(&view.serving))),
    ]);
    text.push_str(&super::conditions(&view.conditions, now));
    text.push('\n');
    if view.decisions.is_empty() {
        text.push_str("no decision of it was written: it is of an older version of the coordinator\n");
    }
    view.decisions.iter().for_each(|decision| text.push_str(&one(decision, colour)));
    if view.omitted > 0 {
        let n = view.omitted;
        text.push_str(&format!("\n{n} decisions about slots were too many to be written\n"));
    }
    text
}

fn one(decision: &DecisionView, colour: Colour) -> String {
    let after = format!("{:>9}", format!("+{}", offset(decision.after_ms)));
    let mut text = format!("{}  {}\n", colour.paint(2, &after), printable(&decision.text));
    for line in &decision.inputs {
        text.push_str(&format!("{:11}  {}\n", "", printable(line)));
    }
    text
}

/// To a tenth of a second in the first minute, then to the second.
fn offset(millis: u64) -> String {
    if millis < 60_000 {
        format!("{}.{}s", millis / 1000, millis % 1000 / 100)
    } else {
        display_duration(Duration::from_secs(millis / 1000))
    }
}
