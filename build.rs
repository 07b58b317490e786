//! Has the linker pack what the loader does at each start, where the loader knows how, and keep functions
//! that are the same once, where it can: an eighth less of each program, which CI builds and caches.

#![expect(
    clippy::disallowed_methods,
    reason = "nothing of the factory runs yet, and cargo is told by lines and variables"
)]

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let is_own = variable("HOST") == variable("TARGET");
    if is_own && variable("CARGO_CFG_TARGET_ENV") == "gnu" && knows_packed_relocations() {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    if is_own && links_with(ONCE) {
        println!("cargo::rustc-link-arg-bins={ONCE}");
    }
}

/// Has the linker keep functions once that are the same.
const ONCE: &str = "-Wl,--icf=all";

/// Returns whether the linker takes `argument`, by trying it on the smallest program.
fn links_with(argument: &str) -> bool {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let dir = std::path::PathBuf::from(variable("OUT_DIR"));
    let source = dir.join("probe.rs");
    if std::fs::write(&source, "fn main() {}\n").is_err() {
        return false;
    }
    let flags = variable("CARGO_ENCODED_RUSTFLAGS");
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()));
    let linker = variable("RUSTC_LINKER");
    if !linker.is_empty() {
        rustc.arg(format!("-Clinker={linker}"));
    }
    rustc.arg(format!("-Clink-arg={argument}")).arg("-o").arg(dir.join("probe")).arg(&source);
    rustc.output().is_ok_and(|output| output.status.success())
}

/// Returns whether the C library is one of glibc 2.36 or later, by whose loader the program starts.
fn knows_packed_relocations() -> bool {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let version = said.unwrap_or_default();
    let mut numbers =
        version.trim().trim_start_matches("glibc ").split('.').map(|part| part.parse().ok());
    let version: (Option<u32>, Option<u32>) = (numbers.next().flatten(), numbers.next().flatten());
    version >= (Some(2), Some(36))
}
