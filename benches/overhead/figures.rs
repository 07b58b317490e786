//! Measuring and printing.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Lines of figures, each with its ratios to the floors of the table.
pub(crate) struct Table {
    floors: Vec<(&'static str, f64)>,
}

impl Table {
    /// Prints the head of a table, and the floors as its first lines.
    pub(crate) fn new(title: &str, floors: &[(&'static str, Duration)]) -> Self {
        println!("\n{title}");
        let floors: Vec<_> =
            floors.iter().map(|(name, time)| (*name, time.as_secs_f64())).collect();
        for (name, seconds) in &floors {
            println!("  {:<52} {:>10}   floor", name, shown(*seconds));
        }
        Self { floors }
    }

    /// Prints a line: the time, and how often each floor goes into it.
    pub(crate) fn line(&self, name: &str, time: Duration) {
        let ratios: Vec<String> = self
            .floors
            .iter()
            .map(|(floor, seconds)| format!("{:.2} x {floor}", time.as_secs_f64() / seconds))
            .collect();
        println!("  {name:<52} {:>10}   {}", shown(time.as_secs_f64()), ratios.join(", "));
    }

    /// Prints a line that is a part of another, without ratios.
    pub(crate) fn part(&self, name: &str, time: Duration) {
        println!("    {name:<50} {:>10}", shown(time.as_secs_f64()));
    }

    /// Prints a line with a ratio that was measured in pairs.
    pub(crate) fn paired(&self, name: &str, time: Duration, ratio: f64, floor: &str) {
        println!("  {name:<52} {:>10}   {ratio:.2} x {floor}", shown(time.as_secs_f64()));
    }
}

fn shown(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1000.0) } else { format!("{seconds:.2} s") }
}

/// Returns how long `work` takes.
pub(crate) fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let began = Instant::now();
    let kept = std::hint::black_box(work());
    let taken = began.elapsed();
    // What was made is given back outside the time.
    drop(kept);
    taken
}

/// Returns the middle of `count` measurements.
pub(crate) fn median_of<T>(count: usize, mut work: impl FnMut() -> T) -> Duration {
    median((0..count).map(|_| time(&mut work)).collect())
}

/// Returns the middle of some times.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Returns the middle of the ratios of pairs.
pub(crate) fn median_ratio(pairs: impl Iterator<Item = (Duration, Duration)>) -> f64 {
    let mut ratios: Vec<f64> = pairs.map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// Runs a command to its end, silently; it must exit with one of `codes`.
pub(crate) fn run(command: &mut Command, codes: &[i32]) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let code = output.status.code();
    assert!(
        code.is_some_and(|code| codes.contains(&code)),
        "{command:?} ended with {:?}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
