//! "Did you mean": the known word nearest to an unknown one.

/// The candidate that is a typing error or two away from `word`, if there is one.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    // Comparing very long keys would take long and help nobody.
    if length > 64 {
        return None;
    }
    let allowed = if length <= 5 { 1 } else { 2 + length / 8 };
    let word = spelled(word);
    let scored = candidates.into_iter().map(|candidate| {
        let plain = spelled(candidate);
        (distance(&word, &plain), plain, candidate)
    });
    // Two errors of a typist rarely meet the first letter: `device` is no `service`.
    let begins_alike = |of: &str| of.chars().next() == word.chars().next();
    let is_cut_short = |of: &str| of.starts_with(&word) && length > 2;
    let near = scored.filter(|(distance, of, _)| match *distance {
        0 | 1 => true,
        2 => (2 <= allowed && begins_alike(of)) || is_cut_short(of),
        more => more <= allowed && begins_alike(of),
    });
    near.min().map(|(_, _, candidate)| candidate)
}

/// A word without what people rarely get right: capitals, and `-` for `_`.
fn spelled(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_recognised() {
        let keys = ["replicas", "resources", "env", "ports", "per_host"];
        #[rustfmt::skip]
        let table = [("replica", Some("replicas")), ("repilcas", Some("replicas")), ("Env", Some("env")), ("per-host", Some("per_host")),
            ("port", Some("ports")), ("containers", None), ("x", None), ("prots", Some("ports")), ("rarts", None), ("resou", None), ("replic", Some("replicas")), ("sources", None)];
        for (word, want) in table {
            assert_eq!(closest(word, keys), want, "{word}");
        }
    }

    #[test]
    fn names_with_hyphens_are_compared_as_they_are() {
        let names = ["web", "web-api", "db-1"];
        for (word, want) in
            [("wbe", Some("web")), ("web-apy", Some("web-api")), ("db1", Some("db-1")), ("cache", None)]
        {
            assert_eq!(closest(word, names), want, "{word}");
        }
    }
}
