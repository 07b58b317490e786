//! Descriptors that this process was started with and that its children would inherit: whoever started
//! the factory left them open.

use std::fs;

/// Returns the arguments by which bash closes `open` and becomes the program whose name and arguments
/// follow.
pub(crate) fn closing(open: &[u32]) -> [String; 5] {
    let close: Vec<String> = open.iter().map(|fd| format!("{fd}<&-")).collect();
    let script = format!("exec {}; exec \"$@\"", close.join(" "));
    ["--noprofile", "--norc", "-c", &script, "bash"].map(str::to_owned)
}

/// Returns the descriptors beyond the first three that a child of this process would inherit.
pub(crate) fn inherited() -> Vec<u32> {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let Ok(entries) = fs::read_dir("/proc/self/fdinfo") else { return Vec::new() };
    let mut open: Vec<u32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .filter(|fd| {
            fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).is_ok_and(|text| {
                text.lines()
                    .find_map(|line| line.strip_prefix("flags:"))
                    .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
                    .is_some_and(|flags| flags & CLOSE_ON_EXEC == 0)
            })
        })
        .collect();
    open.sort_unstable();
    open
}
