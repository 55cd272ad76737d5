//! Global tables: every task sees all partitions of their topics.

use std::sync::Arc;

use moldau_streams::runtime::{GlobalIndex, GlobalTable};

use crate::probe::{OnRecord, driver, lines, record, say};

fn looked_up() -> OnRecord {
    Arc::new(|record, task| {
        let key = record.key.clone().unwrap_or_default();
        let found = task.global_store(GlobalIndex(0))?.get(&key)?;
        say(task, &format!("{:?}", found.map(|stored| stored.value)));
        Ok(())
    })
}

#[test]
fn a_task_sees_what_has_come_to_a_global_table_and_again_after_a_restart() {
    let table = GlobalTable::new("names", "names-store");
    let mut driver = driver(&[], vec![table], looked_up());
    driver.send("in", record("a", "", 1)).expect("sent");
    driver.send("names", record("a", "Ann", 99)).expect("sent");
    driver.send("in", record("a", "", 2)).expect("sent");
    driver.crash_and_restore().expect("restored");
    assert_eq!(lines(&mut driver)[..2], ["None", "Some(b\"Ann\")"]);
    let mut tombstone = record("a", "", 100);
    tombstone.value = None;
    driver.send("names", tombstone).expect("sent");
    driver.send("in", record("a", "", 3)).expect("sent");
    assert_eq!(lines(&mut driver), ["None"]);
    let store = driver.global_store("names-store").expect("a store");
    assert_eq!(store.get(b"a").expect("read"), None);
}

#[test]
fn a_global_table_can_leave_records_out() {
    let table =
        GlobalTable::new("names", "names-store").with_update(Arc::new(|record, store| {
            match (&record.key, &record.value) {
                (Some(key), Some(value)) if value.len() < 4 => {
                    store.put(key, value, record.timestamp)
                }
                _ => Ok(()),
            }
        }));
    let mut driver = driver(&[], vec![table], looked_up());
    driver.send("names", record("a", "Ann", 1)).expect("sent");
    driver.send("names", record("a", "Anna", 2)).expect("sent");
    driver.send("in", record("a", "", 3)).expect("sent");
    assert_eq!(lines(&mut driver), ["Some(b\"Ann\")"]);
}
