//! Brings partitions back whose disk refused: they are tried again, ever more rarely, until it works.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moldau_protocol::Uuid;
use tracing::{error, warn};

use crate::node::Node;
use crate::runtime::Partition;

/// Looks for failed partitions until it is dropped.
pub(super) async fn run(node: Arc<Node>) {
    let mut tries: HashMap<(Uuid, i32), Try> = HashMap::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let failed: Vec<_> = node
            .partitions
            .all()
            .into_iter()
            .filter(|partition| partition.has_failed())
            .collect();
        tries.retain(|key, _| failed.iter().any(|partition| place(partition) == *key));
        for partition in failed {
            let next = tries.entry(place(&partition)).or_default();
            if next.at <= Instant::now() && !revive(partition).await {
                next.put_off();
            }
        }
    }
}

/// When a partition is tried next.
struct Try {
    at: Instant,
    pause: Duration,
}

impl Default for Try {
    fn default() -> Self {
        Self {
            at: Instant::now(),
            pause: LOOK_EVERY,
        }
    }
}

impl Try {
    fn put_off(&mut self) {
        self.at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

async fn revive(partition: Arc<Partition>) -> bool {
    let tried = Arc::clone(&partition);
    match tokio::task::spawn_blocking(move || tried.revive()).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            warn!(topic = %partition.topic, partition = partition.index, %error, "the disk still refuses");
            false
        }
        Err(error) => {
            error!(%error, "revival ended early");
            false
        }
    }
}

fn place(partition: &Partition) -> (Uuid, i32) {
    (partition.topic_id, partition.index)
}

const LOOK_EVERY: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
