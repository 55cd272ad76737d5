//! The number of files that this process may have open.
//!
//! Each partition that is written to has an open file, and each connection a socket; the limit that a shell or a
//! service manager gives by default is often 1,024, while the system would allow far more.

/// Raises the limit to the most that the system allows this process. Does nothing where it cannot.
pub(crate) fn raise() {
    platform::raise();
}

#[cfg(unix)]
#[expect(
    unsafe_code,
    reason = "the standard library does not know resource limits"
)]
mod platform {
    pub(super) fn raise() {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: `limit` is a live local that the call fills in.
        let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
        if known && limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max;
            // SAFETY: `limit` is a live local that the call only reads. If it fails, the limit is as it was.
            let _ = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
        }
    }
}

#[cfg(not(unix))]
mod platform {
    pub(super) fn raise() {}
}
