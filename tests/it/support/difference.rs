//! The table of cases in which another broker is known to differ, and why.

use std::collections::HashMap;
use std::path::Path;

/// Case name to the reason why the broker under test fails it.
#[derive(Default)]
pub struct Differences(HashMap<String, String>);

impl Differences {
    /// Reads the rows `| `case` | the standard | the broker | why |` of a table; one row may name several cases.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut known = HashMap::new();
        for row in text.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            assert_eq!(cells.len(), 4, "{}: a row has four columns: {row}", path.display());
            assert!(!cells[3].is_empty(), "{}: a difference needs its reason: {row}", path.display());
            for case in cells[0].split_whitespace() {
                let twice = known.insert(case.trim_matches('`').to_owned(), cells[3].to_owned());
                assert!(twice.is_none(), "{}: {case} is listed twice", path.display());
            }
        }
        Self(known)
    }

    pub fn get(&self, case: &str) -> Option<&str> {
        self.0.get(case).map(String::as_str)
    }
}
