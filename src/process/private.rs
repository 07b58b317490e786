//! Keeps what this process knows from those that it starts.

/// From now on no other process of the same user reads this one's memory, environment and open files,
/// or traces it; those that it starts are as readable as ever. Root is not kept out.
///
/// Does nothing where the system has no such thing; see [`is_private`].
pub fn keep_private() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        // The kernel takes this from everyone.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// Returns whether [`keep_private`] is in force.
pub fn is_private() -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, dumpable_behavior};
        matches!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable))
    }
    #[cfg(not(target_os = "linux"))]
    false
}
