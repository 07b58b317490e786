//! Masking a large output against a large holdout.

use dark_factory::feedback::Mask;
use dark_factory::scenario::from_files;

use super::figures::{Table, median_of};
use super::repository::scenario;

const SCENARIOS: usize = 500;
const BYTES: usize = 1_000_000;

fn hash(before: u64, c: u64) -> u64 {
    (before ^ c).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29)
}

/// Measures it.
pub(crate) fn measure() {
    let files = (0..SCENARIOS).map(|number| {
        let code = format!(
            "set -euo pipefail\nout=$(python3 -m product create --case {number} --owner 'zoe {number}')\n\
             grep --quiet 'created item {number} of zoe' <<<\"$out\"\n\
             test \"$(python3 -m product count)\" -eq {}\n",
            number * 7
        );
        let text = scenario(&format!("Case {number}"), &code);
        (format!("{number:03}.md").into_bytes(), text.into_bytes())
    });
    let set = from_files("scenarios", files.collect());
    let mask = Mask::new(&set, &[]);
    let ordinary = "2026-11-20 09:15:00 worker 12: the request took 31 ms, 204 bytes were sent\n";
    let clean = ordinary.repeat(BYTES / ordinary.len());
    let leak = "Traceback: ['product', 'create', '--case', '17', '--owner', 'zoe 17'] failed\n";
    let leaking: String =
        (0..BYTES / 1_000).map(|_| ordinary.repeat(12) + leak).collect::<String>();
    assert!(mask.apply(&leaking).count >= BYTES / 1_000);

    let floor = median_of(9, || clean.chars().map(u64::from).fold(0, hash));
    let title = format!("mask: 1 MB of output, {SCENARIOS} scenarios");
    let table = Table::new(&title, &[("a hash of its characters", floor)]);
    table.line("learn the scenarios", median_of(5, || Mask::new(&set, &[])));
    table.line("output that has nothing of them", median_of(5, || mask.apply(&clean)));
    table.line(
        "output with a line of them in each 1,000 bytes",
        median_of(5, || mask.apply(&leaking)),
    );
}
