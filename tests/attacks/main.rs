//! The attack suite: a hostile agent and a hostile product play the threat model against each tier of
//! isolation, as root and as a plain user. What each gets is decided from secrets that the suite
//! planted and from the state of files; the matrix is `docs/attacks.md`.
//!
//! The hostile programs, one for each attack, are `programs/`. They look at nothing but what the suite
//! made. `UPDATE_ATTACKS=1` writes the matrix anew.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "these tests stand outside of the house: they start its programs, and wait for them"
)]
#![cfg(target_os = "linux")]

mod attacks;
mod deputies;
mod matrix;
mod scenes;
mod site;

use std::collections::BTreeMap;

use rustix::process::geteuid;

use attacks::{ATTACKS, Cell};
use scenes::play;
use site::{Tier, Toolkit, User};

/// What each attack came to in one column.
type Column = BTreeMap<&'static str, Cell>;

#[test]
fn the_matrix_is_what_is_documented() {
    let users = if geteuid().is_root() { vec![User::Root, User::Plain] } else { vec![User::Plain] };
    let toolkit = Toolkit::install();
    // Two users at a time: most of a run is waiting.
    let columns: Vec<((Tier, User), Column)> = std::thread::scope(|scope| {
        let toolkit = &toolkit;
        let of_user =
            move |user| Tier::ALL.map(|tier| ((tier, user), play(tier, user, toolkit))).to_vec();
        let handles: Vec<_> =
            users.into_iter().map(|user| scope.spawn(move || of_user(user))).collect();
        handles.into_iter().flat_map(|handle| handle.join().unwrap()).collect()
    });
    let columns: BTreeMap<(Tier, User), Column> = columns.into_iter().collect();
    matrix::check(&columns);

    for attack in ATTACKS {
        let cells: Vec<Cell> = columns.values().map(|column| column[attack.name]).collect();
        let executed = cells.iter().any(|cell| cell.executed());
        assert!(
            !executed || cells.iter().any(|cell| cell.succeeded()),
            "{} is toothless: it gets nothing at any tier",
            attack.name
        );
    }
    for ((tier, user), column) in &columns {
        let broken: Vec<_> = column.iter().filter(|(_, cell)| cell.succeeded()).collect();
        assert!(*tier != Tier::Sandbox || broken.is_empty(), "sandbox as {user}: {broken:?}");
    }
}
