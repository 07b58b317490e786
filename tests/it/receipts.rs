//! Receipts: what stands in the record of each turn, and what becomes of one whose agent knew the
//! exam.

use std::fs;

use serde_json::{Value, json};

use crate::support::Product;

/// An evaluation that is long enough to be searched for.
const EXAM: &str =
    "test \"$(head -n 1 words.txt)\" = 'one' && grep -q two words.txt && test -s words.txt";

/// Begins a product whose agent runs `turn` in its workspace each time, and has what it was told in
/// `$exam`.
fn product(turn: &str) -> Product {
    let product = Product::new().file("words.txt", "one\n");
    let base = product.base().display().to_string();
    let quoted = EXAM.replace('\'', "'\\''");
    let script = format!("base={base}\nexam='{quoted}'\n{turn}\n");
    fs::write(product.base().join("agent.sh"), script).unwrap();
    product
        .config(&format!(
            "satisfaction: {{threshold: 1.0}}\nbudget: {{max_iterations: 1}}\nagent:\n  \
             backend: command\n  command: [bash, \"{base}/agent.sh\"]\n"
        ))
        .scenario("words", EXAM)
        .committed()
}

fn receipt(product: &Product) -> Value {
    let shown = product.factory(&["show", "--receipt", "1"]);
    serde_json::from_str(&shown.code(0).stdout).unwrap()
}

#[test]
fn an_honest_turn_has_a_receipt_of_what_was_enforced_and_searched() {
    let product = product("echo two >> words.txt\n(setsid sleep 300 >/dev/null 2>&1 &)\nsleep 0.1");
    product
        .iterate(&[])
        .code(0)
        .says("tier copy; nothing of the exam in workspace, repository, prompt");
    let receipt = receipt(&product);
    assert_eq!(receipt["tier"], "copy");
    assert_eq!(
        receipt["enforced"],
        json!([
            "workspace",
            "private_home",
            "named_variables",
            "reaping",
            "import",
            "private_memory"
        ])
    );
    let searched = receipt["searched"].as_array().unwrap();
    let places: Vec<&str> = searched.iter().map(|one| one["place"].as_str().unwrap()).collect();
    let all =
        ["workspace", "repository", "prompt", "arguments", "environment", "stream", "delivery"];
    assert_eq!(places, all);
    for one in searched {
        assert_eq!(one["found"], json!([]), "{one}");
        assert!(one["items"].as_u64().unwrap() > 0, "{one}");
    }
    assert_eq!(receipt["reaped"], 1);
    // The digests are those of what there is.
    let digest = |bytes: &[u8]| dark_factory::id::Digest::of(bytes).as_str().to_owned();
    let iterate = fs::read(env!("CARGO_BIN_EXE_iterate")).unwrap();
    assert_eq!(receipt["digests"]["factory"], digest(&iterate));
    let started = product.events_named("agent.started");
    let prompt = product.blob(&started[0]["data"]["prompt"]);
    assert_eq!(receipt["digests"]["prompt"], digest(prompt.as_bytes()));
}

#[test]
fn a_receipt_that_was_changed_does_not_verify() {
    let product = product("echo two >> words.txt");
    product.iterate(&[]).code(0);
    product.factory(&["verify"]).code(0);
    for event in ["receipt.begun", "receipt.written"] {
        let events = product.events_named(event);
        let digest = events[0]["data"]["receipt"]["digest"].as_str().unwrap();
        let path = product.runs().pop().unwrap().join("blobs").join(digest);
        let honest = fs::read(&path).unwrap();
        let forged = String::from_utf8(honest.clone()).unwrap().replacen("copy", "c0py", 1);
        fs::write(&path, forged).unwrap();
        product.factory(&["verify"]).code(1).says(&digest[..12]);
        fs::write(&path, honest).unwrap();
        product.factory(&["verify"]).code(0);
    }
}

#[track_caller]
fn check_contaminated(turn: &str, place: &str, item: &str) {
    let product = product(turn);
    let before = product.checkout();
    let told = format!("the evaluation of `words` was found in the {place} ({item})");
    product.iterate(&[]).code(1).says(&told);
    let refused = product.events_named("delivery.refused");
    assert_eq!(refused[0]["data"]["class"], "contaminated");
    assert_eq!(product.events_named("candidate.judged").len(), 1);
    assert_eq!(product.events_named("receipt.written")[0]["data"]["contaminated"], true);
    let found: Vec<Value> = receipt(&product)["searched"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|one| one["found"].as_array().unwrap().clone())
        .collect();
    assert_eq!(found, [json!({"scenario": "words", "item": item})]);
    product.factory(&["show"]).code(0).says("was refused");
    product.assert_untouched(&before);
}

#[test]
fn an_agent_that_says_the_exam_delivers_nothing() {
    check_contaminated("echo two >> words.txt; echo \"I saw: $exam\"", "stream", "stdout");
    check_contaminated("echo two >> words.txt; echo \"$exam\" >&2", "stream", "stderr");
}

#[test]
fn an_agent_that_says_it_in_pieces_of_json_delivers_nothing() {
    let turn = "echo two >> words.txt
        python3 - \"$exam\" <<'END'
import json, sys
text = sys.argv[1]
for at in range(0, len(text), 7):
    print(json.dumps({\"type\": \"delta\", \"content\": [{\"text\": text[at:at + 7]}]}))
END";
    check_contaminated(turn, "stream", "stdout");
}

#[test]
fn a_file_that_holds_the_exam_is_not_accepted() {
    check_contaminated(
        "echo two >> words.txt; printf '# cached\\n  %s\\n' \"$exam\" > cache.txt",
        "delivery",
        "cache.txt",
    );
}

#[test]
fn a_turn_that_failed_has_a_receipt_too() {
    let product = product("echo \"$exam\"; exit 7");
    product.iterate(&[]).code(1);
    assert_eq!(receipt(&product)["searched"][5]["found"][0]["scenario"], "words");
    assert_eq!(product.events_named("delivery.accepted").len(), 0);
}

#[test]
fn a_prompt_that_gives_the_exam_away_starts_no_agent() {
    let product = product("touch $base/started")
        .file("prompt.md", format!("Make this work: {EXAM}\n"))
        .config(
            "satisfaction: {threshold: 1.0}\nagent: {backend: command, command: ['true'], \
             prompt: prompt.md}\n",
        )
        .committed();
    product
        .iterate(&[])
        .code(3)
        .says("the agent's prompt (prompt) would hold the evaluation of scenario `words`");
    assert_eq!(product.events_named("agent.started").len(), 0);
}
