//! What a handler gives back.

use std::future::Future;
use std::pin::Pin;

use moldau_protocol::ResponseKind;

/// The outcome of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Send this response.
    Response(Box<ResponseKind>),
    /// Send nothing: Produce with `acks=0`.
    Nothing,
    /// Close the connection, for this reason.
    Close(String),
}

impl Answer {
    pub(crate) fn of(response: impl Into<ResponseKind>) -> Self {
        Self::Response(Box::new(response.into()))
    }
}

/// A request whose handler was started.
pub(crate) enum Admission {
    /// It is finished already.
    Done(Answer),
    /// It is finished when the future is.
    Running(Pin<Box<dyn Future<Output = Answer> + Send>>),
}

impl Admission {
    pub(crate) fn done(response: impl Into<ResponseKind>) -> Self {
        Self::Done(Answer::of(response))
    }

    pub(crate) fn close(reason: String) -> Self {
        Self::Done(Answer::Close(reason))
    }

    pub(crate) fn running<R: Into<ResponseKind>>(
        handler: impl Future<Output = R> + Send + 'static,
    ) -> Self {
        Self::Running(Box::pin(async move { Answer::of(handler.await) }))
    }
}
