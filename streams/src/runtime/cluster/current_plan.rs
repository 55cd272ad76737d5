//! The plan that the threads of a process follow.

use std::sync::{Arc, PoisonError, RwLock};

use crate::runtime::plan::Plan;

/// The plan that the threads of a process follow. It is replaced when topics come or go that
/// match the pattern of a source.
#[derive(Debug)]
pub(super) struct CurrentPlan(RwLock<Arc<Plan>>);

impl CurrentPlan {
    pub(super) fn new(plan: Plan) -> Self {
        Self(RwLock::new(Arc::new(plan)))
    }

    pub(super) fn get(&self) -> Arc<Plan> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The threads join their group anew for it.
    pub(super) fn set(&self, plan: Plan) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(plan);
    }
}
