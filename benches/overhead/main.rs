//! What the factory itself costs: beside gates, scenarios and agent, and beside programs that do
//! the least that would have to be done.
//!
//! Every figure stands beside its floor, measured in the same run on the same files, since ratios
//! travel from machine to machine and seconds do not. `cargo bench -- NAME` runs one part: `loop`,
//! `stages`, `status`, `runner`, `mask` or `wall`; `TMPDIR` says where the generated products lie.
//! Nothing is compared with an earlier run.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench starts the programs that it measures, prints figures, and ends where it fails"
)]

mod figures;
mod floor;
mod iterations;
mod mask;
mod peers;
mod repository;
mod runner;
mod stages;
mod status;
mod wall;

/// The parts by name, in the order in which they run.
const PARTS: [(&str, fn()); 6] = [
    ("loop", iterations::measure),
    ("stages", stages::measure),
    ("status", status::measure),
    ("runner", runner::measure),
    ("mask", mask::measure),
    ("wall", wall::measure),
];

fn main() {
    // Cargo itself adds `--bench`.
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let unknown = wanted.iter().find(|name| !PARTS.iter().any(|(part, _)| part == name));
    if let Some(unknown) = unknown {
        let names: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
        println!("there is no part `{unknown}`; there are {}", names.join(", "));
        return;
    }
    for (name, measure) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|part| part == name) {
            measure();
        }
    }
}
