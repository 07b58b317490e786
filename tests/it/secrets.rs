//! A secret that the product gets and prints: in nothing that is told, kept or committed, whatever was
//! made of it, and judged by all the same.

use std::fs;

use crate::support::{Product, contains, walk};

const KEY: &str = "not_a_real_key_51Habcdefghij";
const PASSWORD: &str = "p@ss w\"rd/9'xyz";
const PEM: &str =
    "-----BEGIN KEY-----\nMIIBVgIBADANBgkqhkiG9w0\n7q2Zb3Jx0123456789==\n-----END KEY-----";
const ENV: [(&str, &str); 4] =
    [("SHOP_KEY", KEY), ("SHOP_PASSWORD", PASSWORD), ("SHOP_PEM", PEM), ("MODE", "development")];

/// What may stand nowhere: what the product printed of its secrets.
const SPELLED: [&str; 12] = [
    KEY,
    PASSWORD,
    "p%40ss%20w%22rd%2F9%27xyz",
    r#"p@ss w\"rd/9'xyz"#,
    r#"p@ss\ w\"rd/9\'xyz"#,
    r#"p@ss w"rd/9'\''xyz"#,
    "bm90X2FfcmVhbF9rZXlfNTFIYWJjZGVmZ2hpa",
    "aG9wOm5vdF9hX3JlYWxfa2V5XzUxSGFiY2RlZmdoaWo",
    "MIIBVgIBADANBgkqhkiG9w0",
    "7q2Zb3Jx0123456789==",
    "5f6b65795f353148",
    "Habcdefghij",
];

/// A program that prints its secrets in many ways, and fails.
const PRINTS: &str = r#"import base64, json, os, shlex, sys, urllib.parse
key, password, pem = (os.environ[n] for n in ("SHOP_KEY", "SHOP_PASSWORD", "SHOP_PEM"))
print("mode", os.environ["MODE"], "key", key, flush=True)
print(password, urllib.parse.quote(password, safe=""), json.dumps({"p": password}), flush=True)
print(shlex.quote(password), r"p@ss\ w\"rd/9\'xyz", file=sys.stderr, flush=True)
for text in (key, "shop:" + key):
    print(base64.b64encode(text.encode()).decode(), flush=True)
for line in pem.splitlines():
    print("pem:", line, flush=True)
print(key.encode().hex(), flush=True)
for c in key:
    sys.stdout.write(c)
    sys.stdout.flush()
print()
print("x" * 4990, key)
open("evidence.txt", "w").write("used " + key + "\n")
raise RuntimeError("401 for " + key)
"#;

fn product() -> Product {
    let criterion = "# Scenario: A key that is wrong is told\n\n## Category\ncore\n\n## Expectation\nIt \
        is.\n\n## Evaluation\n```bash\necho \"the key is $SHOP_KEY.\"\n```\n\n## Pass Criteria\n\
        - stdout contains \"not_a_real_key_51Habcdefghij\"\n- stdout contains \"the key is bad\"\n\n\
        ## Evidence\n- `evidence.txt`\n";
    let log =
        "fixtures:\n- {name: shop, start: 'echo starting with $SHOP_KEY; exit 1', product: true}\n";
    Product::new()
        .config(&format!(
            "gates: []\nquality: [{{name: smoke, run: python3 pay.py}}]\nenv: [SHOP_KEY, SHOP_PASSWORD, \
             SHOP_PEM, MODE]\nagent: {{backend: command, command: [bash, -c, 'env > said.txt; cat \
             artifacts/factory/feedback_iter_0.md >> said.txt']}}\nbudget: {{max_iterations: 1}}\n{log}"
        ))
        .file("pay.py", PRINTS)
        .scenario("pay", "set -x\npython3 pay.py")
        .file("scenarios/told.md", criterion)
        .file(
            "scenarios/shop.md",
            "---\nneeds: [shop]\n---\n# Scenario: The shop starts\n\n## Category\ncore\n\n## \
             Expectation\nIt does.\n\n## Evaluation\n```bash\ntrue\n```\n",
        )
        .committed()
}

fn assert_free(what: &str, bytes: &[u8], but: &[&str]) {
    for spelled in SPELLED.iter().filter(|one| !but.contains(one)) {
        assert!(
            !contains(bytes, spelled.as_bytes()),
            "{what} has {spelled}:\n{}",
            String::from_utf8_lossy(bytes)
        );
    }
}

/// Looks through everything that was written below the artifacts.
fn assert_artifacts_free(product: &Product) {
    walk(&product.path("artifacts"), &mut |path, metadata| {
        if metadata.is_file() {
            let bytes = fs::read(path).unwrap();
            // What is frozen is the exam as the repository has it, in which one value stands.
            let but: &[&str] = match contains(&bytes, b"the key is bad") {
                true => &[KEY, "Habcdefghij"],
                false => &[],
            };
            assert_free(&path.display().to_string(), &bytes, but);
        }
        true
    });
}

#[test]
fn a_judgement_in_place_tells_no_secret_and_judges_by_it() {
    let product = product();
    let mut command = product.clean(env!("CARGO_BIN_EXE_run-scenarios"));
    command.envs(ENV).args([
        "--no-capture",
        "--report=jsonl=out/a.jsonl",
        "--report=junit=out/a.xml",
    ]);
    command.args(["--report=github=out/a.txt", "--report=plain=out/b.txt"]);
    let ran = product.start(command).wait().code(1);
    ran.says("mode development key [SHOP_KEY]");
    let results = product.read("artifacts/factory/scenario_results.json");
    assert!(results.contains("[SHOP_PASSWORD]") && results.contains("[SHOP_PEM]"), "{results}");
    // The first criterion holds, of which the value is in the file; the other does not.
    assert!(results.contains("the key is [SHOP_KEY]."), "{results}");
    assert!(!results.contains("stdout contains \\\"not_a_real"), "{results}");
    let copies = results.split('"').filter(|text| text.starts_with("artifacts"));
    let evidence = copies.into_iter().find(|path| path.ends_with("evidence.txt")).unwrap();
    assert_eq!(product.read(evidence), "used [SHOP_KEY]\n");
    assert_artifacts_free(&product);
    for file in ["out/a.jsonl", "out/a.xml", "out/a.txt", "out/b.txt"] {
        assert_free(file, product.read(file).as_bytes(), &[]);
    }
}

#[test]
fn a_run_tells_nobody_a_secret_of_the_product() {
    let product = product();
    let ran = product.iterate_with(&[], &ENV);
    assert!(ran.code == 1 || ran.code == 5, "{}\n{}", ran.stdout, ran.stderr);
    assert_free("stdout", ran.stdout.as_bytes(), &[]);
    assert_free("stderr", ran.stderr.as_bytes(), &[]);
    assert_artifacts_free(&product);
    let branch = product.branch();
    let said = product.git(&["show", &format!("{branch}:said.txt")]);
    assert!(said.contains("[SHOP_KEY]") && !said.contains("SHOP_KEY="), "{said}");
    assert_free("what the agent found", said.as_bytes(), &[]);
    let log = product.git(&["log", "-p", "--format=%B", &format!("main..{branch}")]);
    assert_free("the branch", log.as_bytes(), &[]);
    let ci = product.read("artifacts/factory/ci_output.log");
    assert!(ci.contains("RuntimeError: 401 for [SHOP_KEY]"), "{ci}");

    let mut command = product.clean(env!("CARGO_BIN_EXE_compile-feedback"));
    product.write(
        "artifacts/factory/ci_output.log",
        format!("=== gate a: x\n{KEY}\n=== gate a failed with exit code 1 after 1 s\n"),
    );
    command.envs(ENV).arg("--stdout");
    let told = product.start(command).wait().code(0);
    assert!(told.stdout.contains("[SHOP_KEY]"), "{}", told.stdout);
    assert_free("compile-feedback", told.stdout.as_bytes(), &[]);
}
