//! Windows that are emitted once, when they close.

use moldau_streams::{
    Builder, Hopping, SessionWindow, Sessions, Sliding, Topic, Tumbling, Windowed,
};

use crate::{Nullable, O, S, append, check, driver, grouped, merge, ms, news, send};

#[test]
fn a_tumbling_window_is_emitted_once_when_its_grace_has_passed() {
    check(include_str!("final_tumbling.txt"), |builder| {
        let windows = Tumbling::of(ms(10)).grace(ms(5));
        let table = grouped(builder, &S).windowed_by(windows).emit_final();
        table
            .aggregate_as("w", String::new, append)
            .to_stream()
            .to(&O);
    });
}

#[test]
fn hopping_windows_are_emitted_one_by_one_as_they_close() {
    check(include_str!("final_hopping.txt"), |builder| {
        let windows = Hopping::of(ms(10)).advance_by(ms(5)).no_grace();
        let table = grouped(builder, &S).windowed_by(windows).emit_final();
        table
            .aggregate_as("w", String::new, append)
            .to_stream()
            .to(&O);
    });
}

#[test]
fn sliding_windows_are_emitted_as_they_close_but_not_by_early_records() {
    check(include_str!("final_sliding.txt"), |builder| {
        let table = grouped(builder, &S).windowed_by(Sliding::of(ms(10)).no_grace());
        let table = table.emit_final().aggregate_as("w", String::new, append);
        table.to_stream().to(&O);
    });
}

#[test]
fn sessions_are_emitted_once_and_without_tombstones() {
    check(include_str!("final_session.txt"), |builder| {
        let table = grouped(builder, &S).windowed_by(Sessions::gap(ms(5)).no_grace());
        let table = table
            .emit_final()
            .aggregate_as("w", String::new, append, merge);
        let topic = Topic::<Windowed<Nullable, SessionWindow>, String>::new("o");
        table.to_stream().to(&topic);
    });
}

#[test]
fn a_window_that_was_emitted_is_not_emitted_again_after_a_crash() {
    let driver = driver(|builder| {
        let table = grouped(builder, &S).windowed_by(Tumbling::of(ms(10)).no_grace());
        let table = table.emit_final().aggregate_as("w", String::new, append);
        table.to_stream().to(&O);
    });
    send(&driver, "s a x 3");
    send(&driver, "wall 1000");
    send(&driver, "s a y 12");
    assert_eq!(driver.output(&O).read().len(), 1);
    driver.crash_and_restore();
    send(&driver, "wall 1000");
    send(&driver, "s a z 13");
    assert_eq!(driver.output(&O).read().len(), 0);
    send(&driver, "wall 1000");
    send(&driver, "s a z 20");
    let read = driver.output(&O).read();
    assert_eq!(read.len(), 1);
    assert_eq!((read[0].0.window.start, read[0].1.as_str()), (10, "yz"));
}

fn after_idle(build: impl FnOnce(&Builder), late: &str) -> String {
    let driver = driver(build);
    let mut seen = 0;
    let mut text = String::new();
    for line in [
        "s a x 3",
        "s b y 14",
        "wall 4999",
        "wall 1",
        late,
        "wall 9000",
        "s c z 90",
        "wall 9000",
    ] {
        text.push_str(line);
        text.push('\n');
        send(&driver, line);
        text.push_str(&news(&driver, "o", &mut seen));
    }
    text
}

#[test]
fn an_idle_timeout_closes_the_last_windows_although_nothing_follows() {
    let tumbling = after_idle(
        |builder| {
            let windows = Tumbling::of(ms(10)).grace(ms(30));
            let table = grouped(builder, &S).windowed_by(windows).emit_final();
            let table = table.idle_timeout(ms(5_000));
            table
                .aggregate_as("w", String::new, append)
                .to_stream()
                .to(&O);
        },
        "s a late 12",
    );
    let expected = "\
s a x 3
s b y 14
wall 4999
wall 1
  o 610000000000000000=x@3
  o 62000000000000000a=y@14
s a late 12
wall 9000
s c z 90
wall 9000
  o 63000000000000005a=z@90
";
    assert_eq!(tumbling, expected);
}

#[test]
fn an_idle_timeout_closes_the_last_sessions_and_sliding_windows() {
    let sessions = after_idle(
        |builder| {
            let table = grouped(builder, &S).windowed_by(Sessions::gap(ms(5)).no_grace());
            let table = table.emit_final().idle_timeout(ms(5_000)).count();
            let topic = Topic::<Windowed<Nullable, SessionWindow>, i64>::new("o");
            table.to_stream().to(&topic);
        },
        "s a late 12",
    );
    assert_eq!(sessions.matches("  o ").count(), 3, "{sessions}");
    let sliding = after_idle(
        |builder| {
            let table = grouped(builder, &S).windowed_by(Sliding::of(ms(5)).no_grace());
            let table = table.emit_final().idle_timeout(ms(5_000));
            table
                .aggregate_as("w", String::new, append)
                .to_stream()
                .to(&O);
        },
        "s a late 13",
    );
    assert!(!sliding.contains("late@"), "{sliding}");
    assert_eq!(sliding.matches("  o ").count(), 3, "{sliding}");
}

#[test]
fn an_idle_timeout_without_final_results_is_refused() {
    let builder = Builder::new("app");
    let table = grouped(&builder, &S).windowed_by(Tumbling::of(ms(10)).no_grace());
    let _ = table.idle_timeout(ms(5)).count();
    let error = builder.build().expect_err("no final results").to_string();
    assert!(error.contains("call `.emit_final()` before"), "{error}");
}

#[test]
fn a_jump_in_time_loses_no_final_result() {
    let lines = ["s a x 3", "s b y 12", "s a z 1000000"];
    let result = |build: &dyn Fn(&Builder)| {
        let driver = driver(build);
        lines.iter().for_each(|line| send(&driver, line));
        news(&driver, "o", &mut 0).lines().count()
    };
    let tumbling = result(&|builder| {
        let table = grouped(builder, &S).windowed_by(Tumbling::of(ms(10)).no_grace());
        let table = table.emit_final().aggregate_as("w", String::new, append);
        table.to_stream().to(&O);
    });
    let sliding = result(&|builder| {
        let table = grouped(builder, &S).windowed_by(Sliding::of(ms(10)).no_grace());
        let table = table.emit_final().aggregate_as("w", String::new, append);
        table.to_stream().to(&O);
    });
    let sessions = result(&|builder| {
        let table = grouped(builder, &S).windowed_by(Sessions::gap(ms(10)).no_grace());
        let table = table.emit_final().count();
        let topic = Topic::<Windowed<Nullable, SessionWindow>, i64>::new("o");
        table.to_stream().to(&topic);
    });
    assert_eq!((tumbling, sliding, sessions), (2, 2, 2));
}
