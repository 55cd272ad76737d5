//! "Did you mean": the closest of the known words.

/// The known word closest to `word`, if it is close enough to be a slip of the pen.
pub(crate) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = normalised(word);
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (edit_distance(&word, &normalised(candidate)), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Case and the choice between `_`, `-` and `.` are the commonest slips and count as none.
fn normalised(word: &str) -> String {
    word.to_lowercase().replace(['-', '.'], "_")
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let width = b.len() + 1;
    let mut rows = vec![0_usize; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let same = usize::from(a[i - 1] != b[j - 1]);
                let mut best = (rows[(i - 1) * width + j] + 1)
                    .min(rows[i * width + j - 1] + 1)
                    .min(rows[(i - 1) * width + j - 1] + same);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[(i - 2) * width + j - 2] + 1);
                }
                best
            };
        }
    }
    rows.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 5] = ["include", "exclude", "read_from", "poll_interval", "rotate"];

    #[test]
    fn a_slip_finds_the_word_that_was_meant() {
        assert_eq!(closest("inclde", KNOWN), Some("include"));
        assert_eq!(closest("inlcude", KNOWN), Some("include"));
        assert_eq!(closest("readFrom", KNOWN), Some("read_from"));
        assert_eq!(closest("poll-interval", KNOWN), Some("poll_interval"));
    }

    #[test]
    fn a_word_of_its_own_finds_nothing() {
        assert_eq!(closest("compression", KNOWN), None);
        assert_eq!(closest("", KNOWN), None);
    }
}
