//! Binds that lie within each other: who may write the outer folder could put a link in the place of the inner one.

use std::path::Path;

/// A path of the host that a container binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// The path, without links.
    pub path: String,
    /// Whether the container may write there.
    pub is_writable: bool,
}

/// Checks that none of the binds of one container, `new`, lies inside a folder that another bind lets a container write,
/// nor the other way round. `others` are the binds of other containers that run, with the name of the container.
pub fn check_nested(new: &[Bind], others: &[(String, Bind)]) -> Result<(), String> {
    for (index, mine) in new.iter().enumerate() {
        for other in &new[index + 1..] {
            could_swap(other, mine, "the same release")?;
            could_swap(mine, other, "the same release")?;
        }
        for (container, other) in others {
            could_swap(other, mine, &format!("container `{container}`"))?;
            could_swap(mine, other, &format!("container `{container}`"))?;
        }
    }
    Ok(())
}

/// An error if whoever has `outer` could put a link in the place of `inner`; `who` has the other bind of the two.
fn could_swap(outer: &Bind, inner: &Bind, who: &str) -> Result<(), String> {
    let is_nested = outer.path != inner.path && Path::new(&inner.path).starts_with(&outer.path);
    if !is_nested || !outer.is_writable {
        return Ok(());
    }
    let (outer, inner) = (&outer.path, &inner.path);
    Err(format!(
        "`{inner}` lies inside `{outer}`, bound writable, where a link could be put in its place; {who} binds the other \
         of the two: bind folders beside each other, or the outer one with `read_only: true`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(path: &str, is_writable: bool) -> Bind {
        Bind { path: path.to_owned(), is_writable }
    }

    #[test]
    fn a_bind_inside_a_writable_one_is_refused() {
        #[rustfmt::skip]
        let table = [
            ("/srv/app/data", true, "/srv/app", true, true), ("/srv/app/data", false, "/srv/app", true, true),
            ("/srv/app/a/b", true, "/srv/app", true, true), ("/srv/app/data", true, "/srv/app", false, false),
            ("/srv/app/data", false, "/srv/app", false, false), ("/srv/app", true, "/srv/app", true, false),
            ("/srv/app", false, "/srv/app", true, false), ("/srv/application", true, "/srv/app", true, false),
            ("/srv/a", true, "/srv/b", true, false),
        ];
        for (inner, inner_writable, outer, outer_writable, refused) in table {
            let (inner, outer) = (bind(inner, inner_writable), bind(outer, outer_writable));
            let beside = |bind: &Bind| [("other".to_owned(), bind.clone())];
            for (new, others) in [
                (vec![inner.clone()], beside(&outer).to_vec()),
                (vec![outer.clone()], beside(&inner).to_vec()),
                (vec![inner.clone(), outer.clone()], vec![]),
                (vec![outer.clone(), inner.clone()], vec![]),
                (vec![bind("/x", true), outer.clone(), bind("/y", true), inner.clone()], vec![]),
            ] {
                let said = check_nested(&new, &others);
                assert_eq!(said.is_err(), refused, "{new:?} {others:?}: {said:?}");
                let who = if others.is_empty() { "the same release" } else { "container `other`" };
                assert!(said.is_ok() || said.unwrap_err().contains(who));
            }
        }
        assert_eq!(check_nested(&[], &[("other".to_owned(), bind("/srv", true))]), Ok(()));
    }
}
