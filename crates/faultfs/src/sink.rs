//! Where the trace goes, which descriptor stands for which file, and which calls are to fail.

use std::{
    collections::HashMap,
    ffi::CStr,
    os::fd::RawFd,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use crate::trace::Operation;

/// The file with the child's own marks.
pub(crate) const MARKS: &str = "acks";

/// The sink of this process; inactive unless both variables are set.
pub(crate) struct Sink {
    root: String,
    trace: RawFd,
    files: HashMap<RawFd, String>,
    /// Bytes that may still be written.
    space: Option<u64>,
    /// Syncs that still succeed.
    syncs: Option<u64>,
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
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
        let (space, syncs) = (number("FAULTFS_SPACE"), number("FAULTFS_SYNCS"));
        Some(Self { root, trace, files: HashMap::new(), space, syncs })
    }

    /// Whether the disk has room for that many bytes more; once it is full it stays full. The child's own
    /// marks need none.
    pub(crate) fn has_room(&mut self, file: RawFd, size: usize) -> bool {
        let own = self.files.get(&file).is_none_or(|path| path == MARKS);
        let Some(space) = self.space.as_mut().filter(|_| !own) else { return true };
        match space.checked_sub(size as u64) {
            Some(left) => *space = left,
            None => *space = 0,
        }
        *space > 0
    }

    /// Whether a sync of that file succeeds; once one has failed all do.
    pub(crate) fn can_sync(&mut self, file: RawFd) -> bool {
        let Some(syncs) = self.syncs.as_mut().filter(|_| self.files.contains_key(&file)) else {
            return true;
        };
        *syncs = syncs.saturating_sub(1);
        *syncs > 0
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
