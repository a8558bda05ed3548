//! Rests between looks: what takes long is done rarely.

use std::time::Duration;

/// How long work rests after it was done once, by the time that it took.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// So many times as long as the work took.
    pub times: u32,
    /// The longest such rest.
    pub most: Duration,
    /// Work that took less needs no rest of its own.
    pub costly: Duration,
    /// The shortest time from one beginning to the next.
    pub every: Duration,
}

impl Pace {
    /// The rest after work that `took` so long.
    pub fn rest(self, took: Duration) -> Duration {
        let own =
            if took < self.costly { Duration::ZERO } else { took.saturating_mul(self.times).min(self.most) };
        own.max(self.every.saturating_sub(took))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn rests_follow_the_length_of_the_work() {
        let look = Pace { times: 1, most: ms(250), costly: ms(5), every: ms(0) };
        let table = Pace { times: 3, most: ms(2000), costly: ms(0), every: ms(100) };
        #[rustfmt::skip]
        let table = [
            ("a small look never rests",          look,  4,      0),
            ("a costly one as long again",        look,  5,      5),
            ("up to its longest rest",            look,  9_000,  250),
            ("a short table keeps its distance",  table, 10,     90),
            ("which a longer one has in its rest", table, 30,    90),
            ("three times as long",               table, 100,    300),
            ("never longer than that",            table, 60_000, 2000),
        ];
        for (case, pace, took, want) in table {
            assert_eq!(pace.rest(ms(took)), ms(want), "{case}");
        }
        let huge = Pace { times: u32::MAX, ..look };
        assert_eq!(huge.rest(Duration::MAX), ms(250), "nothing overflows");
    }
}
