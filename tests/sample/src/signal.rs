//! SIGTERM without a crate. The signal is *blocked* in every thread and fetched by one thread with
//! `sigwait`: no handler, so nothing has to be async-signal-safe, and it also works as PID 1, where
//! a signal without a handler is otherwise ignored.

use std::ffi::c_int;

const SIGTERM: c_int = 15;
const SIG_BLOCK: c_int = 0;

/// `sigset_t` of Linux on glibc and musl: 1024 bits.
#[repr(C)]
struct SignalSet([u64; 16]);

unsafe extern "C" {
    fn sigemptyset(set: *mut SignalSet) -> c_int;
    fn sigaddset(set: *mut SignalSet, signal: c_int) -> c_int;
    fn pthread_sigmask(how: c_int, set: *const SignalSet, old: *mut SignalSet) -> c_int;
    fn sigwait(set: *const SignalSet, signal: *mut c_int) -> c_int;
}

/// SIGTERM, blocked since [`Terminations::block`].
pub struct Terminations(SignalSet);

impl Terminations {
    /// Call before the first thread starts: threads inherit the mask.
    pub fn block() -> Self {
        let mut set = SignalSet([0; 16]);
        // SAFETY: `set` is a valid, writable `sigset_t`; a null `old` is allowed.
        unsafe {
            sigemptyset(&mut set);
            sigaddset(&mut set, SIGTERM);
            pthread_sigmask(SIG_BLOCK, &set, std::ptr::null_mut());
        }
        Self(set)
    }

    /// Returns when a SIGTERM has arrived.
    pub fn wait(&self) {
        let mut signal: c_int = 0;
        // SAFETY: both pointers are valid for the call; EINTR is not an error of `sigwait`.
        while unsafe { sigwait(&self.0, &mut signal) } != 0 {}
    }
}
