//! Tests the file of budgets (`benches/budget.toml`) as the benches that count read and write it
//! (`benches/support/budget.rs`): a bench has no tests of its own.

#[allow(dead_code)] // What runs the benches is not needed here.
#[path = "../benches/support/budget.rs"]
mod budget;

use budget::Budget;

/// The type that the included file expects beside it.
type Failure = Box<dyn std::error::Error>;

const BUDGET: &str = "\
# What may be spent. money.note = in a comment

# Money.
money.bread = 2
money.wine = 30

# Time.
time.bread = 5
";

/// Sets one value, and asserts that a single line differs, in the expected place.
fn check_set(name: &str, value: &str, replaced: &str, expected: &str) {
    let mut budget = Budget(BUDGET.to_string());
    budget.set(name, value);
    assert!(BUDGET.contains(replaced), "{replaced}");
    assert_eq!(budget.0, BUDGET.replace(replaced, expected), "{name}");
    assert_eq!(budget.get(name), Some(value));
}

#[test]
fn value_that_is_known_is_replaced_in_its_place() {
    check_set("money.bread", "3", "money.bread = 2\n", "money.bread = 3\n");
    check_set("time.bread", "6.5", "time.bread = 5\n", "time.bread = 6.5\n");
}

#[test]
fn value_that_is_new_stands_behind_the_last_of_its_kind() {
    check_set("money.cheese", "9", "money.wine = 30\n", "money.wine = 30\nmoney.cheese = 9\n");
    check_set("time.wine", "60", "time.bread = 5\n", "time.bread = 5\ntime.wine = 60\n");
    // In a comment it is not known.
    check_set("money.note", "1", "money.wine = 30\n", "money.wine = 30\nmoney.note = 1\n");
}

#[test]
fn value_of_a_new_kind_stands_at_the_end_apart_from_the_others() {
    check_set("moneys.bread", "1", "time.bread = 5\n", "time.bread = 5\n\nmoneys.bread = 1\n");
}

#[test]
fn values_of_the_repository_stand_together_by_kind_each_once() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/budget.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let (mut names, mut kinds): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, _) = line.split_once(" = ").unwrap_or_else(|| panic!("{line:?} is no value"));
        let (kind, _) = name.split_once('.').unwrap_or_else(|| panic!("{name:?} has no kind"));
        assert!(!names.contains(&name), "{name} stands there twice");
        if kinds.last() != Some(&kind) {
            assert!(!kinds.contains(&kind), "{name} stands apart from the other {kind}");
            kinds.push(kind);
        }
        names.push(name);
    }
    assert_eq!(kinds, ["instructions", "system_calls", "allocations"]);
    let mut budget = Budget(text.clone());
    for name in names {
        let value = budget.get(name).unwrap().to_string();
        budget.set(name, &value);
    }
    assert_eq!(budget.0, text, "what is set as it was changes nothing");
}
