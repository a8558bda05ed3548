//! Figures over time as a line of blocks.

use windlass_core::view::HistoryView;

use super::fields;

/// Blocks of a line.
const WIDTH: usize = 45;
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns that are shown, with the least top of their scale: a line that is flat looks flat.
const SHOWN: [(&str, &str, f32); 6] = [
    ("cpu_percent", "cpu", 100.0),
    ("memory_bytes", "memory", 1.0),
    ("throttled_percent", "throttled", 100.0),
    ("network_rx_bytes_per_second", "network in", 1024.0),
    ("network_tx_bytes_per_second", "network out", 1024.0),
    ("gpu_percent", "gpu", 100.0),
];

/// The last minutes of a host or service; empty if nothing was measured.
pub(crate) fn history(history: &HistoryView) -> String {
    let line = |(column, name, least): &(&'static str, &'static str, f32)| {
        let figures = history.fine.columns.get(*column)?;
        let measured = figures.iter().any(Option::is_some);
        measured.then(|| (*name, Some(spark(figures, WIDTH, *least))))
    };
    let lines: Vec<(&str, Option<String>)> = SHOWN.iter().filter_map(line).collect();
    if lines.is_empty() {
        return String::new();
    }
    let longest = history.fine.columns.values().map(Vec::len).max().unwrap_or(0);
    let minutes = u64::try_from(longest).unwrap_or(0) * history.fine.every_seconds / 60;
    format!("\nthe last {minutes} minutes:\n{}", fields(&lines))
}

/// The figures in so many blocks, each the mean of its share of them; a space where nothing was measured.
pub(crate) fn spark(figures: &[Option<f32>], width: usize, least: f32) -> String {
    let most = figures.iter().flatten().copied().fold(least, f32::max);
    let share = figures.len().div_ceil(width.max(1)).max(1);
    figures.chunks(share).map(|share| mean(share).map_or(' ', |mean| block(mean / most))).collect()
}

fn mean(figures: &[Option<f32>]) -> Option<f32> {
    let (mut sum, mut count) = (0.0, 0_u16);
    for figure in figures.iter().flatten() {
        sum += figure;
        count += 1;
    }
    (count > 0).then(|| sum / f32::from(count))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=7 before")]
fn block(share: f32) -> char {
    BLOCKS[(share * 7.0).round().clamp(0.0, 7.0) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_a_gap_and_the_most_is_a_full_block() {
        let figures = [Some(0.0), None, Some(50.0), Some(100.0), Some(200.0), Some(f32::NAN)];
        assert_eq!(spark(&figures[..5], 5, 100.0), "▁ ▃▅█");
        assert_eq!(spark(&[Some(3.0), Some(3.0)], 2, 100.0), "▁▁", "little is shown as little");
        assert_eq!(spark(&[Some(0.0), Some(100.0), Some(100.0), Some(100.0)], 2, 100.0), "▅█");
        assert_eq!(spark(&[], 10, 1.0), "");
        assert_eq!(spark(&figures[5..], 1, 1.0).chars().count(), 1, "what is no number harms nobody");
    }
}
