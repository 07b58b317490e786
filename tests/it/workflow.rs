//! The workflows.

use std::fs;
use std::path::Path;

#[test]
fn every_action_is_pinned_to_a_commit_and_named_by_its_release() {
    for name in ["ci.yaml", "factory.yaml", "nightly.yaml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows").join(name);
        for line in fs::read_to_string(path).unwrap().lines() {
            let Some((_, action)) = line.split_once("uses: ") else { continue };
            let (action, release) = action.split_once(" # v").expect(line);
            let (action, commit) = action.split_once('@').expect(line);
            assert!(commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()), "{line}");
            // The first releases on Node 24; those before them stand on a runtime that runners dropped.
            let first = match action {
                "actions/checkout" => 5,
                "actions/upload-artifact" => 6,
                "actions/download-artifact" => 7,
                other => panic!("say here since when {other} is on Node 24"),
            };
            let major: u32 = release.split('.').next().unwrap().parse().unwrap();
            assert!(major >= first, "{line}");
        }
    }
}
