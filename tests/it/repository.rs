//! The repositories in the loop's trees: what asks git there finds the product as a checkout would be, and nothing
//! of the exam.

use std::fs;

use crate::support::Product;

/// Each tier, and the step without namespaces.
const TIERS: [(&str, &str); 3] =
    [("{}", ""), ("{}", "root,user-namespace,bubblewrap,sudo"), ("{agent: copy, judge: copy}", "")];

/// A product with a tag behind its base, whose agent runs `turn`.
fn product(turn: &str, isolation: &str) -> Product {
    let product =
        Product::new().file("words.txt", "one\n").file(".gitignore", "out/\n").committed();
    product.git(&["tag", "-a", "v1.2", "-m", "The first"]);
    let script = product.base().join("agent.sh");
    fs::write(&script, turn).unwrap();
    // Set-up is another user's than the rest where the factory is root, and takes longer than a tick of the clock.
    let prepare =
        "prepare: [{name: s, run: 'sleep 1.1; mkdir -p out; touch out/made', outputs: [out]}]";
    product.config(&format!(
        "{prepare}\nsatisfaction: {{threshold: 1.0}}\nbudget: {{max_iterations: 1}}\nisolation: {isolation}\nagent: \
         {{backend: command, command: [bash, '{}']}}\ngates:\n- {{name: generated, run: 'mkdir -p out; echo out > out/x; \
         git diff --exit-code && git ls-files --error-unmatch words.txt'}}\n",
        script.display()
    ))
}

#[test]
fn gates_scenarios_and_agent_find_a_clean_repository_at_every_tier() {
    let turn = "said=$(git status --porcelain); echo \"status:$said\" > said.txt; git describe >> said.txt; git log --format=%s >> said.txt\n\
                echo two >> words.txt; git commit -qam 'its own'";
    for (isolation, without) in TIERS {
        let product = product(turn, isolation)
            .scenario("described", "git describe | grep v1.2")
            .scenario(
                "clean",
                "test -z \"$(git status --porcelain)\" && git diff-index --quiet HEAD",
            )
            .scenario("two", "git show HEAD:words.txt | grep two")
            .committed();
        let ran = product.iterate_with(&[], &[("DARK_FACTORY_WITHOUT", without)]);
        ran.code(0).says("gates      generated ok").says("3 of 3 satisfied");
        let said = product.git(&["show", &format!("{}:said.txt", product.branch())]);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], "status:", "{said}");
        assert!(lines[1].starts_with("v1.2"), "{said}");
        assert_eq!(lines[lines.len() - 1], "The base", "{said}");
        assert!(product.checkout().keys().all(|path| !path.ends_with("bent")));
    }
}

#[test]
fn the_state_may_lie_on_another_file_system_than_the_checkout() {
    let product =
        product("true", "{}").scenario("described", "git describe | grep v1.2").committed();
    // Where there is none the test shows less.
    let place = if fs::metadata("/dev/shm").is_ok() { "/dev/shm" } else { "/tmp" };
    let state = tempfile::tempdir_in(place).unwrap();
    let state = [("XDG_STATE_HOME", state.path().to_str().unwrap())];
    product.iterate_with(&["--no-agent"], &state).code(0).says("1 of 1 satisfied");
    let packs = product.git(&["count-objects", "-v"]);
    assert!(packs.contains("garbage: 0"), "{packs}");
}

#[test]
fn what_is_packed_can_be_read_whatever_the_persons_settings_say_of_modes() {
    let turn = "git status --porcelain && echo two >> words.txt";
    let product = product(turn, "{}").scenario("two", "grep two words.txt && git log").committed();
    product.git(&["config", "core.sharedRepository", "0600"]);
    product.iterate(&[]).code(0).says("converged");
}

#[test]
fn what_an_evaluation_does_to_the_repository_ends_with_it() {
    let bend = "git config dark.bent; test $? = 1 && git config dark.bent yes && git commit -q --allow-empty -m bent \
                && test \"$(git rev-list --count HEAD)\" = 2";
    let product = product("true", "{}").scenario("a", bend).scenario("b", bend).scenario("c", bend);
    let fixture = "fixtures:\n- {name: f, start: 'git config dark.bent yes; exec sleep 100', ready: {command: 'true'}}\n";
    let config = product.read("dark-factory.yaml") + fixture;
    product.write("dark-factory.yaml", config);
    let needs = format!("---\nneeds: [f]\n---\n# D\n\n## Evaluation\n```bash\n{bend}\n```\n");
    let product = product.file("scenarios/d.md", needs).committed();
    product.iterate(&["--no-agent"]).code(0).says("4 of 4 satisfied");
}

#[test]
fn no_object_that_the_agent_has_holds_the_exam() {
    let turn = "git cat-file --batch-all-objects --batch > objects.txt; git fsck --lost-found >> objects.txt\n\
                git log -p --all --reflog >> objects.txt; git for-each-ref >> objects.txt; git remote -v >> objects.txt";
    let exam = "test \"$(cat words.txt | tr '\\n' ' ')\" = 'one two three and so on'";
    for (isolation, without) in TIERS {
        let product = product(turn, isolation)
            .scenario("exam", exam)
            .file("notes/copy.md", format!("For later:\n\n{exam}\n"))
            .file("notes/other.md", "A note that anybody may read.\n")
            .committed();
        product.iterate_with(&[], &[("DARK_FACTORY_WITHOUT", without)]).code(1);
        let objects = fs::read(product.workspace().join("objects.txt")).unwrap();
        let objects = String::from_utf8_lossy(&objects).into_owned();
        // The search finds what there is.
        assert!(objects.contains("A note that anybody may read."), "{objects}");
        assert!(objects.contains("refs/tags/v1.2"), "{objects}");
        for hidden in ["one two three", "exam.md", "copy.md", "refs/remotes", "origin"] {
            assert!(!objects.contains(hidden), "{hidden} at {isolation}: {objects}");
        }
    }
}
