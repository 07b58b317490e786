//! `factory verify`: an honest record holds, and one that was tampered with is found out.

use std::fs;
use std::path::PathBuf;

use dark_factory::id::Digest;
use serde_json::Value;

use crate::support::Product;

/// A product whose agent converges in two turns.
fn product() -> Product {
    Product::new()
        .file("words.txt", "one\n")
        .scenario("one", "grep -q one words.txt")
        .scenario("two", "grep -q two words.txt")
        .scenario("three", "grep -q three words.txt")
        .config(
            "satisfaction: {threshold: 1.0}\n\
             agent: {backend: replay, recording: ../recording}\n",
        )
        .turn(1, &[("words.txt", "one two\n"), ("scenarios/one.md", "none\n")], "say: first\n")
        .turn(2, &[("words.txt", "one two three\n")], "say: second\n")
        .committed()
}

/// A run of it that has ended.
fn ended() -> Product {
    let product = product();
    product.iterate(&[]).code(0);
    product
}

fn journal(product: &Product) -> PathBuf {
    product.runs().pop().unwrap().join("events.jsonl")
}

/// Returns the file of the first blob that an event of this name points to by `field`.
fn blob(product: &Product, event: &str, field: &str) -> PathBuf {
    let found = &product.events_named(event)[0]["data"][field]["digest"];
    product.runs().pop().unwrap().join("blobs").join(found.as_str().unwrap())
}

/// Changes one byte in the middle of a file.
fn flip(path: &PathBuf) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Writes `lines` as a journal whose chain is right by itself.
fn write_recomputed(product: &Product, lines: impl IntoIterator<Item = Value>) {
    let mut prev = Value::Null;
    let mut text = String::new();
    for (index, mut event) in lines.into_iter().enumerate() {
        event["prev"] = prev;
        event["seq"] = (index + 1).into();
        let line = event.to_string();
        prev = Digest::of(line.as_bytes()).as_str().into();
        text.push_str(&line);
        text.push('\n');
    }
    fs::write(journal(product), text).unwrap();
}

fn json(product: &Product, code: i32) -> Value {
    serde_json::from_str(&product.factory(&["verify", "--json"]).code(code).stdout).unwrap()
}

/// Returns the codes of what fails.
fn failures(found: &Value) -> Vec<&str> {
    let findings = found["findings"].as_array().unwrap().iter();
    findings.filter(|one| one["fails"] == true).map(|one| one["code"].as_str().unwrap()).collect()
}

#[test]
fn an_honest_run_holds() {
    let product = ended();
    let before = product.checkout();
    product.factory(&["verify"]).code(0).says("it holds: commits hold the first");
    product.assert_untouched(&before);
    let found = json(&product, 0);
    assert_eq!((&found["schema"], &found["holds"]), (&1.into(), &true.into()));
    assert_eq!(found["findings"], Value::Array(Vec::new()));
    let events = product.events();
    assert_eq!(found["events"], events.len());
    // Feedback of iterations 0 and 1, and two turns.
    assert_eq!(found["commits"], 4);
    // The last delivery names the last commit; what stands before it is held.
    let last = events.iter().rposition(|event| event["event"] == "delivery.accepted").unwrap();
    assert_eq!(found["held"], last);
    assert_eq!(found["not_held"], events.len() - last);
}

#[test]
fn a_byte_changed_in_the_journal_is_found_with_its_line() {
    let product = ended();
    let path = journal(&product);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        text.replacen("\"verdict\":\"unsatisfied\"", "\"verdict\":\"unsatisfiee\"", 1),
    )
    .unwrap();
    let line = text.lines().position(|line| line.contains("\"unsatisfied\"")).unwrap() + 2;
    product
        .factory(&["verify"])
        .code(1)
        .says(&format!("events.jsonl:{line}: the line does not follow the one before"))
        .says("it does not hold: 1 finding");
}

#[test]
fn a_byte_changed_in_a_blob_and_a_blob_that_is_gone_are_found() {
    for (event, field) in
        [("scenario.judged", "result"), ("delivery.accepted", "detail"), ("run.started", "frozen")]
    {
        let product = ended();
        flip(&blob(&product, event, field));
        assert_eq!(failures(&json(&product, 1)), ["blob_changed"], "{event}");
        fs::remove_file(blob(&product, event, field)).unwrap();
        assert_eq!(failures(&json(&product, 1)), ["blob_missing"], "{event}");
    }
}

#[test]
fn a_chain_that_was_recomputed_as_a_whole_is_found_by_the_commits() {
    let product = ended();
    let mut events = product.events();
    events[0]["data"]["threshold"] = 0.1.into();
    write_recomputed(&product, events);
    // By itself it is right.
    product.factory(&["show"]).code(0);
    assert_eq!(failures(&json(&product, 1)), ["rewritten"; 4]);
}

#[test]
fn a_journal_that_was_cut_before_a_commit_is_found_by_the_branch() {
    let product = ended();
    let text = fs::read_to_string(journal(&product)).unwrap();
    let (before, _) = text.rsplit_once("\"event\":\"delivery.accepted\"").unwrap();
    let (whole, _) = before.rsplit_once('\n').unwrap();
    fs::write(journal(&product), format!("{whole}\n")).unwrap();
    assert_eq!(failures(&json(&product, 1)), ["commit_not_named"]);
}

#[test]
fn commits_that_were_forged_with_the_chain_are_found_by_a_branch_that_kept_the_old_ones() {
    let product = ended();
    let branch = product.branch();
    product.git(&["update-ref", "refs/remotes/origin/kept", &branch]);
    product.git(&["branch", "-q", "-D", &branch]);
    let mut events = product.events();
    let tree = product.git(&["rev-parse", "main^{tree}"]);
    events[0]["data"]["threshold"] = 0.1.into();
    // Each commit is made anew for the line that now stands before its event.
    for at in 1..events.len() {
        write_recomputed(&product, events.clone());
        let text = fs::read_to_string(journal(&product)).unwrap();
        if events[at]["data"]["commit"].is_string() && events[at]["event"] != "candidate.judged" {
            let head = Digest::of(text.lines().nth(at - 1).unwrap().as_bytes());
            let run = product.runs()[0].file_name().unwrap().to_string_lossy().into_owned();
            let message = format!("Turn\n\nFactory-Run: {run}\nFactory-Journal: {head}\n");
            let forged = product.git(&["commit-tree", "-m", &message, &tree]);
            events[at]["data"]["commit"] = forged.into();
        }
    }
    write_recomputed(&product, events);
    assert_eq!(failures(&json(&product, 1)), ["commit_not_named"; 4]);
    product.git(&["update-ref", "-d", "refs/remotes/origin/kept"]);
    // Nothing that is left knows better, as the reference says.
    product.factory(&["verify"]).code(0);
}

#[test]
fn a_commit_that_a_person_made_anew_changes_nothing() {
    let product = ended();
    let branch = product.branch();
    let message = product.git(&["log", "-1", "--format=%B", &branch]);
    let (parent, tree) = (format!("{branch}~1"), format!("{branch}^{{tree}}"));
    let again = product.git(&["commit-tree", "-p", &parent, "-m", &message, &tree]);
    product.git(&["update-ref", &format!("refs/heads/{branch}"), &again]);
    product.factory(&["verify"]).code(0);
}

#[test]
fn a_run_that_was_killed_holds_and_its_unfinished_line_is_noted() {
    let product = product();
    let killed = product.iterate_with(&[], &[("DARK_FACTORY_TEST_DIE_AFTER", "30")]);
    assert_eq!(killed.code, -9);
    let path = journal(&product);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, &text[..text.len() - 30]).unwrap();
    product.factory(&["verify"]).code(0).says("events.jsonl:30: the last line is unfinished");
    product.iterate(&["--resume"]).code(0);
    product.factory(&["verify"]).code(0).says("it holds: commits hold");
}

#[test]
fn a_commit_that_is_gone_is_a_failure() {
    let product = ended();
    let branch = product.branch();
    product.git(&["branch", "-q", "-D", &branch]);
    // As long as git keeps them the commits are there.
    product.factory(&["verify"]).code(0);
    product.git(&["reflog", "expire", "--expire=now", "--all"]);
    product.git(&["gc", "-q", "--prune=now"]);
    assert_eq!(failures(&json(&product, 1)), ["commit_missing"; 4]);
}

#[test]
fn a_commit_whose_object_was_forged_is_found() {
    let product = ended();
    let tip = product.git(&["rev-parse", &product.branch()]);
    let text = product.git(&["cat-file", "commit", &tip]);
    let forged = text.replace("Factory-Journal: ", "Factory-Journal: 0") + "\n";
    product.write("forged", &forged);
    let other = product.git(&["hash-object", "-t", "commit", "-w", "forged"]);
    fs::remove_file(product.path("forged")).unwrap();
    let object = |id: &str| product.path(&format!(".git/objects/{}/{}", &id[..2], &id[2..]));
    fs::remove_file(object(&tip)).unwrap();
    fs::rename(object(&other), object(&tip)).unwrap();
    assert_eq!(failures(&json(&product, 1)), ["commit_damaged"]);
}

#[test]
fn a_run_without_commits_holds_and_says_that_none_holds_it() {
    let product = product();
    product.iterate(&["--no-agent", "--in-place"]).code(1);
    product.factory(&["verify"]).code(0).says("no commit holds them");
    let found = json(&product, 0);
    assert_eq!((&found["held"], &found["commits"]), (&0.into(), &0.into()));
}

#[test]
fn a_run_that_is_not_there_is_a_request_that_makes_no_sense() {
    let product = product();
    product.factory(&["verify"]).code(2).says("there is no run");
    product.factory(&["verify", "0915"]).code(2).says("there is no run 0915");
}

#[test]
fn a_journal_that_can_not_be_read_is_the_surroundings_failure() {
    let product = ended();
    let path = blob(&product, "run.started", "frozen");
    // A name that leads to itself can be read by nobody, not even by root.
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(path.file_name().unwrap(), &path).unwrap();
    product.factory(&["verify"]).code(3);
}
