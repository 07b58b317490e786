//! Where the symbolic links of a tree lead within it.
//!
//! Values in, values out: which links a tree has is read elsewhere. What lies outside of the tree
//! is nobody's to protect here.

use std::collections::{BTreeMap, BTreeSet};

use crate::text::TreePath;

/// No way through links has more steps; what has is a circle to every system.
const HOPS: usize = 40;
/// The most other names of one path that are looked at.
const NAMES: usize = 64;

/// The symbolic links of a tree by where they are, each with what it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links(BTreeMap<Vec<u8>, Vec<u8>>);

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    /// The place at its end, which no link is part of; it need not exist. Empty is the root.
    pub(super) end: Vec<u8>,
    /// The links on it, in the order in which they are met.
    pub(super) links: Vec<Vec<u8>>,
}

impl Links {
    /// Takes the links of a tree, each with its target as stored.
    pub fn of(links: impl IntoIterator<Item = (TreePath, Vec<u8>)>) -> Self {
        Self(links.into_iter().map(|(at, target)| (at.as_bytes().to_vec(), target)).collect())
    }

    /// Returns the place that `path` leads to through links; none where no link is on the way, or
    /// where it leads out of the tree, to its root or in a circle.
    pub fn leads_to(&self, path: &TreePath) -> Option<TreePath> {
        let way = self.way(path.as_bytes()).filter(|way| !way.links.is_empty())?;
        TreePath::parse(way.end).ok()
    }

    /// Returns where the links are that lie at or below `directory`.
    pub fn within(&self, directory: &TreePath) -> Vec<TreePath> {
        let all = self.0.keys().filter_map(|at| TreePath::parse(at.as_slice()).ok());
        all.filter(|at| at.is_within(directory)).collect()
    }

    /// Returns all links with what they say.
    pub(super) fn all(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(at, target)| (at.as_slice(), target.as_slice()))
    }

    /// Follows `path` component by component, as a system does; none where it leads out of the
    /// tree or in a circle.
    pub(super) fn way(&self, path: &[u8]) -> Option<Way> {
        let mut rest: Vec<&[u8]> = path.split(|b| *b == b'/').rev().collect();
        let mut place: Vec<&[u8]> = Vec::new();
        let mut links = Vec::new();
        while let Some(part) = rest.pop() {
            match part {
                b"" | b"." => continue,
                b".." => {
                    place.pop()?;
                    continue;
                }
                name => place.push(name),
            }
            let at = place.join(&b'/');
            if let Some(target) = self.0.get(&at) {
                if target.is_empty() || target.starts_with(b"/") || links.len() == HOPS {
                    return None;
                }
                links.push(at);
                place.pop();
                rest.extend(target.split(|b| *b == b'/').rev());
            }
        }
        Some(Way { end: place.join(&b'/'), links })
    }
}

/// Other names of the paths of a tree: through each link what it leads to has one more.
#[derive(Debug, Clone, Default)]
pub(super) struct OtherNames(Vec<(Vec<u8>, Vec<u8>)>);

impl OtherNames {
    /// Takes where links are, and where they lead to.
    pub(super) fn of(links: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        Self(links.into_iter().collect())
    }

    /// Returns the names by which `path` can be reached through links, itself not among them.
    pub(super) fn of_path(&self, path: &[u8]) -> BTreeSet<Vec<u8>> {
        let mut names = BTreeSet::new();
        let mut open = vec![path.to_vec()];
        while let Some(name) = open.pop() {
            for (link, end) in &self.0 {
                let other = match name.strip_prefix(end.as_slice()) {
                    Some(below) if end.is_empty() => [link.as_slice(), b"/", below].concat(),
                    Some(below) if below.is_empty() || below.starts_with(b"/") => {
                        [link.as_slice(), below].concat()
                    }
                    _ => continue,
                };
                if other != path && names.len() < NAMES && names.insert(other.clone()) {
                    open.push(other);
                }
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn links(all: &[(&str, &str)]) -> Links {
        let path = |at: &str| TreePath::parse(at).unwrap();
        Links::of(all.iter().map(|(at, target)| (path(at), target.as_bytes().to_vec())))
    }

    fn check(all: &[(&str, &str)], path: &str, end: Option<&str>) {
        let found = links(all).leads_to(&TreePath::parse(path).unwrap());
        assert_eq!(found.map(|end| end.to_string()).as_deref(), end, "{path} in {all:?}");
    }

    #[test]
    fn a_link_leads_from_its_own_directory() {
        check(&[("a/b/l", "../c")], "a/b/l", Some("a/c"));
        check(&[("a/b/l", "./c//d/")], "a/b/l/e", Some("a/b/c/d/e"));
        check(&[("l", "x")], "plain", None);
    }

    #[test]
    fn chains_and_links_on_the_way_are_followed() {
        check(&[("a", "b"), ("b", "c/d"), ("c", "e")], "a/x", Some("e/d/x"));
        // After a link `..` climbs from where the link leads.
        check(&[("a", "d/../f"), ("d", "deep/down")], "a", Some("deep/f"));
    }

    #[test]
    fn what_leads_out_or_nowhere_leads_to_nothing() {
        for target in ["/etc", "..", "../..", "", "."] {
            check(&[("a", target)], "a", None);
        }
        check(&[("a", "b"), ("b", "a")], "a", None);
        check(&[("a", "a/x")], "a", None);
    }

    fn part() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "b", "c", "d"])
    }

    proptest! {
        #[test]
        fn no_link_is_part_of_where_a_path_leads(
            all in prop::collection::btree_map(
                prop::collection::vec(part(), 1..3),
                prop::collection::vec(prop_oneof![4 => part(), 1 => Just("..")], 1..4),
                0..6,
            ),
            path in prop::collection::vec(part(), 1..4),
        ) {
            // A tree has nothing below a link.
            let mut tree: BTreeMap<String, String> = BTreeMap::new();
            for (at, target) in all {
                let at = at.join("/");
                let apart = |other: &String| {
                    !other.starts_with(&format!("{at}/")) && !at.starts_with(&format!("{other}/"))
                };
                if tree.keys().all(apart) {
                    tree.insert(at, target.join("/"));
                }
            }
            let all: Vec<(&str, &str)> = tree.iter().map(|(a, t)| (&**a, &**t)).collect();
            let links = links(&all);
            let path = path.join("/");
            if let Some(way) = links.way(path.as_bytes()).filter(|way| !way.end.is_empty()) {
                let again = links.way(&way.end).unwrap();
                prop_assert_eq!(&again.end, &way.end);
                prop_assert!(again.links.is_empty());
                // What it leads to has the path among its names.
                let ends = links.all().filter_map(|(at, _)| Some((at.to_vec(), links.way(at)?.end)));
                let names = OtherNames::of(ends).of_path(&way.end);
                prop_assert!(
                    way.end == path.as_bytes()
                        || names.contains(path.as_bytes())
                        || names.len() == NAMES,
                    "{path} {way:?} {names:?}"
                );
            }
        }
    }
}
