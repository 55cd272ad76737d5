//! What the coordinator does by itself: aborts transactions that take too long, tries again what
//! failed, and forgets ids that nobody uses.

use moldau_protocol::types::KString;

use super::pending::Pending;
use super::{TransactionAction, TransactionCoordinator, TransactionState};

impl TransactionCoordinator {
    /// When [`Self::handle_timeout`] has something to do, in absolute milliseconds.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<i64> {
        let deadline = self.deadlines.first().map(|(due, _)| *due);
        deadline.into_iter().chain(self.next_expiry_ms).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now_ms: i64) -> Vec<TransactionAction> {
        let mut actions = Vec::new();
        while let Some((due, transactional_id)) = self.deadlines.first().cloned() {
            if due > now_ms {
                break;
            }
            self.set_deadline(&transactional_id, None);
            self.overdue(&transactional_id, now_ms, &mut actions);
        }
        if self.next_expiry_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            let interval_ms = self.settings.expiry_interval_ms.max(1);
            self.next_expiry_ms = Some(now_ms.saturating_add(interval_ms));
            self.expire(now_ms, &mut actions);
        }
        actions
    }

    fn overdue(
        &mut self,
        transactional_id: &KString,
        now_ms: i64,
        actions: &mut Vec<TransactionAction>,
    ) {
        let Some(entry) = self.ids.get(transactional_id) else {
            return;
        };
        match entry.metadata.state {
            // Another change is on its way: it ends the transaction, or fails and sets a deadline.
            _ if entry.in_transition => {}
            TransactionState::Ongoing => {
                let next = entry.metadata.fenced(now_ms);
                actions.extend(self.append(Pending {
                    transactional_id: transactional_id.clone(),
                    next: Some(next),
                    response: None,
                }));
            }
            state if state.is_prepared() => self.tell_partitions(transactional_id, now_ms, actions),
            _ => {}
        }
    }

    /// Ids without a transaction are forgotten when nothing was heard of them for long.
    fn expire(&mut self, now_ms: i64, actions: &mut Vec<TransactionAction>) {
        let expiration_ms = self.settings.expiration_ms;
        let expired = self.ids.iter().filter(|(_, entry)| {
            let silent_ms = now_ms.saturating_sub(entry.metadata.last_update_timestamp_ms);
            !entry.in_transition && entry.metadata.state.is_idle() && silent_ms >= expiration_ms
        });
        let expired: Vec<KString> = expired
            .take(MAX_EXPIRED_AT_ONCE)
            .map(|(id, _)| id.clone())
            .collect();
        for transactional_id in expired {
            actions.extend(self.append(Pending {
                transactional_id,
                next: None,
                response: None,
            }));
        }
    }
}

/// The others follow next time; a tombstone each must not flood the writer's queue.
const MAX_EXPIRED_AT_ONCE: usize = 500;
