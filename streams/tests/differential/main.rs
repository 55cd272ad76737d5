//! The same topologies and inputs on Kafka Streams and on Moldau: outputs, changelogs, repartition
//! topics and descriptions are the same.
//!
//! `golden.jsonl` holds cases with the answers of Kafka Streams 4.3, so that these are compared
//! without Java. `tests/clients/streams_differential.sh` compares as many fresh cases as `CASES`
//! says with the JVM itself, from `MOLDAU_TEST_SEED` on.

mod case;
mod functions;
mod generate;
mod grouped;
mod input;
mod interpret;
mod jvm;
mod processors;
mod report;
mod shrink;
mod streams;
mod tables;
mod windowed;

use std::collections::BTreeMap;
use std::io::Write;

use case::{Answer, Case};
use jvm::Jvm;

/// Variable with the command that starts Kafka Streams.
const JVM: &str = "MOLDAU_STREAMS_JVM";

#[test]
fn recorded_answers_of_kafka_streams_are_moldaus() {
    let mut compared = 0;
    for line in GOLDEN.lines() {
        let (case, expected): (Case, Answer) = serde_json::from_str(line).expect("a case");
        let answer = interpret::answer(&case);
        let answers = (expected, answer);
        assert!(
            !differ(&answers),
            "{}",
            report::report(&case, &answers.0, &answers.1)
        );
        compared += 1;
    }
    assert!(compared >= 50, "only {compared} recorded cases");
}

#[test]
fn fresh_answers_of_kafka_streams_are_moldaus() {
    let Ok(command) = std::env::var(JVM) else {
        return;
    };
    let mut jvm = Jvm::start(&command);
    let first_seed = number("MOLDAU_TEST_SEED").unwrap_or_else(fresh_seed);
    let cases = number("CASES").unwrap_or(DEFAULT_CASES);
    let mut operators = BTreeMap::<String, u64>::new();
    let mut mismatches = 0;
    let mut refused = 0;
    for seed in first_seed..first_seed + cases {
        let case = generate::case(seed);
        for operator in case.operators() {
            *operators.entry(operator).or_default() += 1;
        }
        let answers = both(&mut jvm, &case);
        refused += u64::from(answers.0.error.is_some());
        if !differ(&answers) {
            continue;
        }
        let hook = std::panic::take_hook();
        // Smaller cases that are no topologies panic; nobody needs to see that.
        std::panic::set_hook(Box::new(|_| {}));
        let smallest = shrink::shrink(&case, |case| {
            let smaller = both(&mut jvm, case);
            differ(&smaller) && failures(&smaller) == failures(&answers)
        });
        std::panic::set_hook(hook);
        let (expected, answer) = both(&mut jvm, &smallest);
        say(&report::report(&smallest, &expected, &answer));
        mismatches += 1;
        if mismatches == MOST_MISMATCHES {
            break;
        }
    }
    say(&format!(
        "{cases} cases from seed {first_seed}, {refused} refused by Kafka Streams; operators: {operators:?}"
    ));
    assert_eq!(mismatches, 0, "answers differ");
    assert!(refused * 50 <= cases.max(50), "too many cases are none");
}

/// Writes `golden.jsonl` anew: `MOLDAU_STREAMS_JVM=.. UPDATE_GOLDEN=200`.
#[test]
fn golden_file_is_written_when_asked_for() {
    let (Ok(command), Some(cases)) = (std::env::var(JVM), number("UPDATE_GOLDEN")) else {
        return;
    };
    let mut jvm = Jvm::start(&command);
    let mut golden = String::new();
    for seed in 1..=cases {
        let case = generate::case(seed);
        let answer = jvm.answer(&case).comparable();
        if answer.error.is_some() {
            continue;
        }
        golden += &serde_json::to_string(&(case, answer)).expect("JSON");
        golden.push('\n');
    }
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    let path = format!("{folder}/tests/differential/golden.jsonl");
    std::fs::write(path, golden).expect("the golden file");
}

/// What Kafka Streams and Moldau make of a case.
fn both(jvm: &mut Jvm, case: &Case) -> (Answer, Answer) {
    (jvm.answer(case), interpret::answer(case))
}

/// What Kafka Streams refuses, Moldau may take: it can join a table whose node Kafka Streams has not
/// added yet, for example.
fn differ((expected, answer): &(Answer, Answer)) -> bool {
    expected.error.is_none() && expected.comparable() != answer.comparable()
}

/// How each side failed, if it did; a smaller case must fail in the same way.
fn failures((expected, answer): &(Answer, Answer)) -> [Option<String>; 2] {
    [expected, answer].map(|answer| {
        let error = answer.error.as_ref()?;
        Some(error.chars().take(40).collect())
    })
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|error| panic!("{variable}={text}: {error}")),
    )
}

fn fresh_seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(1, |since| since.as_secs() * 10_000)
}

/// Past the harness, which shows output only of tests that fail.
fn say(text: &str) {
    // Nothing is lost if nobody reads.
    let _ = writeln!(std::io::stderr(), "{text}");
}

const GOLDEN: &str = include_str!("golden.jsonl");
const DEFAULT_CASES: u64 = 300;
const MOST_MISMATCHES: u32 = 8;
