//! Tests that a candidate has no longer, or skips: a gate that runs them checks less than at the base. Goes by names of
//! files and by how tests and skips are written; runs nothing.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

/// How a test begins, in the languages that people write them in.
const TESTS: &str = r"(?m)^\s*(?:async\s+)?def\s+test_|^\s*(?:it|test|specify)(?:\.\w+)*\s*(?:\(|['\x22]|\bdo\b)|#\[(?:\w+::)*test\b|^func\s+(?:Test|Fuzz|Example)\w*\(|@(?:Parameterized|Repeated)?Test\b|function\s+test\w|#\[Test\]|\[(?:Fact|Theory|Test|TestMethod)\b|^\s*@test\b|^\s*TEST(?:_F|_P)?\(";

/// How one is written that is not run, or that keeps others from being run.
const SKIPS: &str = r"pytest\.mark\.(?:skip|xfail)|unittest\.(?:skip|expectedFailure)|pytest\.skip\(|\bself\.skipTest\(|\b(?:it|test|describe|suite)\.(?:skip|todo|only|failing)\b|(?m:^)\s*[xf](?:it|test|describe)\s*\(|#\[ignore\b|\bt\.Skip(?:f|Now)?\(|@(?:Disabled|Ignore)\b|\[Ignore\b|(?m:^)\s*pending(?:\s*$|\s*['\x22])|\bmarkTestSkipped\(|\bGTEST_SKIP\b|\bDISABLED_";

static TEST: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(TESTS).ok());
static SKIP: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(SKIPS).ok());

/// Returns whether a file is one of tests, by its name or a directory that it lies in.
pub fn is_of_tests(path: &Path) -> bool {
    const DIRECTORIES: [&str; 5] = ["test", "tests", "spec", "__tests__", "e2e"];
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    let is_named = stem.starts_with("test_")
        || stem.starts_with("test-")
        || ["_test", "_spec", ".test", ".spec", "-test", "Test", "Tests", "Spec"]
            .iter()
            .any(|end| stem.ends_with(end));
    let above = path.parent().into_iter().flat_map(Path::iter).filter_map(|part| part.to_str());
    let is_code =
        !matches!(ending, "" | "md" | "txt" | "json" | "yaml" | "yml" | "toml" | "lock" | "snap");
    is_code && (is_named || above.into_iter().any(|part| DIRECTORIES.contains(&part)))
}

/// One file of tests, as it was and as it is; none where it is not there.
#[derive(Debug, Clone)]
pub struct Changed {
    /// Its path.
    pub path: String,
    /// Its text at the base.
    pub before: Option<String>,
    /// Its text in the candidate.
    pub after: Option<String>,
}

/// Returns the paths of files of tests that hold fewer tests than they did, or more that are skipped; empty where all
/// changed files together hold no fewer, and skip no more: tests may be moved.
pub fn weakened(files: &[Changed]) -> Vec<&str> {
    let count = |regex: &Option<Regex>, text: &Option<String>| {
        regex.as_ref().zip(text.as_deref()).map_or(0, |(regex, text)| regex.find_iter(text).count())
    };
    // A file that shows no test, as a helper, counts for one itself.
    let tests = |text: &Option<String>| text.as_ref().map_or(0, |_| count(&TEST, text).max(1));
    let counts: Vec<[usize; 4]> = files
        .iter()
        .map(|file| {
            [
                tests(&file.before),
                tests(&file.after),
                count(&SKIP, &file.before),
                count(&SKIP, &file.after),
            ]
        })
        .collect();
    let sum = |at: usize| counts.iter().map(|counts| counts[at]).sum::<usize>();
    let (fewer, more_skipped) = (sum(1) < sum(0), sum(3) > sum(2));
    let each = files.iter().zip(&counts);
    each.filter(|(_, [before, after, skipped, skip])| {
        (fewer && after < before) || (more_skipped && skip > skipped)
    })
    .map(|(file, _)| file.path.as_str())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_known_by_their_names_and_places() {
        for path in [
            "test_a.py",
            "a/b_test.go",
            "src/a.test.ts",
            "spec/a_spec.rb",
            "tests/help.py",
            "src/ATest.java",
            "x/__tests__/a.js",
        ] {
            assert!(is_of_tests(Path::new(path)), "{path}");
        }
        for path in ["src/a.py", "latest.py", "tests/data.json", "tests/README.md", "contest/a.py"]
        {
            assert!(!is_of_tests(Path::new(path)), "{path}");
        }
    }

    fn check(files: &[(&str, Option<&str>, Option<&str>)], expected: &[&str]) {
        let own = |text: &Option<&str>| text.map(str::to_owned);
        let of = |(path, before, after): &(&str, _, _)| Changed {
            path: (*path).to_owned(),
            before: own(before),
            after: own(after),
        };
        let files: Vec<Changed> = files.iter().map(of).collect();
        assert_eq!(weakened(&files), expected, "{files:?}");
    }

    #[test]
    fn words_of_a_product_are_no_skips() {
        let before = "def test_a():\n  pass\n";
        let after = "def test_a():\n  assert order == 'pending'\n  model.fit(x, y)\n  fit(x)\n"
            .replace("  fit(x)\n", "");
        check(&[("t.py", Some(before), Some(&after))], &[]);
    }

    #[test]
    fn fewer_tests_and_more_skips_are_found_and_moves_are_none() {
        let two = "def test_a():\n  pass\nasync def test_b():\n  pass\n";
        let one = "def test_a():\n  pass\n";
        check(&[("t.py", Some(two), Some(one))], &["t.py"]);
        check(&[("t.py", Some(one), Some(two))], &[]);
        check(&[("t.py", Some(two), None)], &["t.py"]);
        check(&[("t.py", Some(two), None), ("u.py", None, Some(two))], &[]);
        check(&[("helper.py", Some("x = 1\n"), None)], &["helper.py"]);
        check(&[("t.py", Some(one), Some("def test_a():\n  assert other\n"))], &[]);
        let skipped = format!("@pytest.mark.skip\n{one}");
        check(&[("t.py", Some(one), Some(&skipped))], &["t.py"]);
        for (plain, skips) in [
            ("it('a', f)\n", "it.skip('a', f)\n"),
            ("test('a', f)\n", "test.only('a', f)\n"),
            ("#[test]\nfn a() {}\n", "#[test]\n#[ignore]\nfn a() {}\n"),
            ("func TestA(t *testing.T) {}\n", "func TestA(t *testing.T) { t.Skip(\"x\") }\n"),
            ("it('a', f)\n", "  xit('a', f)\n"),
            ("@Test void a() {}\n", "@Disabled @Test void a() {}\n"),
        ] {
            check(&[("t", Some(plain), Some(skips))], &["t"]);
            check(&[("t", Some(skips), Some(plain))], &[]);
        }
    }
}
