//! Counts words: the topic `lines` in, the table of counts out to `word-counts`.
//!
//! Run it with `cargo run -p moldau-examples --bin word_count [BOOTSTRAP]`.

use anyhow::Result;
use moldau_streams::{Builder, Raw, StreamsConfig, StreamsError, Topic, Topology};

const LINES: Topic<Option<Raw>, String> = Topic::new("lines");
const WORD_COUNTS: Topic<String, i64> = Topic::new("word-counts");

fn topology() -> Result<Topology, StreamsError> {
    let builder = Builder::new("word-count");
    builder
        .stream(&LINES)
        .flat_map_values(|line, words| {
            words.extend(line.split_whitespace().map(str::to_lowercase));
        })
        .group_by(|_, word: &String| word.clone())
        .count_as("counts")
        .to_stream()
        .to(&WORD_COUNTS);
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
    use super::*;

    #[test]
    fn each_word_is_counted_whatever_its_case() -> Result<()> {
        let test = topology()?.test()?;
        let (lines, counts) = (test.input(&LINES), test.output(&WORD_COUNTS));
        lines.send(None, "To be or not");
        lines.send(None, "to BE");
        let expected = [
            ("to", 1),
            ("be", 1),
            ("or", 1),
            ("not", 1),
            ("to", 2),
            ("be", 2),
        ];
        assert_eq!(
            counts.read(),
            expected.map(|(word, count)| (word.to_owned(), count))
        );
        assert_eq!(test.store::<String, i64>("counts").get("be"), Some(2));
        Ok(())
    }
}
