//! Compares what scenarios need with the fixtures that there are.
//!
//! A file that is read by itself can't tell whether a fixture is there: the settings name them.
//! Whoever has both asks here.

use super::parse::diagnostic;
use super::{Diagnostic, Scenario};
use crate::text::{nearest, yaml};

/// The most findings about one list: the person knows by then.
const MOST_ALIKE: usize = 16;

/// Returns an error for each fixture that `scenario` needs and that is not among `known`, in their
/// order; empty when all are. `source` is the text of `file`, which the scenario was read from, for
/// the places; without it they are the file as a whole.
pub fn unknown_fixtures(
    file: &str,
    source: Option<&str>,
    scenario: &Scenario,
    known: &[&str],
) -> Vec<Diagnostic> {
    let unknown = scenario.front.needs.iter().enumerate();
    unknown
        .filter(|(_, name)| !known.contains(&name.as_str()))
        .take(MOST_ALIKE)
        .map(|(index, name)| {
            let span = source.and_then(|source| {
                let (start, text) = front_matter(source)?;
                let span = yaml::value_span(text, &yaml::steps(&format!("needs[{index}]")))?;
                Some(start + span.start..start + span.end)
            });
            let message = match nearest(name, known.iter().copied()) {
                Some(near) => format!("there is no fixture `{name}`; did you mean `{near}`?"),
                None => format!("there is no fixture `{name}`"),
            };
            let help = "add it under `fixtures:` of dark-factory.yaml";
            diagnostic("S019", file, source.unwrap_or_default(), span, message, help)
        })
        .collect()
}

/// Returns the YAML at the head of a scenario that was read, and where in `source` it begins.
fn front_matter(source: &str) -> Option<(usize, &str)> {
    let opening = source.find("---")?;
    let start = opening + source[opening..].find('\n')? + 1;
    let mut end = start;
    for line in source[start..].split_inclusive('\n') {
        if matches!(line.trim_end(), "---" | "...") {
            return Some((start, &source[start..end]));
        }
        end += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::parse;

    const BODY: &str = "# Scenario: S\n## Category\nx\n## Evaluation\n```bash\ntest -f x\n```\n";

    fn check(front: &str, known: &[&str], expected: &[(&str, &str, usize)]) {
        let source = format!("{front}{BODY}");
        let scenario = parse("s.md", source.as_bytes()).scenario.unwrap();
        let found = unknown_fixtures("s.md", Some(&source), &scenario, known);
        let found: Vec<_> = found
            .iter()
            .map(|one| (&*one.message, &source[one.span.clone().unwrap()], one.line))
            .collect();
        assert_eq!(found, expected);
        let blind = unknown_fixtures("s.md", None, &scenario, known);
        assert!(blind.len() == expected.len() && blind.iter().all(|one| one.span.is_none()));
    }

    #[test]
    fn a_fixture_that_is_there_is_no_finding() {
        check("", &[], &[]);
        check("---\nneeds: [db, web]\n---\n", &["web", "db"], &[]);
    }

    #[test]
    fn an_unknown_fixture_is_pointed_at_and_the_nearest_named() {
        let front = "\u{feff}---\r\ntags: [é]\r\nneeds: [db, wbe, x]\r\n---\r\n";
        check(
            front,
            &["web", "db"],
            &[
                ("there is no fixture `wbe`; did you mean `web`?", "wbe", 3),
                ("there is no fixture `x`", "x", 3),
            ],
        );
    }
}
