//! Where in a repository a product lies, and what its paths and globs are from the repository's root.
//!
//! Pure text: nothing here looks at a disk.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The directory of a product, from the root of its repository; nothing where that is the product itself.
///
/// What a product names is relative to its directory, and may climb with `../` at its beginning. What climbs further
/// than to the root ends there, so that no name leads out of the repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subtree(String);

impl Subtree {
    /// Returns where `product` lies in the repository at `top`, both absolute and without links; none where it does not
    /// lie there, or its name is no UTF-8.
    pub fn between(top: &Path, product: &Path) -> Option<Self> {
        product.strip_prefix(top).ok()?.to_str().map(|below| Self(below.to_owned()))
    }

    /// Returns whether the product is the whole repository.
    pub fn is_top(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the directory from the root of the repository; empty where it is that.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns how many directories the root of the repository is above the product.
    pub fn depth(&self) -> usize {
        self.parts().count()
    }

    /// Returns the product's place in a tree of the repository.
    pub fn under(&self, top: &Path) -> PathBuf {
        match self.is_top() {
            true => top.to_owned(),
            false => top.join(&self.0),
        }
    }

    /// Returns a path of the product from the root of the repository.
    pub fn path(&self, path: &str) -> String {
        let (base, rest) = self.climbed(path);
        [base.as_str(), rest]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("/")
    }

    /// Returns a glob of the product, which begins at its directory, as one that begins at the root of the repository.
    pub fn glob(&self, glob: &str) -> String {
        if self.is_top() {
            return glob.to_owned();
        }
        let (base, rest) = self.climbed(glob);
        match (base.as_str(), rest) {
            ("", "") => "**".to_owned(),
            ("", rest) => rest.to_owned(),
            (base, "") => globset::escape(base),
            (base, rest) => format!("{}/{rest}", globset::escape(base)),
        }
    }

    /// Returns a pattern of the product, which without a slash holds at any depth below its directory, as one of the
    /// repository: what is kept from an agent, and what it may write.
    pub fn pattern(&self, pattern: &str) -> String {
        if self.is_top() {
            return pattern.to_owned();
        }
        match pattern.contains('/') || pattern == ".." {
            // With the slash it holds at the root alone, whatever is left of it.
            true => format!("/{}", self.glob(pattern)),
            false => format!("/{}/**/{pattern}", globset::escape(&self.0)),
        }
    }

    /// Returns a path or glob from the root of the repository as one who stands in the product writes it.
    pub fn seen(&self, path: &str) -> String {
        let mut rest = path;
        let mut left = self.depth();
        for part in self.parts() {
            let after = match rest.strip_prefix(part) {
                Some("") => "",
                Some(after) if after.starts_with('/') => &after[1..],
                _ => break,
            };
            (rest, left) = (after, left - 1);
        }
        match format!("{}{rest}", "../".repeat(left)) {
            empty if empty.is_empty() => ".".to_owned(),
            seen => seen,
        }
    }

    fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// Returns the directory to which `text` climbs, from the root, and what follows.
    fn climbed<'t>(&self, text: &'t str) -> (String, &'t str) {
        let mut parts: Vec<&str> = self.parts().collect();
        let mut rest = text;
        loop {
            match rest.split_once('/').unwrap_or((rest, "")) {
                (".", after) => rest = after,
                ("..", after) => {
                    parts.pop();
                    rest = after;
                }
                _ => return (parts.join("/"), rest),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x() -> Subtree {
        Subtree::between(Path::new("/w/repo"), Path::new("/w/repo/packages/x")).unwrap()
    }

    #[test]
    fn what_a_product_names_is_named_from_the_root() {
        for (own, from_root) in [
            ("src/a", "packages/x/src/a"),
            ("./src/a", "packages/x/src/a"),
            ("../y/a", "packages/y/a"),
            ("../../node_modules", "node_modules"),
            ("../..", ""),
            ("../../../../etc", "etc"),
        ] {
            assert_eq!(x().path(own), from_root);
        }
        assert_eq!(Subtree::default().path("src/a"), "src/a");
        assert_eq!(Subtree::default().path("../../etc"), "etc");
    }

    #[test]
    fn globs_begin_at_the_root_and_the_directory_s_own_name_is_no_glob() {
        for (own, from_root) in [
            ("*.json", "packages/x/*.json"),
            ("**/*.md", "packages/x/**/*.md"),
            ("../*/a", "packages/*/a"),
            ("../../*.lock", "*.lock"),
            ("../..", "**"),
        ] {
            assert_eq!(x().glob(own), from_root);
        }
        assert_eq!(Subtree("a[b".into()).glob("*"), "a[[]b/*");
        assert_eq!(Subtree::default().glob("*.json"), "*.json");
    }

    #[test]
    fn a_pattern_without_a_slash_holds_at_any_depth_of_the_product_alone() {
        for (own, from_root) in [
            ("CLAUDE.md", "/packages/x/**/CLAUDE.md"),
            ("**", "/packages/x/**/**"),
            ("src/**", "/packages/x/src/**"),
            ("../y", "/packages/y"),
            ("../../Cargo.lock", "/Cargo.lock"),
            ("..", "/packages"),
        ] {
            assert_eq!(x().pattern(own), from_root);
        }
        assert_eq!(Subtree::default().pattern("CLAUDE.md"), "CLAUDE.md");
    }

    #[test]
    fn what_is_named_from_the_root_is_seen_from_the_product() {
        for (from_root, seen) in [
            ("packages/x/src/a", "src/a"),
            ("packages/x", "."),
            ("packages/xy/a", "../xy/a"),
            ("packages/y", "../y"),
            (".github/**", "../../.github/**"),
        ] {
            assert_eq!(x().seen(from_root), seen);
        }
        assert_eq!(Subtree::default().seen("src/a"), "src/a");
    }

    #[test]
    fn a_product_lies_below_the_root_or_nowhere() {
        let top = Path::new("/w/repo");
        assert_eq!(Subtree::between(top, top), Some(Subtree::default()));
        assert_eq!(Subtree::between(top, Path::new("/w/repos")), None);
        assert_eq!(Subtree::default().under(top).display().to_string(), "/w/repo");
        assert_eq!((x().under(top), x().depth()), (PathBuf::from("/w/repo/packages/x"), 2));
    }
}
