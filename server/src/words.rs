//! Lists in the sentences of refusals and warnings.

/// The first `most` of a list, and how many more there are: `a, b and 2 more`.
pub(crate) fn first_of<T: AsRef<str>>(all: &[T], most: usize) -> String {
    let shown = all.iter().take(most).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_says_how_many_more_there_are() {
        assert_eq!(first_of::<&str>(&[], 2), "");
        assert_eq!(first_of(&["a", "b"], 2), "a, b");
        assert_eq!(first_of(&["a", "b", "c", "d"], 2), "a, b and 2 more");
    }
}
