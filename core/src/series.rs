//! Figures over time in a fixed amount of memory: a fine ring of the last minutes, and a coarse one of the last hours.
//!
//! Each ring has a place for every interval of its width, found by the time, so that a gap stays a gap. A coarse place
//! has the mean of the figures that fell into it.

use std::time::Duration;

use crate::time::Timestamp;

/// The interval of places, and the number of them that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Width of a place.
    pub every: Duration,
    /// Places.
    pub count: usize,
}

/// Both rings of a kind of thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Recently.
    pub fine: Pace,
    /// Before.
    pub coarse: Pace,
    /// The kept figures, by name.
    pub columns: &'static [&'static str],
}

/// A service: 10 s over an hour, and minutes over a day.
pub const SERVICE: Shape = Shape {
    fine: Pace { every: Duration::from_secs(10), count: 360 },
    coarse: Pace { every: Duration::from_secs(60), count: 1440 },
    columns: &["cpu_percent", "throttled_percent", "memory_bytes", "healthy", "restarts"],
};

/// A host: 10 s over a quarter of an hour, and two minutes over six hours.
pub const HOST: Shape = Shape {
    fine: Pace { every: Duration::from_secs(10), count: 90 },
    coarse: Pace { every: Duration::from_secs(120), count: 180 },
    columns: &[
        "cpu_percent",
        "load1",
        "memory_bytes",
        "swap_bytes",
        "disk_bytes",
        "network_rx_bytes_per_second",
        "network_tx_bytes_per_second",
        "cpu_pressure_percent",
        "memory_pressure_percent",
        "io_pressure_percent",
        "gpu_percent",
        "gpu_memory_bytes",
    ],
};

/// The figures of one thing.
#[derive(Debug, Clone)]
pub struct Rings {
    shape: &'static Shape,
    fine: Ring,
    coarse: Ring,
}

/// One ring: a row of places for each column. What was not measured is not a number.
#[derive(Debug, Clone)]
struct Ring {
    pace: Pace,
    /// The newest place, counted from the epoch; `None` while nothing was put in.
    newest: Option<i64>,
    figures: Vec<f32>,
    /// The number of figures of which the newest place of each column has the mean.
    counts: Vec<u16>,
}

/// Figures of one ring, oldest first, the last one at the newest place.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// A figure per place; `None` where nothing was measured.
    pub figures: Vec<Option<f32>>,
}

impl Rings {
    /// Without a figure.
    pub fn new(shape: &'static Shape) -> Self {
        let ring = |pace| Ring::new(pace, shape.columns.len());
        Self { shape, fine: ring(shape.fine), coarse: ring(shape.coarse) }
    }

    /// Puts in what was measured, a figure for each column in its order; what is no number was not measured.
    pub fn push(&mut self, at: Timestamp, figures: &[f32]) {
        self.fine.push(at, figures);
        self.coarse.push(at, figures);
    }

    /// The last minutes until `now`.
    pub fn fine(&self, now: Timestamp) -> Vec<Column> {
        self.fine.columns(self.shape.columns, now)
    }

    /// The last hours until `now`.
    pub fn coarse(&self, now: Timestamp) -> Vec<Column> {
        self.coarse.columns(self.shape.columns, now)
    }

    /// Bytes that it takes, itself included.
    pub fn bytes(&self) -> usize {
        let of = |ring: &Ring| {
            ring.figures.capacity() * size_of::<f32>() + ring.counts.capacity() * size_of::<u16>()
        };
        size_of::<Self>() + of(&self.fine) + of(&self.coarse)
    }
}

impl Ring {
    fn new(pace: Pace, columns: usize) -> Self {
        Self { pace, newest: None, figures: vec![f32::NAN; columns * pace.count], counts: vec![0; columns] }
    }

    fn place(&self, at: Timestamp) -> i64 {
        let width = i64::try_from(self.pace.every.as_millis()).unwrap_or(i64::MAX).max(1);
        at.as_millis().div_euclid(width)
    }

    /// The index of a column's figure at a place.
    fn index(&self, column: usize, place: i64) -> usize {
        let count = i64::try_from(self.pace.count).unwrap_or(i64::MAX).max(1);
        column * self.pace.count + usize::try_from(place.rem_euclid(count)).unwrap_or(0)
    }

    fn push(&mut self, at: Timestamp, figures: &[f32]) {
        let place = self.place(at);
        self.turn_to(place);
        for (column, figure) in figures.iter().enumerate().take(self.counts.len()) {
            if figure.is_nan() {
                continue;
            }
            let index = self.index(column, place);
            let count = self.counts[column];
            let before = if count == 0 { 0.0 } else { self.figures[index] };
            self.counts[column] = count.saturating_add(1);
            self.figures[index] = before + (figure - before) / f32::from(self.counts[column]);
        }
    }

    /// Empties the places from the newest one to this. A clock that was set, back or by hours, begins anew.
    fn turn_to(&mut self, place: i64) {
        let count = i64::try_from(self.pace.count).unwrap_or(i64::MAX);
        let passed = match self.newest {
            Some(newest) if newest == place => return,
            Some(newest) if place > newest && place - newest < count => place - newest,
            Some(_) | None => count,
        };
        for step in 0..passed {
            for column in 0..self.counts.len() {
                let index = self.index(column, place - step);
                self.figures[index] = f32::NAN;
            }
        }
        self.counts.fill(0);
        self.newest = Some(place);
    }

    fn columns(&self, names: &'static [&'static str], now: Timestamp) -> Vec<Column> {
        let end = self.place(now);
        let count = i64::try_from(self.pace.count).unwrap_or(i64::MAX);
        let kept = |place: i64| self.newest.is_some_and(|newest| place <= newest && newest - place < count);
        let figures = |column: usize| -> Vec<Option<f32>> {
            let places = (end.saturating_sub(count - 1))..=end;
            let figure = |place: i64| self.figures[self.index(column, place)];
            places
                .map(|place| Some(place).filter(|place| kept(*place)).map(figure).filter(|f| !f.is_nan()))
                .collect()
        };
        names.iter().enumerate().map(|(column, name)| Column { name, figures: figures(column) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    fn cpu(columns: &[Column]) -> &[Option<f32>] {
        &columns[0].figures
    }

    #[test]
    fn the_rings_of_a_host_take_less_than_16_kib() {
        let mut rings = Rings::new(&HOST);
        (0..10_000).for_each(|n| rings.push(at(n * 10), &[1.0; 12]));
        assert!(rings.bytes() <= 16 << 10, "{} bytes", rings.bytes());
        let service = Rings::new(&SERVICE).bytes();
        assert!(service <= 40 << 10, "{service} bytes");
    }

    #[test]
    fn a_gap_stays_a_gap_and_what_is_old_goes() {
        let mut rings = Rings::new(&HOST);
        rings.push(at(1000), &[10.0]);
        rings.push(at(1030), &[30.0]);
        let fine = rings.fine(at(1035));
        assert_eq!(cpu(&fine)[86..], [Some(10.0), None, None, Some(30.0)]);
        assert_eq!(fine[1].figures[89], None, "what was not measured is no zero");
        let later = rings.fine(at(1050));
        assert_eq!(cpu(&later)[84..], [Some(10.0), None, None, Some(30.0), None, None], "silent since");
        rings.push(at(1000 + 90 * 10), &[50.0]);
        let fine = rings.fine(at(1900));
        assert_eq!((cpu(&fine)[0], cpu(&fine)[2], cpu(&fine)[89]), (None, Some(30.0), Some(50.0)));
        rings.push(at(1_000_000), &[5.0]);
        assert_eq!(cpu(&rings.fine(at(1_000_000))).iter().flatten().count(), 1, "after days only the newest");
    }

    #[test]
    fn a_coarse_place_has_the_mean() {
        let mut rings = Rings::new(&HOST);
        (0..12).for_each(|n: u8| rings.push(at(1200 + i64::from(n) * 10), &[f32::from(n)]));
        let coarse = rings.coarse(at(1319));
        assert_eq!(cpu(&coarse)[179], Some(5.5));
        assert_eq!(cpu(&coarse)[178], None);
    }

    #[test]
    fn a_clock_that_is_set_back_begins_anew() {
        let mut rings = Rings::new(&HOST);
        rings.push(at(5000), &[1.0]);
        rings.push(at(4000), &[2.0]);
        let fine = rings.fine(at(4000));
        assert_eq!(cpu(&fine).iter().flatten().copied().collect::<Vec<_>>(), [2.0]);
    }
}
