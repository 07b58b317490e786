//! Chooses scenarios by what people type: categories, and names, ids or files.

use globset::{GlobBuilder, GlobMatcher};

use super::{Entry, ScenarioSet};

/// Which scenarios are wanted. Without a category every category is, without a pattern every
/// scenario.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    categories: Vec<String>,
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    written: String,
    glob: Option<GlobMatcher>,
}

impl Selection {
    /// Makes a selection of `categories` and `patterns`, each of which is a name, an id or a file,
    /// or a glob of one. Case makes no difference. What is no valid glob is taken as it is.
    pub fn new(categories: &[String], patterns: &[String]) -> Self {
        let pattern = |written: &String| Pattern {
            glob: GlobBuilder::new(&written.to_lowercase())
                .build()
                .ok()
                .map(|glob| glob.compile_matcher()),
            written: written.trim().to_lowercase(),
        };
        Self {
            categories: categories.iter().map(|c| c.trim().to_lowercase()).collect(),
            patterns: patterns.iter().map(pattern).collect(),
        }
    }

    /// Returns whether every scenario is wanted.
    pub fn is_everything(&self) -> bool {
        self.categories.is_empty() && self.patterns.is_empty()
    }

    /// Returns whether `entry` is wanted.
    pub fn wants(&self, entry: &Entry) -> bool {
        (self.categories.is_empty() || self.categories.contains(&entry.category.to_lowercase()))
            && (self.patterns.is_empty() || self.patterns.iter().any(|p| p.matches(entry)))
    }

    /// Returns the scenarios of `set` that are wanted, in their order, with the findings about
    /// them and about what is no scenario.
    pub fn of(&self, set: &ScenarioSet) -> ScenarioSet {
        let (entries, left_out): (Vec<_>, Vec<_>) =
            set.entries.iter().cloned().partition(|entry| self.wants(entry));
        let diagnostics = set
            .diagnostics
            .iter()
            .filter(|found| !left_out.iter().any(|entry| entry.file == found.file))
            .cloned()
            .collect();
        ScenarioSet { entries, diagnostics }
    }

    /// Returns the categories and patterns that name nothing in `set`, in the order given and in
    /// lower case: a slip, most likely.
    pub fn unmatched<'a>(&'a self, set: &ScenarioSet) -> Vec<&'a str> {
        let categories = self
            .categories
            .iter()
            .filter(|c| !set.entries.iter().any(|entry| entry.category.to_lowercase() == **c))
            .map(String::as_str);
        let patterns = self
            .patterns
            .iter()
            .filter(|pattern| !set.entries.iter().any(|entry| pattern.matches(entry)))
            .map(|pattern| pattern.written.as_str());
        categories.chain(patterns).collect()
    }
}

impl Pattern {
    fn matches(&self, entry: &Entry) -> bool {
        let file = entry.file.to_lowercase();
        // A file is known by its whole path, by the path below the scenarios' directory, and by
        // its last part: any of its tails.
        let tails = file.match_indices('/').map(|(at, _)| &file[at + 1..]);
        [entry.name.to_lowercase().as_str(), entry.id.as_str(), file.as_str()]
            .into_iter()
            .chain(tails)
            .any(|text| {
                text == self.written || self.glob.as_ref().is_some_and(|glob| glob.is_match(text))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::from_files;

    fn set() -> ScenarioSet {
        let file = |path: &str, name: &str, category: &str| {
            let text = format!(
                "# Scenario: {name}\n## Category\n{category}\n## Evaluation\n```\ntest 1\n```\n"
            );
            (path.as_bytes().to_vec(), text.into_bytes())
        };
        from_files(
            "scenarios",
            vec![
                file("01_login.md", "Log in", "Web"),
                file("02_logout.md", "Log out [now]", "web"),
                file("deep/cli.md", "Help", "cli"),
            ],
        )
    }

    fn check(categories: &[&str], patterns: &[&str], expected: &[&str], unmatched: &[&str]) {
        let owned = |texts: &[&str]| texts.iter().map(|&t| t.to_owned()).collect::<Vec<_>>();
        let selection = Selection::new(&owned(categories), &owned(patterns));
        let set = set();
        let chosen = selection.of(&set);
        let ids: Vec<_> = chosen.entries.iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids, expected, "{categories:?} {patterns:?}");
        assert_eq!(selection.unmatched(&set), unmatched);
        let files: Vec<_> = chosen.entries.iter().map(|entry| &entry.file).collect();
        assert!(chosen.diagnostics.iter().all(|found| files.contains(&&found.file)));
    }

    #[test]
    fn nothing_asked_for_is_everything() {
        check(&[], &[], &["01_login", "02_logout", "deep-cli"], &[]);
    }

    #[test]
    fn a_category_is_found_whatever_its_case() {
        check(&["WEB"], &[], &["01_login", "02_logout"], &[]);
        check(&["web", "none"], &["*out*"], &["02_logout"], &["none"]);
        check(&["cli"], &["01_login"], &[], &[]);
    }

    #[test]
    fn a_pattern_is_a_name_an_id_or_a_file() {
        check(&[], &["log IN"], &["01_login"], &[]);
        check(&[], &["Log out [now]"], &["02_logout"], &[]);
        check(&[], &["deep-cli"], &["deep-cli"], &[]);
        check(&[], &["cli.md"], &["deep-cli"], &[]);
        check(&[], &["scenarios/01*"], &["01_login"], &[]);
        check(&[], &["deep/*", "[", "absent"], &["deep-cli"], &["[", "absent"]);
    }
}
