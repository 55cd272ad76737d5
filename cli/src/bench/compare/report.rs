//! Medians over rounds, and ratios between the two endpoints.

use serde::Serialize;

use super::Durability;
use crate::output::Output;

/// One thing that was measured in one round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figure {
    name: &'static str,
    value: f64,
    higher_is_better: bool,
}

/// A load, and what it gave on both endpoints.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    load: String,
    figures: Vec<Compared>,
}

/// One thing that was measured, over all rounds.
#[derive(Debug, Serialize)]
struct Compared {
    figure: &'static str,
    higher_is_better: bool,
    /// By round: the first endpoint, then the other one.
    rounds: [Vec<f64>; 2],
}

/// The outcome of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) bootstrap: String,
    pub(super) with: String,
    pub(super) durability: Durability,
    /// How each endpoint was told the durability.
    pub(super) settings: [String; 2],
    pub(super) rounds: u32,
    pub(super) megabytes: u64,
    pub(super) loads: Vec<Comparison>,
}

/// A line of the table, and an object of the JSON form.
#[derive(Debug, Serialize)]
struct Row<'a> {
    load: &'a str,
    figure: &'a str,
    moldau: Option<f64>,
    other: Option<f64>,
    /// The first endpoint's median divided by the other one's.
    ratio: Option<f64>,
    higher_is_better: bool,
    rounds: &'a [Vec<f64>; 2],
}

#[derive(Debug, Serialize)]
struct Json<'a> {
    bootstrap: &'a str,
    with: &'a str,
    durability: Durability,
    settings: &'a [String; 2],
    rounds: u32,
    megabytes: u64,
    figures: Vec<Row<'a>>,
}

impl Figure {
    pub(super) fn higher(name: &'static str, value: f64) -> Self {
        Self {
            name,
            value,
            higher_is_better: true,
        }
    }

    pub(super) fn lower(name: &'static str, value: f64) -> Self {
        Self {
            name,
            value,
            higher_is_better: false,
        }
    }
}

impl Comparison {
    pub(super) fn new(load: String) -> Self {
        Self {
            load,
            figures: Vec::new(),
        }
    }

    /// Adds what one round gave on endpoint 0 or 1.
    pub(super) fn add(&mut self, endpoint: usize, figures: Vec<Figure>) {
        for figure in figures {
            let place = self
                .figures
                .iter()
                .position(|known| known.figure == figure.name);
            let place = place.unwrap_or_else(|| {
                self.figures.push(Compared {
                    figure: figure.name,
                    higher_is_better: figure.higher_is_better,
                    rounds: [Vec::new(), Vec::new()],
                });
                self.figures.len() - 1
            });
            self.figures[place].rounds[endpoint].push(figure.value);
        }
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.figures.iter().map(|compared| {
            let [ours, theirs] = [0, 1].map(|endpoint| median(&compared.rounds[endpoint]));
            Row {
                load: &self.load,
                figure: compared.figure,
                moldau: ours,
                other: theirs,
                ratio: ours
                    .zip(theirs)
                    .and_then(|(ours, theirs)| (theirs != 0.0).then(|| ours / theirs)),
                higher_is_better: compared.higher_is_better,
                rounds: &compared.rounds,
            }
        })
    }
}

impl Report {
    /// Prints a table, or one JSON object.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub(super) fn print(&self, output: Output) -> anyhow::Result<()> {
        let rows: Vec<Row<'_>> = self.loads.iter().flat_map(Comparison::rows).collect();
        if output.is_json() {
            return output.object(&Json {
                bootstrap: &self.bootstrap,
                with: &self.with,
                durability: self.durability,
                settings: &self.settings,
                rounds: self.rounds,
                megabytes: self.megabytes,
                figures: rows,
            });
        }
        let (acknowledged, [ours, theirs]) = (self.acknowledged(), &self.settings);
        output.line(format_args!(
            "moldau is {}, other is {}; {} rounds, {} MB per load, medians",
            self.bootstrap, self.with, self.rounds, self.megabytes
        ))?;
        output.line(format_args!(
            "acknowledged {acknowledged} (moldau: {ours}, other: {theirs}); one replica each\n"
        ))?;
        output.rows(
            &["LOAD", "FIGURE", "MOLDAU", "OTHER", "RATIO", "BETTER"],
            &rows,
            |row| {
                let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), shown);
                let better = match row.ratio {
                    None => "-",
                    Some(ratio) if (ratio > 1.0) == row.higher_is_better => "moldau",
                    Some(_) => "other",
                };
                vec![
                    row.load.to_owned(),
                    row.figure.to_owned(),
                    number(row.moldau),
                    number(row.other),
                    row.ratio
                        .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}x")),
                    better.to_owned(),
                ]
            },
        )
    }

    fn acknowledged(&self) -> &'static str {
        match self.durability {
            Durability::Os => "from the page cache",
            Durability::Commit => "after fdatasync",
        }
    }
}

/// With about three digits.
fn shown(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        middle if middle >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The middle value, or the mean of the two in the middle.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(*upper);
    }
    let lower = sorted.get(sorted.len() / 2 - 1)?;
    Some(f64::midpoint(*lower, *upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_value_or_the_mean_of_two() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn a_ratio_is_the_first_endpoints_median_divided_by_the_others() {
        let mut comparison = Comparison::new("produce".to_owned());
        for (ours, theirs) in [(1.0, 4.0), (9.0, 4.0), (2.0, 8.0)] {
            comparison.add(0, vec![Figure::lower("CPU-s/GB", ours)]);
            comparison.add(1, vec![Figure::lower("CPU-s/GB", theirs)]);
        }
        let rows: Vec<Row<'_>> = comparison.rows().collect();
        assert_eq!(
            (rows[0].moldau, rows[0].other, rows[0].ratio),
            (Some(2.0), Some(4.0), Some(0.5))
        );
    }

    #[test]
    fn a_figure_that_one_endpoint_lacks_has_no_ratio() {
        let mut comparison = Comparison::new("start".to_owned());
        comparison.add(0, vec![Figure::lower("start s", 1.0)]);
        assert_eq!(comparison.rows().next().expect("one").ratio, None);
    }
}
