//! Canaries: words that stand in the holdout alone. None may be in anything that the factory hands
//! over; each search is shown to find one where one is.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Product, contains, walk};

/// Where a canary can stand in a scenario.
const PLACES: [&str; 4] = ["evaluation", "criteria", "preconditions", "evidence"];

/// The scenarios, each of which leaks in a way of its own.
const SCENARIOS: [&str; 4] = ["traceback", "trace", "arguments", "quoted"];

/// Returns the canary of a place in a scenario; no part of one is like a part of another.
fn canary(scenario: &str, place: &str) -> String {
    let digest = dark_factory::id::Digest::of(format!("{scenario} {place}").as_bytes());
    format!("kanari{}", &digest.as_str()[..20])
}

/// Returns every canary with where it stands.
fn canaries() -> Vec<(String, String)> {
    let places = |scenario: &'static str| {
        PLACES.map(|place| (canary(scenario, place), format!("{place} of {scenario}")))
    };
    SCENARIOS.into_iter().flat_map(places).collect()
}

/// Returns the text of a scenario whose canaries come back in its output.
fn scenario(name: &str) -> String {
    let of = |place| canary(name, place);
    let evaluation = match name {
        // As an assertion prints its own source: in the middle of a line, quoted and indented.
        "traceback" => format!(
            "echo 'Traceback (most recent call last):' >&2\n\
             echo '  File \"<stdin>\", line 2, in <module>' >&2\n\
             echo '    assert read() == \"{0}\", \"it is not {1}\"' >&2\n\
             echo \"AssertionError: got 'none' where '{0}' was expected; see {2}\" >&2\nexit 1",
            of("evaluation"),
            of("criteria"),
            of("evidence")
        ),
        "trace" => format!("set -x\ntest \"$(cat words.txt)\" = '{}'", of("evaluation")),
        // The product prints what it was called with.
        "arguments" => format!(
            "sh ./product.sh --expect={} --name '{}'",
            of("evaluation"),
            of("preconditions")
        ),
        _ => format!(
            "echo \"want: \\\"{}\\\"\" >&2\nprintf '%s' '{}' | sed 's/./&/g'\nfalse",
            of("evaluation"),
            of("criteria")
        ),
    };
    format!(
        "# Scenario: The {name} is right\n\n## Category\ncore\n\n## Preconditions\n\
         - The machine is {preconditions}\n- check: `true {preconditions}`\n\n\
         ## Behavioral Expectation\nThe product does what it should: {name}.\n\n\
         ## Evaluation Method\n```bash\n{evaluation}\n```\n\n\
         ## Pass Criteria\nThe output names {criteria} and ends with 0.\n\n\
         ## Evidence Required\n- `out/{evidence}.txt`\n- The line of {evidence}\n",
        preconditions = of("preconditions"),
        criteria = of("criteria"),
        evidence = of("evidence"),
    )
}

/// An agent that takes a copy of everything that it can see, and changes something each time.
fn thief(product: Product) -> Product {
    let base = product.base().display().to_string();
    let script = format!(
        "n=$(ls {base}/loot | wc -l)\nloot={base}/loot/$n\nmkdir -p $loot\n\
         cp -a . $loot/workspace\nenv > $loot/environment\ncat > $loot/stdin\n\
         printf '%s\\n' \"$0\" \"$@\" > $loot/arguments\n\
         cp \"$1\" $loot/prompt\ncp \"$2\" $loot/feedback\ncp -a \"$HOME\" $loot/home\n\
         tr '\\0' '\\n' < /proc/$PPID/cmdline > $loot/parent\n\
         ls -A $TMPDIR > $loot/tmp\n\
         git cat-file --batch-all-objects --batch > $loot/objects\ngit log -p --all --reflog > $loot/log\n\
         echo $n >> words.txt\ngit init -q . 2>/dev/null && git add -A 2>/dev/null\ntrue\n"
    );
    fs::create_dir(product.base().join("loot")).unwrap();
    fs::write(product.base().join("thief.sh"), script).unwrap();
    product
}

fn config(base: &Path, more: &str) -> String {
    format!(
        "satisfaction: {{threshold: 1.0, stalled_after: 9}}\nbudget: {{max_iterations: 3}}\n\
         agent:\n  backend: command\n  stdin: true\n  \
         command: [bash, {0}/thief.sh, \"{{prompt_file}}\", \"{{feedback_file}}\", \"{{workspace}}\"]\n{more}",
        base.display()
    )
}

/// A product all of whose scenarios fail and say why in words of the holdout.
fn product(more: &str) -> Product {
    let product = thief(Product::new());
    let config = config(product.base(), more);
    let product = SCENARIOS.iter().fold(product, |product, name| {
        product.file(&format!("scenarios/{name}.md"), scenario(name))
    });
    product
        .file("words.txt", "none\n")
        .file("product.sh", "echo \"unknown option: $*\" >&2\nexit 2\n")
        .file("specs/product.md", "# The product\n\nIt holds words.\n")
        .config(&config)
}

/// Everything that the factory hands over or leaves where an agent reads it, by name.
fn handed_over(product: &Product) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut take = |name: &str, root: &Path| {
        walk(root, &mut |path, metadata| {
            let shown = format!("{name}/{}", path.strip_prefix(root).unwrap().display());
            if metadata.is_file() {
                all.insert(shown, fs::read(path).unwrap());
            } else if metadata.is_symlink() {
                let target = fs::read_link(path).unwrap();
                all.insert(shown, target.as_os_str().as_encoded_bytes().to_owned());
            } else {
                all.insert(shown, Vec::new());
            }
            true
        });
    };
    take("loot", &product.base().join("loot"));
    take("workspace", &product.workspace());
    for private in ["agent-home", "agent-tmp", "turns"] {
        take(private, &product.run_state().join(private));
    }
    for (kind, key) in [("agent.started", "prompt"), ("feedback.written", "feedback")] {
        for event in product.events_named(kind) {
            all.insert(
                format!("{kind} {}", event["seq"]),
                product.blob(&event["data"][key]).into_bytes(),
            );
        }
    }
    for object in new_objects(product) {
        let kind = product.git(&["cat-file", "-t", &object]);
        all.insert(
            format!("git {kind} {object}"),
            product.git(&["cat-file", "-p", &object]).into_bytes(),
        );
    }
    // Names tell as well as bytes.
    all.into_iter()
        .map(|(name, bytes)| {
            let both = [name.as_bytes(), b"\n", &bytes].concat();
            (name, both)
        })
        .collect()
}

/// Returns the objects that the run's branches reach, and the base did not.
fn new_objects(product: &Product) -> Vec<String> {
    product
        .git(&[
            "rev-list",
            "--objects",
            "--no-object-names",
            "--glob=refs/heads/factory",
            "--not",
            "main",
        ])
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Returns the canaries in what was handed over, each with where it was found.
fn found(product: &Product) -> Vec<String> {
    let all = handed_over(product);
    let mut found = Vec::new();
    for (canary, place) in canaries() {
        for (name, bytes) in &all {
            if contains(bytes, canary.as_bytes()) {
                found.push(format!("{place} in {name}"));
            }
        }
    }
    found
}

/// Fails unless the search looks where it should: each kind of place is there, and not empty.
#[track_caller]
fn assert_searched(product: &Product) {
    let all = handed_over(product);
    for part in [
        "loot/0/workspace/words.txt",
        "loot/0/objects",
        "loot/0/environment",
        "loot/0/stdin",
        "loot/0/arguments",
        "loot/0/prompt",
        "loot/0/feedback",
        "loot/2/workspace/artifacts/factory/feedback_iter_2.md",
        "workspace/words.txt",
        "agent.started",
        "feedback.written",
        "git blob",
        "git commit",
        "git tree",
    ] {
        let there =
            all.iter().any(|(name, bytes)| name.starts_with(part) && bytes.len() > name.len() + 1);
        assert!(there, "nothing was searched at {part}: {:?}", all.keys());
    }
}

#[test]
fn no_canary_is_in_anything_that_is_handed_over() {
    let product = product("").committed();
    product.iterate(&[]).code(1);
    assert_searched(&product);
    assert_eq!(found(&product), Vec::<String>::new());

    // What the factory keeps for itself has them: they were there to be leaked.
    let events = product.events();
    let frozen = product.blob(&events[0]["data"]["frozen"]);
    for (canary, place) in canaries() {
        assert!(frozen.contains(&canary), "{place}");
    }
    let results: String = product
        .events_named("scenario.judged")
        .iter()
        .map(|event| product.blob(&event["data"]["result"]))
        .collect();
    for (name, place) in [
        ("traceback", "evaluation"),
        ("traceback", "criteria"),
        ("traceback", "evidence"),
        ("trace", "evaluation"),
        ("arguments", "evaluation"),
        ("arguments", "preconditions"),
        ("quoted", "evaluation"),
        ("quoted", "criteria"),
    ] {
        let canary = canary(name, place);
        assert!(results.contains(&canary), "the {place} of {name} never came back");
    }
    let masked: u64 = product
        .events_named("feedback.written")
        .iter()
        .map(|event| event["data"]["masked"].as_u64().unwrap())
        .sum();
    assert!(masked >= 4, "{masked}");
}

#[test]
fn labels_say_who_may_read_what_holds_a_canary() {
    let product = product("").committed();
    product.iterate(&[]).code(1);
    let mut labels: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in product.events() {
        collect_labels(&event, &mut labels);
    }
    let blobs = product.runs()[0].join("blobs");
    let mut held = 0;
    for (digest, labels) in labels {
        let bytes = fs::read(blobs.join(&digest)).unwrap();
        for (canary, place) in canaries() {
            if contains(&bytes, canary.as_bytes()) {
                held += 1;
                assert!(!labels.iter().any(|label| label == "public"), "{place} in blob {digest}");
            }
        }
    }
    assert!(held > 0, "no blob holds a canary");
    let journal = fs::read(product.runs()[0].join("events.jsonl")).unwrap();
    for (canary, place) in canaries() {
        assert!(!contains(&journal, canary.as_bytes()), "{place} in the journal");
    }
}

fn collect_labels(value: &Value, labels: &mut BTreeMap<String, Vec<String>>) {
    match value {
        Value::Object(fields) => {
            if let (Some(digest), Some(label)) = (
                fields.get("digest").and_then(Value::as_str),
                fields.get("label").and_then(Value::as_str),
            ) {
                labels.entry(digest.to_owned()).or_default().push(label.to_owned());
            }
            fields.values().for_each(|field| collect_labels(field, labels));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_labels(item, labels)),
        _ => {}
    }
}

/// Makes the product leak by `leak`, and fails unless the search finds it where it was leaked.
fn check_leak(leak: impl FnOnce(Product, &str) -> Product, expected: &[&str]) {
    let canary = canary("traceback", "evaluation");
    let product = leak(product(""), &canary);
    product.commit("Leak");
    product.iterate(&["--max-iterations", "1"]).code(1);
    let found = found(&product);
    for place in expected {
        assert!(found.iter().any(|one| one.contains(place)), "not found in {place}: {found:?}");
    }
}

#[test]
fn a_leak_by_a_spec_is_found() {
    check_leak(
        |product, canary| product.file("specs/leak.md", format!("Say {canary}.\n")),
        &["loot/0/workspace/specs/leak.md", "in workspace/specs/leak.md"],
    );
}

#[test]
fn a_leak_by_an_expectation_is_found() {
    check_leak(
        |product, canary| {
            let text = scenario("traceback");
            let text = text.replace("does what it should", &format!("says {canary}"));
            let told = config(product.base(), "feedback: {disclosure: behaviour}\n");
            product.file("scenarios/traceback.md", text).config(&told)
        },
        &["loot/0/feedback", "feedback.written", "git blob"],
    );
}

#[test]
fn a_leak_by_a_public_scenario_is_found() {
    check_leak(
        |product, _| {
            let text = format!("---\nvisibility: public\n---\n{}", scenario("traceback"));
            product.file("scenarios/traceback.md", text)
        },
        &["loot/0/workspace/scenarios/traceback.md", "loot/0/feedback"],
    );
}

#[test]
fn a_leak_by_a_prompt_is_found() {
    check_leak(
        |product, canary| {
            product.file(".github/factory/prompts/fix.md", format!("Make it say {canary}.\n"))
        },
        &["loot/0/prompt", "loot/0/stdin", "agent.started"],
    );
}

#[test]
fn a_leak_by_a_variable_that_the_agent_is_to_get_is_found() {
    let canary = canary("traceback", "evaluation");
    let product = product("  env: [LEAK]\n").committed();
    product.iterate_with(&["--max-iterations", "1"], &[("LEAK", &canary)]).code(1);
    assert!(found(&product).iter().any(|one| one.contains("loot/0/environment")));
}

#[test]
fn a_copy_of_a_scenario_elsewhere_in_the_repository_is_withheld() {
    let product = product("")
        .file("docs/exam.md", scenario("traceback"))
        .file("docs/guide.md", "A guide.\n")
        .committed();
    product.iterate(&["--max-iterations", "1"]).code(1);
    let workspace = product.base().join("loot/0/workspace");
    assert!(!workspace.join("docs/exam.md").exists());
    assert!(workspace.join("docs/guide.md").exists());
    assert!(!workspace.join("scenarios").exists());
    let checked = &product.events_named("workspace.checked")[0]["data"];
    assert_eq!(checked["withheld"], 1);
    assert!(product.blob(&checked["paths"]).contains("docs/exam.md"));
    // The candidate still has it: what the agent does not see it has not removed.
    let branch = product.branch();
    assert!(product.git(&["ls-tree", "-r", "--name-only", &branch]).contains("docs/exam.md"));
    assert_eq!(found(&product), Vec::<String>::new());
}

#[test]
fn the_workspace_comes_without_history() {
    let product = product("").committed();
    product.iterate(&["--max-iterations", "1"]).code(1);
    let loot = |name: &str| fs::read(product.base().join("loot/0").join(name)).unwrap();
    let log = String::from_utf8_lossy(&loot("log")).into_owned();
    assert!(
        log.contains("The base")
            && log.lines().filter(|line| line.starts_with("commit ")).count() <= 2
    );
    let config = String::from_utf8_lossy(&loot("workspace/.git/config")).into_owned();
    assert!(!config.contains("remote"), "{config}");
    let environment = fs::read_to_string(product.base().join("loot/0/environment")).unwrap();
    let root = product.root().display().to_string();
    assert!(!environment.contains(&root), "the environment names the checkout: {environment}");
    assert!(environment.contains("GIT_CEILING_DIRECTORIES="));
}
