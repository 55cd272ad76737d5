//! Hopping windows.

use moldau_streams::{Builder, Hopping};

use crate::{O, S, append, check, grouped, ms};

#[test]
fn a_record_is_in_all_hopping_windows_around_it_that_are_not_closed() {
    check(include_str!("hopping.txt"), |builder| {
        let windows = Hopping::of(ms(10)).advance_by(ms(5)).no_grace();
        let table = grouped(builder, &S).windowed_by(windows);
        let table = table.aggregate_as("w", String::new, append);
        table.to_stream().to(&O);
    });
}

#[test]
fn hopping_windows_that_leave_gaps_or_stand_still_are_refused() {
    for advance in [0, 11] {
        let builder = Builder::new("app");
        let windows = Hopping::of(ms(10)).advance_by(ms(advance)).no_grace();
        let _ = grouped(&builder, &S).windowed_by(windows).count();
        let error = builder.build().expect_err("no such windows").to_string();
        assert!(
            error.contains(&format!("of 10 ms advance by {advance} ms")),
            "{error}"
        );
    }
}
