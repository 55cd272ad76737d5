//! Visits of a web site: the clicks of a user that lie at most half an hour apart.
//!
//! In: `clicks`, JSON such as `{"user": "ann", "page": "/cart"}`, with any key. Out: `visits`,
//! keyed by user and session, one record for each visit that is over: after half an hour of
//! event time without a click, or when nobody at all has clicked for a minute.
//!
//! Run it with `cargo run -p moldau-examples --bin click_sessions [BOOTSTRAP]`.

use std::time::Duration;

use anyhow::Result;
use moldau_streams::{
    Builder, Json, Raw, SessionWindow, Sessions, StreamsConfig, StreamsError, Topic, Topology,
    Windowed,
};
use serde::{Deserialize, Serialize};

/// A click of a user.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Click {
    user: String,
    page: String,
}

/// What a user did in one visit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Visit {
    pages: Vec<String>,
}

const CLICKS: Topic<Option<Raw>, Json<Click>> = Topic::new("clicks");
const VISITS: Topic<Windowed<String, SessionWindow>, Json<Visit>> = Topic::new("visits");

fn topology() -> Result<Topology, StreamsError> {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let builder = Builder::new("click-sessions");
    builder
        .stream(&CLICKS)
        .group_by(|_, click| click.user.clone())
        .windowed_by(Sessions::gap(minutes(30)).grace(minutes(1)))
        .emit_final()
        .idle_timeout(minutes(1))
        .aggregate_as(
            "visits",
            || Json(Visit::default()),
            |_, click, visit| visit.pages.push(click.page.clone()),
            |_, visit, Json(other)| visit.pages.extend(other.pages),
        )
        .to_stream()
        .to(&VISITS);
    builder.build()
}

fn main() -> Result<()> {
    let bootstrap = moldau_examples::start();
    Ok(topology()?.run(&bootstrap, StreamsConfig::default())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    #[test]
    fn a_click_between_two_visits_makes_one_of_them_and_quiet_ends_the_last() -> Result<()> {
        let test = topology()?.test()?;
        let (clicks, visits) = (test.input(&CLICKS), test.output(&VISITS));
        let click = |minute: i64, user: &str, page: &str| {
            let (user, page) = (user.to_owned(), page.to_owned());
            clicks.send_at(minute * MINUTE, None, Click { user, page });
        };
        click(0, "ann", "/");
        click(31, "ann", "/pay");
        click(30, "ann", "/cart");
        click(31, "bob", "/");
        assert_eq!(visits.read(), []);
        click(90, "eve", "/");
        let over = visits.read();
        let shown = |(key, visit): &(Windowed<String, SessionWindow>, Json<Visit>)| {
            let minutes = (key.window.end - key.window.start) / MINUTE;
            format!("{} {minutes} {}", key.key, visit.pages.join(" "))
        };
        let shown: Vec<_> = over.iter().map(shown).collect();
        assert_eq!(shown, ["ann 31 / /pay /cart", "bob 0 /"]);
        test.advance_wall_clock(Duration::from_secs(60));
        assert_eq!(visits.read()[0].0.key, "eve");
        Ok(())
    }
}
