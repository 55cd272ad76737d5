//! What is likely in a run, and in this part of it.
//!
//! Runs that do everything equally often all look alike. So each run draws which actions are
//! frequent, rare or absent, and draws again now and then: some stretches are calm, some have one
//! kind of trouble only.

use rand::RngExt;
use rand::rngs::SmallRng;

/// Something that can happen in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Produce,
    Resend,
    DeliverRequest,
    DeliverResponse,
    DoubleRequest,
    DropRequest,
    DropResponse,
    Write,
    StartSync,
    FinishSync,
    TellCoordinator,
    MemberActs,
    Commit,
    FetchOffsets,
    DeleteOffsets,
    PassTime,
    JumpTime,
    Read,
    Maintain,
    DeleteRecords,
    Checkpoint,
    FailDisk,
    FillDisk,
    CutPower,
    Crash,
    Kill,
    Close,
    CheckReplay,
    ConsumerActs,
    TransactorActs,
    SendMarker,
    CheckTransactions,
    FollowTransactions,
}

/// Each action with its usual weight, and whether it is a trouble that some runs are spared.
const ACTIONS: [(Action, u32, bool); 33] = [
    (Action::Produce, 100, false),
    (Action::Resend, 15, false),
    (Action::DeliverRequest, 90, false),
    (Action::DeliverResponse, 70, false),
    (Action::DoubleRequest, 8, true),
    (Action::DropRequest, 5, true),
    (Action::DropResponse, 8, true),
    (Action::Write, 70, false),
    (Action::StartSync, 40, false),
    (Action::FinishSync, 40, false),
    (Action::TellCoordinator, 60, false),
    (Action::MemberActs, 60, false),
    (Action::Commit, 20, false),
    (Action::FetchOffsets, 8, false),
    (Action::DeleteOffsets, 1, true),
    (Action::PassTime, 40, false),
    (Action::JumpTime, 1, true),
    (Action::Read, 15, false),
    (Action::Maintain, 6, false),
    (Action::DeleteRecords, 1, true),
    (Action::Checkpoint, 4, false),
    (Action::FailDisk, 2, true),
    (Action::FillDisk, 1, true),
    (Action::CutPower, 3, true),
    (Action::Crash, 2, true),
    (Action::Kill, 2, true),
    (Action::Close, 1, true),
    (Action::CheckReplay, 3, false),
    (Action::ConsumerActs, 40, false),
    (Action::TransactorActs, 80, false),
    (Action::SendMarker, 25, false),
    (Action::CheckTransactions, 3, false),
    (Action::FollowTransactions, 15, false),
];

/// The weights of a stretch of steps.
#[derive(Debug)]
pub(super) struct Weather {
    weights: [u32; ACTIONS.len()],
    steps_left: u32,
}

impl Weather {
    pub(super) fn new(random: &mut SmallRng) -> Self {
        let weights = ACTIONS.map(|(_, usual, is_trouble)| match random.random_range(0..8) {
            0 if is_trouble => 0,
            0 | 1 => usual.div_ceil(5),
            2 => usual * 4,
            _ => usual,
        });
        Self {
            weights,
            steps_left: random.random_range(20..200),
        }
    }

    /// The next action.
    pub(super) fn draw(&mut self, random: &mut SmallRng) -> Action {
        if self.steps_left == 0 {
            *self = Self::new(random);
        }
        self.steps_left -= 1;
        let mut left = random.random_range(0..self.weights.iter().sum());
        for ((action, _, _), weight) in ACTIONS.iter().zip(self.weights) {
            if left < weight {
                return *action;
            }
            left -= weight;
        }
        Action::PassTime
    }
}
