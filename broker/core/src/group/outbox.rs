//! What an event of a group asks the shell to do.

use moldau_protocol::ResponseKind;

use super::persist::Persist;
use crate::ids::Token;

/// Answers and records, in the order in which they came about.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) responses: Vec<(Token, ResponseKind)>,
    pub(crate) persists: Vec<Persist>,
}

impl Outbox {
    pub(crate) fn respond(&mut self, token: Token, response: impl Into<ResponseKind>) {
        self.responses.push((token, response.into()));
    }
}
