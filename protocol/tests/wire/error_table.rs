//! Error codes against Kafka's table.

use moldau_protocol::ErrorCode;

use crate::golden::text;

#[test]
fn codes_names_and_retriable_flags_are_kafkas() {
    let text = text("errors.tsv");
    let rows: Vec<Vec<&str>> = text
        .lines()
        .skip(1)
        .map(|line| line.split('\t').collect())
        .collect();
    assert_eq!(rows.len(), ErrorCode::ALL.len());
    for (row, code) in rows.iter().zip(ErrorCode::ALL) {
        let ours = [
            code.code().to_string(),
            code.name().to_owned(),
            code.is_retriable().to_string(),
        ];
        assert_eq!(row[..3], ours);
    }
}
