//! What `windowed_by` takes.

use super::cogrouped::{
    CogroupedKStream, SessionWindowedCogroupedKStream, TimeWindowedCogroupedKStream,
};
use super::grouped::KGroupedStream;
use super::serde::Serde;

use super::session_stream::SessionWindowedKStream;
use super::sessions::Sessions;
use super::sliding::Sliding;

use super::windowed_stream::{AnyWindows, TimeWindowedKStream};
use super::windows::{Hopping, Tumbling};

/// Windows that a grouped stream can be aggregated in: [`Tumbling`], [`Hopping`], [`Sliding`]
/// and [`Sessions`].
pub trait WindowedBy: sealed::Sealed {
    /// A grouped stream in these windows.
    type Stream<K: Serde, V: Serde>;
    /// Co-grouped streams in these windows.
    type Cogrouped<K: Serde, A: Serde>;

    /// Puts a grouped stream into the windows.
    fn stream<K: Serde, V: Serde>(self, grouped: KGroupedStream<K, V>) -> Self::Stream<K, V>;

    /// Puts co-grouped streams into the windows.
    fn cogrouped<K: Serde, A: Serde>(
        self,
        cogrouped: CogroupedKStream<K, A>,
    ) -> Self::Cogrouped<K, A>;
}

macro_rules! time_windows {
    ($($windows:ty: $any:expr),* $(,)?) => {$(
        impl WindowedBy for $windows {
            type Stream<K: Serde, V: Serde> = TimeWindowedKStream<K, V>;
            type Cogrouped<K: Serde, A: Serde> = TimeWindowedCogroupedKStream<K, A>;

            fn stream<K: Serde, V: Serde>(
                self,
                grouped: KGroupedStream<K, V>,
            ) -> TimeWindowedKStream<K, V> {
                TimeWindowedKStream::new(grouped, $any(self))
            }

            fn cogrouped<K: Serde, A: Serde>(
                self,
                cogrouped: CogroupedKStream<K, A>,
            ) -> TimeWindowedCogroupedKStream<K, A> {
                TimeWindowedCogroupedKStream::new(cogrouped, $any(self))
            }
        }

        impl sealed::Sealed for $windows {}
    )*};
}

time_windows! {
    Tumbling: |tumbling: Self| AnyWindows::Time(tumbling.windows),
    Hopping: |hopping: Self| AnyWindows::Time(hopping.windows),
    Sliding: AnyWindows::Sliding,
}

impl WindowedBy for Sessions {
    type Stream<K: Serde, V: Serde> = SessionWindowedKStream<K, V>;
    type Cogrouped<K: Serde, A: Serde> = SessionWindowedCogroupedKStream<K, A>;

    fn stream<K: Serde, V: Serde>(
        self,
        grouped: KGroupedStream<K, V>,
    ) -> SessionWindowedKStream<K, V> {
        SessionWindowedKStream::new(grouped, self)
    }

    fn cogrouped<K: Serde, A: Serde>(
        self,
        cogrouped: CogroupedKStream<K, A>,
    ) -> SessionWindowedCogroupedKStream<K, A> {
        SessionWindowedCogroupedKStream::new(cogrouped, self)
    }
}

impl sealed::Sealed for Sessions {}

mod sealed {
    pub trait Sealed {}
}
