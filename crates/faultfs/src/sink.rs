//! Where the trace goes, and which descriptor stands for which file.

use std::{
    collections::HashMap,
    ffi::CStr,
    os::fd::RawFd,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use crate::trace::Operation;

/// The sink of this process; inactive unless both variables are set.
pub(crate) struct Sink {
    root: String,
    trace: RawFd,
    files: HashMap<RawFd, String>,
}

static SINK: OnceLock<Option<Mutex<Sink>>> = OnceLock::new();

/// The sink, locked, so that the trace has the order of the calls. A call that is traced holds it until
/// it is done.
pub(crate) fn sink() -> Option<MutexGuard<'static, Sink>> {
    let sink = SINK.get_or_init(|| Sink::from_environment().map(Mutex::new));
    sink.as_ref().map(|sink| sink.lock().unwrap_or_else(PoisonError::into_inner))
}

// === impl Sink ===

impl Sink {
    #[expect(
        clippy::disallowed_methods,
        reason = "a preloaded library has no other way to be told"
    )]
    fn from_environment() -> Option<Self> {
        let root = std::env::var("FAULTFS_ROOT").ok()?;
        let path = std::ffi::CString::new(std::env::var("FAULTFS_TRACE").ok()?).ok()?;
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
        #[expect(unsafe_code, reason = "a system call that no hook sees")]
        // SAFETY: the path is a valid C string; the call has no other requirement.
        let trace = unsafe {
            libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0o600_i32)
        };
        let trace = RawFd::try_from(trace).ok().filter(|trace| *trace >= 0)?;
        Some(Self { root, trace, files: HashMap::new() })
    }

    /// The path below the root, if it is below it.
    pub(crate) fn inside(&self, path: &CStr) -> Option<String> {
        let path = path.to_str().ok()?;
        let rest = path.strip_prefix(&self.root)?;
        let rest = if rest.is_empty() { rest } else { rest.strip_prefix('/')? };
        Some(rest.to_owned())
    }

    pub(crate) fn opened(&mut self, file: RawFd, path: String) {
        self.files.insert(file, path);
    }

    pub(crate) fn closed(&mut self, file: RawFd) {
        self.files.remove(&file);
    }

    pub(crate) fn path(&self, file: RawFd) -> Option<String> {
        self.files.get(&file).cloned()
    }

    pub(crate) fn record(&self, operation: &Operation) {
        let bytes = operation.encode();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            #[expect(unsafe_code, reason = "a system call that no hook sees")]
            // SAFETY: pointer and length belong to a live slice.
            let written =
                unsafe { libc::syscall(libc::SYS_write, self.trace, rest.as_ptr(), rest.len()) };
            let Some(after) = usize::try_from(written).ok().and_then(|written| rest.get(written..))
            else {
                return;
            };
            rest = after;
        }
    }
}
