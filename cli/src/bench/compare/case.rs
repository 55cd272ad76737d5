//! The loads that are compared, and their names.

use moldau_client::{Acks, Compression};

/// One load.
#[derive(Debug, Clone)]
pub(super) enum Case {
    /// Write as fast as the endpoint takes it.
    Produce {
        size: usize,
        acks: Acks,
        compression: Compression,
        partitions: i32,
    },
    /// Read what was just written, again and again.
    ConsumeCache,
    /// Read more than an endpoint is likely to keep in its own memory.
    ConsumeFiles,
    /// Send at a fixed rate, and time each record until it is received.
    Latency { rate: u64 },
    /// Consumers that all read the same topic at once.
    FanOut { consumers: usize },
    /// Connections that do nothing.
    Idle { connections: usize },
    /// Create topics with so many partitions together, ask for their metadata, restart if a command is given.
    Partitions { count: i32 },
}

impl Case {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Produce {
                size,
                acks,
                compression,
                partitions,
            } => {
                let size = if size.is_multiple_of(1024) {
                    format!("{}KiB", size / 1024)
                } else {
                    format!("{size}B")
                };
                let acks = match acks {
                    Acks::None => "0",
                    Acks::Leader => "1",
                    Acks::All => "all",
                };
                format!("produce/{size}/acks={acks}/{compression}/{partitions}p")
            }
            Self::ConsumeCache => "consume/cache".to_owned(),
            Self::ConsumeFiles => "consume/files".to_owned(),
            Self::Latency { rate } => format!("latency/{rate}"),
            Self::FanOut { consumers } => format!("fan-out/{consumers}"),
            Self::Idle { connections } => format!("idle/{connections}"),
            Self::Partitions { count } => format!("partitions/{count}"),
        }
    }
}

/// Every load, or with `quick` a selection.
pub(super) fn cases(quick: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for size in [100, 1024, 16 * 1024] {
        for acks in [Acks::Leader, Acks::All] {
            for compression in [Compression::None, Compression::Lz4] {
                for partitions in [1, 6, 100] {
                    let differs = [
                        size != 1024,
                        acks != Acks::All,
                        compression != Compression::None,
                        partitions != 6,
                    ];
                    // A quick run changes one thing at a time.
                    if quick && differs.iter().filter(|differs| **differs).count() > 1 {
                        continue;
                    }
                    cases.push(Case::Produce {
                        size,
                        acks,
                        compression,
                        partitions,
                    });
                }
            }
        }
    }
    cases.extend([Case::ConsumeCache, Case::ConsumeFiles]);
    let rates: &[u64] = if quick {
        &[1_000]
    } else {
        &[100, 1_000, 10_000]
    };
    cases.extend(rates.iter().map(|&rate| Case::Latency { rate }));
    cases.extend([
        Case::FanOut { consumers: 20 },
        Case::Idle { connections: 1_000 },
        Case::Partitions {
            count: if quick { 1_000 } else { 10_000 },
        },
    ]);
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_load_has_a_name_of_its_own() {
        let mut names: Vec<String> = cases(false).iter().map(Case::name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), count), (count, 36 + 8));
    }

    #[test]
    fn a_quick_run_changes_one_thing_at_a_time() {
        let names: Vec<String> = cases(true).iter().map(Case::name).collect();
        assert_eq!(
            names[..7],
            [
                "produce/100B/acks=all/none/6p",
                "produce/1KiB/acks=1/none/6p",
                "produce/1KiB/acks=all/none/1p",
                "produce/1KiB/acks=all/none/6p",
                "produce/1KiB/acks=all/none/100p",
                "produce/1KiB/acks=all/lz4/6p",
                "produce/16KiB/acks=all/none/6p",
            ]
        );
    }
}
