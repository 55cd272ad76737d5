//! Counts page views per user and minute, in windows that take views up to ten seconds late.
//!
//! In: `page-views`, JSON such as `{"user": "ann", "page": "/cart"}`, with any key. Out:
//! `views-per-minute`, keyed by user and window. Views that are no such JSON go to
//! `page-views-rejected`, as they came.
//!
//! Run it with `cargo run -p moldau-examples --bin page_views [BOOTSTRAP]`.

use std::time::Duration;

use anyhow::Result;
use moldau_streams::{
    Builder, Consumed, Json, OnError, Raw, StreamsConfig, StreamsError, Topic, Topology, Tumbling,
    Windowed,
};
use serde::{Deserialize, Serialize};

/// A page that somebody has looked at.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PageView {
    user: String,
    page: String,
}

/// What a user did in one minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Activity {
    views: u64,
    last_page: String,
}

const PAGE_VIEWS: Topic<Option<Raw>, Json<PageView>> = Topic::new("page-views");
const VIEWS_PER_MINUTE: Topic<Windowed<String>, Json<Activity>> = Topic::new("views-per-minute");
const REJECTED: &str = "page-views-rejected";

fn topology() -> Result<Topology, StreamsError> {
    let builder = Builder::new("page-views-per-minute");
    let rejecting = Consumed::new().on_error(OnError::dead_letter(REJECTED));
    builder
        .stream_with(&PAGE_VIEWS, rejecting)
        .group_by(|_, view| view.user.clone())
        .windowed_by(Tumbling::of(Duration::from_secs(60)).grace(Duration::from_secs(10)))
        .aggregate_as(
            "activity",
            || Json(Activity::default()),
            |_, view, activity| {
                activity.views += 1;
                activity.last_page.clone_from(&view.page);
            },
        )
        .to_stream()
        .to(&VIEWS_PER_MINUTE);
    builder.build()
}

fn main() -> Result<()> {
    let bootstrap = moldau_examples::start();
    let config = StreamsConfig {
        commit_interval_ms: Some(1_000),
        ..StreamsConfig::default()
    };
    Ok(topology()?.run(&bootstrap, config)?)
}

#[cfg(test)]
mod tests {
    use moldau_streams::windowed;

    use super::*;

    fn view(user: &str, page: &str) -> PageView {
        PageView {
            user: user.to_owned(),
            page: page.to_owned(),
        }
    }

    #[test]
    fn views_are_counted_per_user_and_minute_and_late_ones_dropped() -> Result<()> {
        let test = topology()?.test()?;
        let (views, activity) = (test.input(&PAGE_VIEWS), test.output(&VIEWS_PER_MINUTE));
        views.send_at(1_000, None, view("ann", "/"));
        views.send_at(59_000, None, view("ann", "/cart"));
        views.send_at(61_000, None, view("bob", "/"));
        views.send_at(2_000, None, view("ann", "/help"));
        views.send_at(70_000, None, view("bob", "/cart"));
        views.send_at(3_000, None, view("ann", "/late"));
        let expected = [
            ("ann", 0, 1, "/"),
            ("ann", 0, 2, "/cart"),
            ("bob", 60_000, 1, "/"),
            ("ann", 0, 3, "/help"),
            ("bob", 60_000, 2, "/cart"),
        ];
        let expected = expected.map(|(user, minute, views, last_page)| {
            let last_page = last_page.to_owned();
            (
                windowed::<String>(user, minute),
                Json(Activity { views, last_page }),
            )
        });
        assert_eq!(activity.read(), expected);
        assert_eq!(test.records_dropped(), 1);
        Ok(())
    }

    #[test]
    fn what_is_no_page_view_is_put_aside() -> Result<()> {
        let test = topology()?.test()?;
        test.input(&PAGE_VIEWS)
            .send_raw(0, None, Some(b"{\"user\": 7}"))?;
        let rejected = test.raw_topic(REJECTED);
        assert_eq!(rejected.len(), 1);
        assert_eq!(
            rejected[0].value.as_deref(),
            Some(b"{\"user\": 7}".as_slice())
        );
        Ok(())
    }
}
