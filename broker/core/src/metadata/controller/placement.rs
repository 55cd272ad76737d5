//! On which brokers the replicas of a partition go.

use std::collections::BTreeSet;

use moldau_protocol::error_code::ErrorCode;

use super::Controller;
use crate::rejection::Rejection;

impl Controller<'_> {
    /// Replicas for partitions `first..first + count`, spread evenly over the live brokers.
    ///
    /// # Errors
    /// There are fewer live brokers than replicas.
    pub(super) fn place(
        &self,
        first: i32,
        count: i32,
        replication_factor: i16,
    ) -> Result<Vec<Vec<i32>>, Rejection> {
        let live = self.live_brokers();
        let replicas = usize::try_from(replication_factor).unwrap_or_default();
        if replicas > live.len() {
            let message = format!(
                "replication factor {replicas} is larger than the number of live brokers, {}",
                live.len()
            );
            return Err(Rejection::new(ErrorCode::InvalidReplicationFactor, message));
        }
        // Topics differ in where they start, or all first partitions would lie on one broker.
        let start = self.image.partition_count();
        let first = usize::try_from(first).unwrap_or_default();
        let partition = |index: usize| {
            let node = |replica: usize| {
                live.get((start + first + index + replica) % live.len().max(1))
                    .copied()
            };
            (0..replicas).filter_map(node).collect()
        };
        Ok((0..usize::try_from(count).unwrap_or_default())
            .map(partition)
            .collect())
    }

    /// Checks replicas that a person chose.
    ///
    /// # Errors
    /// They are empty, repeated, unknown, or not as many as `replication_factor`.
    pub(super) fn check_assignment(
        &self,
        index: i32,
        brokers: &[i32],
        replication_factor: usize,
    ) -> Result<(), Rejection> {
        let refuse =
            |message: String| Err(Rejection::new(ErrorCode::InvalidReplicaAssignment, message));
        if brokers.is_empty() {
            return refuse(format!("partition {index} has no replica"));
        }
        if brokers.iter().collect::<BTreeSet<_>>().len() != brokers.len() {
            return refuse(format!(
                "partition {index} has a broker twice in {brokers:?}"
            ));
        }
        if let Some(unknown) = brokers
            .iter()
            .find(|broker| self.image.broker(**broker).is_none())
        {
            return refuse(format!(
                "partition {index} is assigned to broker {unknown}, which is not registered"
            ));
        }
        if brokers.len() != replication_factor {
            let count = brokers.len();
            return refuse(format!(
                "partition {index} has {count} replicas, others have {replication_factor}"
            ));
        }
        Ok(())
    }

    pub(super) fn live_brokers(&self) -> Vec<i32> {
        self.image
            .brokers()
            .filter(|broker| broker.live)
            .map(|broker| broker.id)
            .collect()
    }
}
