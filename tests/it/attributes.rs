//! The loop's trees are as a checkout has them, and what an agent brings is committed as `git add` would.

use std::fs;

use crate::support::Product;

/// What `start.bat` has in a checkout and in a commit.
const CHECKED_OUT: &str = "a\r\nb\r\n";

/// A product whose agent runs `turn`, and whose scenario `done` wants it to have run.
fn product(turn: &str) -> Product {
    let product = Product::new();
    let script = product.base().join("agent.sh");
    fs::write(&script, turn).unwrap();
    let config = format!(
        "satisfaction: {{threshold: 1.0}}\nbudget: {{max_iterations: 1}}\nisolation: {{}}\nagent: {{backend: command, \
         command: [bash, '{}']}}\ngates:\n- {{name: clean, run: 'git status --porcelain; test -z \"$(git status --porcelain)\"'}}\n",
        script.display()
    );
    product.config(&config).scenario("done", "test -s done.txt")
}

/// Commits `product`, and lets its files be checked out anew.
fn checked_out(product: Product, files: &[&str]) -> Product {
    let product = product.committed();
    for file in files {
        fs::remove_file(product.path(file)).unwrap();
    }
    product.git(&["checkout", "-q", "--", "."]);
    product
}

#[test]
fn attributes_hold_in_both_trees_and_deliveries_leave_nothing_to_commit() {
    let utf16: Vec<u8> = "café\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let more: String = "more\n".encode_utf16().map(|unit| format!("\\x{unit:02x}\\x00")).collect();
    let turn = format!(
        "{{ od -An -c start.bat | tr -d ' \\n'; echo; git status --porcelain -uno; cat shout.up id.txt; }} > done.txt\n\
         printf 'c\\r\\n' >> start.bat; printf 'new\\r\\n' > new.bat; printf 'x\\ny\\n' > same.bat\n\
         printf '{more}' >> notes.txt; echo LOUD >> shout.up; echo plain > plain.txt; printf odd > odd.wide\n"
    );
    let product = product(&turn)
        .file(
            ".gitattributes",
            "*.bat text eol=crlf\nnotes.txt text working-tree-encoding=UTF-16LE\nid.txt ident\n*.up filter=up\n*.wide working-tree-encoding=UTF-16LE\n",
        )
        .file("start.bat", CHECKED_OUT)
        .file("same.bat", "x\r\ny\r\n")
        .file("notes.txt", &utf16)
        .file("id.txt", "$Id$\n")
        .scenario("bat", "test \"$(grep -c $'\\r' start.bat)\" -ge 2")
        .scenario("encoding", "test \"$(od -An -tx1 notes.txt | head -c 6)\" = ' 63 00'")
        .scenario("ident", "grep -q 'Id: [0-9a-f]* ' id.txt")
        .scenario("filter", "grep -q HELLO shout.up");
    product.git(&["config", "filter.up.smudge", "tr a-z A-Z"]);
    product.git(&["config", "filter.up.clean", "tr A-Z a-z"]);
    let product = checked_out(product.file("shout.up", "HELLO\n"), &["id.txt"]);
    product.run_scenarios(&[]).says("4 of 5 satisfied");
    product.iterate(&[]).code(0).says("clean ok").says("5 of 5 satisfied");
    let said = product.git(&["show", &format!("{}:done.txt", product.branch())]);
    let id = product.git(&["rev-parse", "HEAD:id.txt"]);
    assert_eq!(said, format!("a\\r\\nb\\r\\n\nHELLO\n$Id: {id} $"));
    // A file of which git would store what it has stored is no change.
    let files = product.git(&["show", "--format=", "--name-only", &product.branch()]);
    assert_eq!(files, "done.txt\nnew.bat\nnotes.txt\nplain.txt\nstart.bat");
    // What a filter makes is no agent's to change: the filter, a program, is not run on what an agent wrote.
    let shown = product.factory(&["show"]).code(0);
    shown.says("dropped `shout.up`: A filter of git's").says("dropped `odd.wide`: Git says:");
    product.factory(&["apply"]).code(0);
    assert_eq!(product.git(&["status", "--short"]), "");
    assert_eq!(product.read("start.bat"), format!("{CHECKED_OUT}c\r\n"));
    assert_eq!(product.git(&["show", "HEAD:notes.txt"]), "café\nmore");
    assert_eq!(product.git(&["show", "HEAD:shout.up"]), "hello");
}

#[test]
fn line_endings_that_the_persons_settings_ask_for_hold_too() {
    let product = product("cp a.txt done.txt").file("a.txt", "one\r\ntwo\r\n");
    product.git(&["config", "core.autocrlf", "true"]);
    product.git(&["config", "core.safecrlf", "false"]);
    let product = checked_out(product.scenario("crlf", "test $(grep -c $'\\r' a.txt) = 2"), &[]);
    product.run_scenarios(&[]).says("1 of 2 satisfied");
    product.iterate(&[]).code(0).says("clean ok");
    let blob = |file: &str| product.git(&["rev-parse", &format!("{}:{file}", product.branch())]);
    assert_eq!(blob("done.txt"), blob("a.txt"));
    product.factory(&["apply"]).code(0);
    assert_eq!(product.git(&["status", "--short"]), "");
}

#[test]
fn large_files_are_what_they_stand_for_and_no_agents_to_change() {
    let big = "what the pointer stands for\n".repeat(100);
    let turn = "grep -c stands a.bin > done.txt; git status --porcelain -uno >> done.txt; echo x >> a.bin; echo new > b.bin";
    let (oid, other) = (sha256(&big), "0".repeat(64));
    let pointer = |oid: &str, size: usize| {
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n")
    };
    let product = product(turn)
        .file(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
        .file("a.bin", pointer(&oid, big.len()))
        .file("far.bin", pointer(&other, 7))
        .scenario("large", "test $(grep -c stands a.bin) = 100")
        .committed();
    product.write(&format!(".git/lfs/objects/{}/{}/{oid}", &oid[..2], &oid[2..4]), &big);
    let missing = "1 Git LFS file left as a pointer, `far.bin` first: not on this machine";
    product.factory(&["doctor"]).says(missing);
    let ran = product.iterate(&[]).code(0).says(missing).says("clean ok");
    assert_eq!(ran.stderr.matches("left as a pointer").count(), 1, "{}", ran.stderr);
    let files = product.git(&["show", "--format=", "--name-only", &product.branch()]);
    assert_eq!(files, "done.txt");
    assert_eq!(product.git(&["show", &format!("{}:done.txt", product.branch())]), "100");
    let shown = product.factory(&["show"]).code(0);
    assert!(shown.stdout.contains("a.bin") && shown.stdout.contains("b.bin"), "{}", shown.stdout);
}

fn sha256(text: &str) -> String {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
