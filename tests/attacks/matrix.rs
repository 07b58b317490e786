//! The matrix of attacks, tiers and users as it stands in `docs/attacks.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Column;
use crate::attacks::{ATTACKS, Cell, heading};
use crate::site::{Tier, User};

/// What stands around the table.
const DOCUMENT: &str = "docs/attacks.md";
const BEGIN: &str = "<!-- The matrix: `make attacks UPDATE=1` writes it. -->\n";
const END: &str = "<!-- The end of the matrix. -->\n";

/// Fails unless the documented matrix says what was found, as far as it was tried here; writes it
/// where that is asked for.
pub(crate) fn check(found: &BTreeMap<(Tier, User), Column>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("where the matrix begins");
    let (table, after) = rest.split_once(END).expect("where the matrix ends");
    let documented = parse(table);
    if std::env::var_os("UPDATE_ATTACKS").is_some_and(|value| !value.is_empty()) {
        let table = render(found, &documented);
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    let mut wrong = String::new();
    for ((tier, user), column) in found {
        for (name, cell) in column {
            let said = documented.get(&(heading(*tier, *user), (*name).to_owned()));
            // Another machine may lack what an attack needs, or have it.
            let untried = matches!(cell, Cell::NotExecutable | Cell::Unavailable)
                || said == Some(&Cell::NotExecutable);
            if said != Some(cell) && !untried {
                let said = said.map_or("nothing".to_owned(), Cell::to_string);
                writeln!(wrong, "{name} at {}: {cell}, documented {said}", heading(*tier, *user))
                    .unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{DOCUMENT} differs; `make attacks UPDATE=1` writes it:\n{wrong}");
    let mut names: Vec<&str> = documented.keys().map(|(_, name)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let here: Vec<&str> = ATTACKS.iter().map(|attack| attack.name).collect();
    assert!(names.iter().all(|name| here.contains(name)), "an attack is gone: {names:?}");
}

/// Returns the table; a column that was not played keeps what it says.
fn render(
    found: &BTreeMap<(Tier, User), Column>,
    documented: &BTreeMap<(String, String), Cell>,
) -> String {
    let columns: Vec<(Tier, User)> =
        Tier::ALL.into_iter().flat_map(|tier| User::ALL.map(|user| (tier, user))).collect();
    let headings: Vec<String> = columns.iter().map(|(tier, user)| heading(*tier, *user)).collect();
    let mut out = format!("| attack | what it tries | {} |\n", headings.join(" | "));
    writeln!(out, "|---|---|{}", "---|".repeat(columns.len())).unwrap();
    for attack in ATTACKS {
        write!(out, "| `{}` | {} |", attack.name, attack.tries).unwrap();
        for (column, heading) in columns.iter().zip(&headings) {
            let known = documented.get(&(heading.clone(), attack.name.to_owned()));
            let cell = found.get(column).map(|cells| cells[attack.name]).or(known.copied());
            write!(out, " {} |", cell.unwrap_or(Cell::Unavailable)).unwrap();
        }
        out.push('\n');
    }
    out
}

/// Returns the cells of a table by heading and attack.
fn parse(table: &str) -> BTreeMap<(String, String), Cell> {
    let row = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut lines = table.lines();
    let headings = lines.next().map(row).unwrap_or_default();
    let mut cells = BTreeMap::new();
    for line in lines.skip(1) {
        let row = row(line);
        for (heading, cell) in headings.iter().zip(&row).skip(2) {
            let cell = Cell::parse(cell).unwrap_or_else(|| panic!("`{cell}` is no cell"));
            cells.insert((heading.clone(), row[0].trim_matches('`').to_owned()), cell);
        }
    }
    cells
}
