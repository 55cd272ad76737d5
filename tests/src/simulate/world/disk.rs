//! What the disk goes through: maintenance, faults, the ends of the broker and its new starts.

use std::io;

use moldau_core::config::FlushMode;
use moldau_log::SimOperation;
use rand::RngExt;

use super::{GROUPS, PRODUCER_EXPIRATION_MS, World};
use crate::simulate::members::group_id;
use crate::simulate::model::End;
use crate::simulate::node::Node;
use crate::simulate::producers::Producer;

impl World {
    pub(super) fn maintain(&mut self) {
        let Some(node) = &mut self.node else { return };
        for (index, partition) in node.partitions.iter_mut().enumerate() {
            let before = partition.files();
            // A disk that refuses is tried again later.
            let done = partition.maintain(self.now_ms, PRODUCER_EXPIRATION_MS);
            let after = partition.files();
            if before != after {
                let line = format!("partition {index} maintained ({done:?}), now {after:?}");
                self.trace.push_back(line);
            }
        }
    }

    pub(super) fn delete_records(&mut self) {
        let partition = self.random.random_range(0..self.settings.data.len());
        let Some(node) = &mut self.node else { return };
        let partition = &mut node.partitions[partition];
        let start = partition.leader.log_start_offset().0;
        let end = partition.leader.high_watermark().0;
        let offset = self.random.random_range(start..end + 1);
        let _deleted = partition.delete_records(offset);
    }

    pub(super) fn checkpoint(&mut self) {
        // An error is tried again later.
        let _written = self.node.as_ref().expect("it runs").checkpoint();
    }

    pub(super) fn fail_disk(&mut self) {
        let kind = io::ErrorKind::Other;
        match self.random.random_range(0..7) {
            0 => self.storage.fail_next(SimOperation::Sync, kind),
            1 => self.storage.fail_next(SimOperation::SyncDirectory, kind),
            2 => self.storage.fail_next(SimOperation::Create, kind),
            3 => self.storage.fail_next(SimOperation::Rename, kind),
            4 => self.storage.fail_next(SimOperation::SetSize, kind),
            _ => {
                let written = self.random.random_range(0..500);
                self.storage.tear_next_write(written, kind);
            }
        }
    }

    pub(super) fn fill_disk(&mut self) {
        let capacity = match self.chance(2) {
            true => None,
            false => Some(self.storage.used() + self.random.random_range(0..4_000)),
        };
        self.storage.set_capacity(capacity);
    }

    pub(super) fn close(&mut self) {
        let kept = self.kept(End::Kill);
        // What was queued is written and synced before.
        for partition in 0..self.settings.partitions() {
            self.write(partition);
        }
        let ends = self.kept(End::Kill);
        let Some(node) = self.node.take() else { return };
        let failed = node
            .partitions
            .iter()
            .any(|partition| partition.has_failed());
        let lost_power = self.kept_of(&node, End::PowerLoss);
        match node.close() {
            Ok(()) => {
                // Nothing may be lost then, even if the power goes at once.
                self.storage.crash(self.random.random());
                self.note("closed cleanly".to_owned());
                self.start_again(&ends, &ends);
            }
            Err(_) if !self.storage.has_power() => {
                self.storage.crash(self.random.random());
                self.start_again(&lost_power, &lost_power);
            }
            Err(error) => {
                self.note(format!("close failed ({failed}): {error}"));
                self.storage.kill();
                self.start_again(&kept, &lost_power);
            }
        }
    }

    /// What of each partition must be there after such an end.
    pub(super) fn kept(&self, end: End) -> Vec<i64> {
        self.kept_of(self.node.as_ref().expect("it runs"), end)
    }

    pub(super) fn kept_of(&self, node: &Node, end: End) -> Vec<i64> {
        let partitions = self.models.iter().zip(&node.partitions);
        partitions
            .map(|(model, partition)| model.kept(partition, end))
            .collect()
    }

    pub(super) fn restart(&mut self, end: End) {
        let kept = self.kept(end);
        let lost_power = self.kept(End::PowerLoss);
        self.node = None;
        match end {
            End::Kill => self.storage.kill(),
            End::PowerLoss => self.storage.crash(self.random.random()),
        }
        self.note(format!("{end:?}, kept {kept:?}"));
        self.start_again(&kept, &lost_power);
    }

    /// Starts the broker; the power may go again while it starts, after which only what is in
    /// `lost_power` must be there.
    pub(super) fn start_again(&mut self, kept: &[i64], lost_power: &[i64]) {
        self.storage.set_capacity(None);
        self.storage.clear_faults();
        let mut kept = kept.to_vec();
        self.life += 1;
        self.summary.restarts += 1;
        let node = loop {
            if self.chance(4) {
                let calls = self.random.random_range(0..60);
                self.storage.cut_power_after(calls);
            }
            match Node::start(&self.settings, &self.storage, self.life, self.now_ms) {
                Ok(node) if self.storage.has_power() => break node,
                Ok(_) => {}
                Err(error) => {
                    assert!(
                        !self.storage.has_power(),
                        "the broker does not start: {error}"
                    );
                }
            }
            self.storage.crash(self.random.random());
            self.note("power lost while starting".to_owned());
            kept.clear();
            kept.extend(lost_power);
        };
        self.node = Some(node);
        self.compare(&kept);
    }

    /// Compares what the broker found with what must be there.
    pub(super) fn compare(&mut self, kept: &[i64]) {
        let mut lost_data = false;
        for (index, kept) in kept.iter().enumerate() {
            let node = self.node.as_ref().expect("it runs");
            let partition = &node.partitions[index];
            let lost = self.models[index].recovered(partition, *kept, self.deleting);
            if !lost || self.settings.flush(index) == FlushMode::Commit {
                continue;
            }
            if index < self.settings.data.len() {
                lost_data = true;
            } else {
                let groups = (0..=GROUPS)
                    .filter(|group| self.settings.partition_of_group(&group_id(*group)) == index);
                for group in groups.collect::<Vec<_>>() {
                    self.promises.forget(group);
                }
            }
        }
        if lost_data {
            self.producers.iter_mut().for_each(Producer::start_over);
            self.transactions_lost_data();
        }
        self.check_transactions();
        self.forget_gone_groups();
        self.check_offsets();
    }
}
