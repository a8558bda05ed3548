//! The test that compares two releases: exact, one-sided, on counts.

/// The probability with which a gate may call a release worse that is not, over all its planned comparisons in a rollout.
pub const ALPHA: f64 = 0.01;

/// The part of [`ALPHA`] that comparison `look` of `looks` planned ones may spend. Half of it is spent evenly over the planned
/// ones, the other half over those beyond, less each time: the sum is never above it.
pub fn alpha(look: u32, looks: u32) -> f64 {
    let (look, looks) = (f64::from(look.max(1)), f64::from(looks.max(1)));
    if look <= looks {
        return ALPHA / 2.0 / looks;
    }
    let beyond = look - looks;
    ALPHA / 2.0 / (beyond * (beyond + 1.0))
}

/// More requests than this are scaled down before they are compared, so that the sum has few terms.
const MOST: u64 = 1 << 30;

/// The probability that `bad` or more of the bad ones fall among `of`, if `bad + other_bad` bad ones are spread at random over
/// `of + other` (Fisher's exact test, one-sided).
pub fn at_random((bad, of): (u64, u64), (other_bad, other): (u64, u64)) -> f64 {
    let scale = (of / MOST).max(other / MOST) + 1;
    let [bad, of, other_bad, other] = [bad, of, other_bad, other].map(|count| count / scale);
    let (bad, other_bad) = (bad.min(of), other_bad.min(other));
    let all_bad = bad + other_bad;
    if bad <= all_bad.saturating_sub(other) {
        return 1.0;
    }
    if u128::from(bad) * u128::from(of + other) >= u128::from(all_bad) * u128::from(of) {
        return tail((bad, of), (other_bad, other));
    }
    // Below the mean: the rest of the distribution is the short end.
    if other_bad >= other { 1.0 } else { 1.0 - tail((other_bad + 1, other), (bad - 1, of)) }
}

/// The same for `bad` that is not below the mean: from there on the terms fall soon.
fn tail((bad, of): (u64, u64), (other_bad, other): (u64, u64)) -> f64 {
    let [n, m, k] = [of, other, bad + other_bad].map(float);
    let (first, highest) = (float(bad), k.min(n));
    let mut term = (ln_choose(n, first) + ln_choose(m, k - first) - ln_choose(n + m, k)).exp();
    let mut sum = term;
    let mut at = first;
    while at < highest {
        let step = (k - at) * (n - at) / ((at + 1.0) * (m - k + at + 1.0));
        term *= step;
        sum += term;
        at += 1.0;
        if step < 1.0 && term < sum * 1e-16 {
            break;
        }
    }
    sum.min(1.0)
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^53")]
pub(super) const fn float(count: u64) -> f64 {
    count as f64
}

fn ln_choose(n: f64, k: f64) -> f64 {
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
}

/// The natural logarithm of n!, by Stirling's series; for small n it is added up.
fn ln_factorial(n: f64) -> f64 {
    if n < 16.0 {
        let mut product = 1.0;
        let mut factor = 2.0;
        while factor <= n {
            product *= factor;
            factor += 1.0;
        }
        return f64::ln(product);
    }
    let inverse = 1.0 / n;
    let square = inverse * inverse;
    let series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    n * n.ln() - n + 0.5 * (std::f64::consts::TAU * n).ln() + series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probability_is_that_of_fishers_test() {
        // Counted out by hand: C(10,8)·10 + 10 of C(20,9); C(100,5) of C(200,5).
        let table = [
            ((3, 3), (0, 3), 0.05),
            ((8, 10), (1, 10), 460.0 / 167_960.0),
            ((0, 100), (5, 100), 1.0),
            ((5, 100), (0, 100), 75_287_520.0 / 2_535_650_040.0),
            ((1, 1), (0, 0), 1.0),
            ((0, 0), (0, 0), 1.0),
        ];
        for (new, old, want) in table {
            let got = at_random(new, old);
            assert!((got - want).abs() < 1e-9, "{new:?} {old:?}: {got} and not {want}");
        }
    }

    /// The same sum from the beginning, with no logarithm.
    fn counted_out((bad, of): (u64, u64), (other_bad, other): (u64, u64)) -> f64 {
        let all_bad = bad + other_bad;
        let ways = |x: u64| {
            let choose = |n: u64, k: u64| (0..k).map(|i| float(n - i) / float(i + 1)).product::<f64>();
            if x > of || all_bad < x || all_bad - x > other {
                0.0
            } else {
                choose(of, x) * choose(other, all_bad - x)
            }
        };
        let all: f64 = (0..=all_bad).map(ways).sum();
        (bad..=all_bad).map(ways).sum::<f64>() / all
    }

    #[test]
    fn the_tail_agrees_with_the_sum_of_every_term() {
        for (of, other) in [(20, 20), (30, 90), (90, 30), (17, 400)] {
            for (bad, other_bad) in (0..12).flat_map(|bad| (0..12).map(move |other| (bad, other))) {
                let (got, want) =
                    (at_random((bad, of), (other_bad, other)), counted_out((bad, of), (other_bad, other)));
                assert!((got - want).abs() < 1e-9, "{bad}/{of} {other_bad}/{other}: {got} and not {want}");
            }
        }
    }

    #[test]
    fn large_counts_end_soon_and_stay_probabilities() {
        let p = at_random((1_000_500, 10_000_000), (1_000_000, 10_000_000));
        assert!(p > 0.3 && p < 0.4, "{p}");
        let p = at_random((u64::MAX / 4 + 9, u64::MAX / 2), (u64::MAX / 4, u64::MAX / 2));
        assert!(p > 0.4 && p < 0.6, "{p}");
    }

    #[test]
    fn all_looks_together_spend_no_more_than_alpha() {
        for looks in [1, 3, 18, 30, 5000] {
            let spent: f64 = (1..=looks + 20_000).map(|look| alpha(look, looks)).sum();
            assert!(spent <= ALPHA + 1e-12 && spent > ALPHA * 0.99, "{looks}: {spent}");
        }
    }
}
