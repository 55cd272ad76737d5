//! `docs/protocol-traps.md` names tests for every trap, and they are there.

use crate::workspace::read;

const TRAPS: usize = 20;

#[test]
fn every_trap_of_the_protocol_has_tests_that_exist() {
    let page = read("docs/protocol-traps.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| "));
    let rows = rows.filter(|row| row.starts_with(|first: char| first.is_ascii_digit()));
    let mut number = 0;
    for row in rows {
        number += 1;
        let mut cells = row.split(" | ");
        assert_eq!(cells.next(), Some(number.to_string().as_str()), "{row}");
        let tests = cells.nth(1).unwrap_or_default();
        check_tests(number, tests);
    }
    assert_eq!(number, TRAPS, "rows of the table");
}

/// Files are followed by their tests, all between backticks.
fn check_tests(trap: usize, tests: &str) {
    let mut file = String::new();
    let mut found = 0;
    for name in tests.split('`').skip(1).step_by(2) {
        if name.ends_with(".rs") {
            file = read(name);
            continue;
        }
        let there = file.contains(&format!("fn {name}("));
        assert!(there, "trap {trap}: {name} is not in its file");
        found += 1;
    }
    assert!(found > 0, "trap {trap} has no test");
}
