//! SQL on a whole cluster: the embedded broker, or the one that `MOLDAU_TEST_KAFKA` names.

mod bounded;
mod cluster;
mod continuous;
mod postgres;
mod statements;
