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
}

/// Returns a time as it is read easily.
pub(crate) fn shown(seconds: f64) -> String {
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

/// The middle of some figures, with the lowest and the highest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    low: f64,
    pub(crate) middle: f64,
    high: f64,
}

impl Spread {
    /// Returns the spread of figures, of which there is one at least.
    pub(crate) fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut all: Vec<f64> = figures.collect();
        all.sort_by(f64::total_cmp);
        Self { low: all[0], middle: all[all.len() / 2], high: all[all.len() - 1] }
    }

    /// Returns the ratio as it is shown: to what, what it should be at most, and its spread.
    pub(crate) fn times(&self, floor: &str, target: Option<f64>) -> String {
        let Self { low, middle, high } = self;
        let target = target.map_or(String::new(), |target| format!("target {target:.2}, "));
        format!("{middle:.2} x {floor} ({target}{low:.2} to {high:.2})")
    }
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
