//! Running many scenarios that do nothing, beside starting as many shells.

use std::process::{Command, Stdio};

use super::figures::{Table, median, median_ratio, run, time};
use super::repository::{Product, scenario};

const SCENARIOS: usize = 300;
const PAIRS: usize = 5;

/// Measures it.
pub(crate) fn measure() {
    let product = Product::new();
    for number in 0..SCENARIOS {
        let name = format!("Case {number}");
        product.write(&format!("scenarios/{number:03}.md"), &scenario(&name, "true"));
    }
    product.commit();
    let judge = |jobs: &str| {
        let mut command = product.factory(env!("CARGO_BIN_EXE_run-scenarios"));
        time(|| run(command.args(["--quiet", "--jobs", jobs]), &[0]))
    };
    let shells = || {
        for _ in 0..SCENARIOS {
            let mut shell = Command::new("bash");
            shell.args(["-c", "true"]).current_dir(product.root());
            shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            assert!(shell.status().unwrap().success());
        }
    };
    judge("1");
    // In turns, so that what else the machine does falls on all of them.
    let rounds: Vec<_> = (0..PAIRS).map(|_| (time(shells), judge("1"), judge("2"))).collect();
    let floor = median(rounds.iter().map(|round| round.0).collect());
    let title = format!("scenarios: {SCENARIOS} of `true`, the medians of {PAIRS} rounds");
    let table = Table::new(&title, &[("bash -c true, one after the other", floor)]);
    let line = |name: &str, pick: fn(&(_, _, _)) -> std::time::Duration| {
        let ratio = median_ratio(rounds.iter().map(|round| (pick(round), round.0)));
        table.paired(name, median(rounds.iter().map(pick).collect()), ratio, "the shells");
    };
    line("run-scenarios --jobs 1", |round| round.1);
    line("run-scenarios --jobs 2", |round| round.2);
}
