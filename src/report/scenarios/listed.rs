//! A list of scenarios: `--list`.

use serde::Serialize;

use crate::report::results::SCHEMA;
use crate::scenario::{Entry, History, LastStatus};
use crate::text::{one_line, visible};

use super::describe::WIDTH;

/// A scenario in a list: `--list --format json`.
#[derive(Debug, Serialize)]
pub struct Listed<'a> {
    id: &'a str,
    name: &'a str,
    file_path: &'a str,
    category: &'a str,
    tags: &'a [String],
    slow: bool,
    serial: bool,
    valid: bool,
    /// The verdict of the last time; null where there is no record.
    last_status: Option<LastStatus>,
}

impl<'a> Listed<'a> {
    fn of(entry: &'a Entry, history: &History) -> Self {
        Self {
            id: entry.id.as_str(),
            name: &entry.name,
            file_path: &entry.file,
            category: &entry.category,
            tags: entry.tags(),
            slow: entry.is_slow(),
            serial: entry.is_serial(),
            valid: entry.scenario.is_ok(),
            last_status: history.status(&entry.id),
        }
    }

    /// Returns the list as JSON, with what came of each scenario the last time.
    pub fn json(entries: &'a [Entry], history: &History) -> String {
        let scenarios: Vec<_> = entries.iter().map(|entry| Self::of(entry, history)).collect();
        format!("{:#}", serde_json::json!({ "schema": SCHEMA, "scenarios": scenarios }))
    }

    /// Returns the list as lines: id, category, name, in columns.
    pub fn lines(entries: &[Entry]) -> Vec<String> {
        let width = |text: fn(&Entry) -> &str| {
            entries.iter().map(|entry| text(entry).chars().count()).max().unwrap_or(0)
        };
        let ids = width(|entry| entry.id.as_str());
        let categories = width(|entry| &entry.category);
        let line = |entry: &Entry| {
            let name = one_line(&entry.name, WIDTH);
            let category = visible(&entry.category);
            let invalid = if entry.scenario.is_ok() { "" } else { "  (invalid)" };
            format!("{:ids$}  {category:categories$}  {name}{invalid}", entry.id.as_str())
        };
        entries.iter().map(line).collect()
    }
}
