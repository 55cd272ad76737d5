//! Giving memory back to the system.

/// Returns free memory of this process to the system. Takes some milliseconds.
///
/// The C library keeps what was freed for later allocations, which is right under load and wrong after it.
/// Does nothing where the C library cannot.
pub(crate) fn give_back() {
    platform::give_back();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "only libc knows how to trim its heap")]
mod platform {
    pub(super) fn give_back() {
        // SAFETY: takes a number only, and may be called at any time from any thread.
        let _ = unsafe { libc::malloc_trim(0) };
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod platform {
    pub(super) fn give_back() {}
}
