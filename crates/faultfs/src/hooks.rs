//! The calls of the C library that change files. Each is carried out by a system call of its own, and
//! recorded if it concerns the root.
#![expect(unsafe_code, unreachable_pub, reason = "takes the place of functions of the C library")]

use std::{ffi::CStr, os::fd::RawFd};

use libc::{c_char, c_int, c_void, iovec, mode_t, off64_t, size_t, ssize_t};

use crate::{
    sink::{MARKS, Sink, sink},
    trace::Operation,
};

/// Turns the result of a system call into what the C library would have said.
fn result(value: libc::c_long) -> c_int {
    // `libc::syscall` has set errno already; every result of these calls is small.
    c_int::try_from(value).unwrap_or(-1)
}

/// # Safety
/// `path` is a valid C string.
unsafe fn open_at(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    let mut held = sink();
    // SAFETY: passes on what the caller has promised.
    let (file, text) = unsafe {
        let file = result(libc::syscall(libc::SYS_openat, folder, path, flags, mode));
        (file, CStr::from_ptr(path))
    };
    if file >= 0
        && let Some(sink) = held.as_mut()
        && let Some(inside) = sink.inside(text)
    {
        let made = flags & libc::O_CREAT != 0 && length(file) == 0;
        if made || flags & libc::O_TRUNC != 0 {
            sink.record(&Operation::Create(inside.clone()));
        }
        sink.opened(file, inside);
    }
    file
}

fn length(file: RawFd) -> u64 {
    // SAFETY: `fstat` fills the zeroed struct or fails.
    unsafe {
        let mut stat: libc::stat64 = std::mem::zeroed();
        if libc::fstat64(file, &raw mut stat) == 0 {
            u64::try_from(stat.st_size).unwrap_or(0)
        } else {
            0
        }
    }
}

fn position(file: RawFd) -> u64 {
    // SAFETY: both calls only look.
    let (flags, at) = unsafe {
        (
            libc::fcntl(file, libc::F_GETFL),
            libc::syscall(libc::SYS_lseek, file, 0_i64, libc::SEEK_CUR),
        )
    };
    if flags & libc::O_APPEND != 0 { length(file) } else { u64::try_from(at).unwrap_or(0) }
}

/// Fails a call the way the system would.
fn fail(errno: c_int) {
    // SAFETY: the location is this thread's own.
    unsafe { *libc::__errno_location() = errno };
}

fn wrote(sink: &Sink, file: RawFd, at: u64, data: &[u8]) {
    let Some(path) = sink.path(file) else { return };
    if path == MARKS {
        sink.record(&Operation::Ack(data.to_vec()));
    } else {
        sink.record(&Operation::Write(path, at, data.to_vec()));
    }
}

/// # Safety
/// As `open(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: as the caller's.
    unsafe { open_at(libc::AT_FDCWD, path, flags | libc::O_LARGEFILE, mode) }
}

/// # Safety
/// As `open(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: as the caller's.
    unsafe { open_at(libc::AT_FDCWD, path, flags, mode) }
}

/// # Safety
/// As `close(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn close(file: c_int) -> c_int {
    let mut held = sink();
    if let Some(sink) = held.as_mut() {
        sink.closed(file);
    }
    // SAFETY: as the caller's.
    unsafe { result(libc::syscall(libc::SYS_close, file)) }
}

/// # Safety
/// As `write(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(file: c_int, data: *const c_void, size: size_t) -> ssize_t {
    let mut held = sink();
    if held.as_mut().is_some_and(|sink| !sink.has_room(file, size)) {
        fail(libc::ENOSPC);
        return -1;
    }
    let at = position(file);
    // SAFETY: as the caller's; what was written is readable.
    unsafe {
        let written = libc::syscall(libc::SYS_write, file, data, size);
        if let (Some(sink), Ok(size)) = (&held, usize::try_from(written)) {
            wrote(sink, file, at, std::slice::from_raw_parts(data.cast(), size));
        }
        isize::try_from(written).unwrap_or(-1)
    }
}

/// # Safety
/// As `writev(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(file: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    let mut held = sink();
    if held.as_mut().is_some_and(|sink| !sink.has_room(file, 1)) {
        fail(libc::ENOSPC);
        return -1;
    }
    let at = position(file);
    // SAFETY: as the caller's; the vectors are readable as far as they were written.
    unsafe {
        let written = libc::syscall(libc::SYS_writev, file, parts, count);
        if let (Some(sink), Ok(size)) = (&held, usize::try_from(written)) {
            let mut data = Vec::with_capacity(size);
            for part in std::slice::from_raw_parts(parts, usize::try_from(count).unwrap_or(0)) {
                let left = size - data.len();
                let bytes =
                    std::slice::from_raw_parts(part.iov_base.cast::<u8>(), part.iov_len.min(left));
                data.extend_from_slice(bytes);
            }
            wrote(sink, file, at, &data);
        }
        isize::try_from(written).unwrap_or(-1)
    }
}

/// # Safety
/// As `pwrite(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(
    file: c_int,
    data: *const c_void,
    size: size_t,
    at: off64_t,
) -> ssize_t {
    let mut held = sink();
    if held.as_mut().is_some_and(|sink| !sink.has_room(file, size)) {
        fail(libc::ENOSPC);
        return -1;
    }
    // SAFETY: as the caller's; what was written is readable.
    unsafe {
        let written = libc::syscall(libc::SYS_pwrite64, file, data, size, at);
        if let (Some(sink), Ok(size), Ok(at)) = (&held, usize::try_from(written), u64::try_from(at))
        {
            wrote(sink, file, at, std::slice::from_raw_parts(data.cast(), size));
        }
        isize::try_from(written).unwrap_or(-1)
    }
}

/// # Safety
/// As `ftruncate(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ftruncate64(file: c_int, length: off64_t) -> c_int {
    // A file may be made longer on a full disk: that only leaves a hole.
    let held = sink();
    // SAFETY: as the caller's.
    let done = unsafe { result(libc::syscall(libc::SYS_ftruncate, file, length)) };
    if let (0, Some(sink)) = (done, &held)
        && let (Some(path), Ok(length)) = (sink.path(file), u64::try_from(length))
    {
        sink.record(&Operation::Truncate(path, length));
    }
    done
}

fn synced(file: RawFd, number: libc::c_long) -> c_int {
    let mut held = sink();
    if held.as_mut().is_some_and(|sink| !sink.can_sync(file)) {
        fail(libc::EIO);
        return -1;
    }
    // SAFETY: a sync only needs a number; a wrong one is an error.
    let done = unsafe { result(libc::syscall(number, file)) };
    if let (0, Some(sink)) = (done, &held)
        && let Some(path) = sink.path(file)
    {
        sink.record(&Operation::Sync(path));
    }
    done
}

/// # Safety
/// As `fsync(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(file: c_int) -> c_int {
    synced(file, libc::SYS_fsync)
}

/// # Safety
/// As `fdatasync(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(file: c_int) -> c_int {
    synced(file, libc::SYS_fdatasync)
}

/// # Safety
/// As `rename(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: as the caller's.
    unsafe { renameat(libc::AT_FDCWD, from, libc::AT_FDCWD, to) }
}

/// # Safety
/// As `renameat(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn renameat(
    from_folder: c_int,
    from: *const c_char,
    to_folder: c_int,
    to: *const c_char,
) -> c_int {
    let held = sink();
    // SAFETY: as the caller's.
    let (done, from, to) = unsafe {
        let done = libc::syscall(libc::SYS_renameat, from_folder, from, to_folder, to);
        (result(done), CStr::from_ptr(from), CStr::from_ptr(to))
    };
    if let (0, Some(sink)) = (done, &held)
        && let (Some(from), Some(to)) = (sink.inside(from), sink.inside(to))
    {
        sink.record(&Operation::Rename(from, to));
    }
    done
}

/// # Safety
/// `path` is a valid C string.
unsafe fn remove(path: *const c_char, flags: c_int, operation: fn(String) -> Operation) -> c_int {
    let held = sink();
    // SAFETY: as the caller's.
    let (done, path) = unsafe {
        (
            result(libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path, flags)),
            CStr::from_ptr(path),
        )
    };
    if let (0, Some(sink)) = (done, &held)
        && let Some(path) = sink.inside(path)
    {
        sink.record(&operation(path));
    }
    done
}

/// # Safety
/// As `unlink(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: as the caller's.
    unsafe { remove(path, 0, Operation::Remove) }
}

/// # Safety
/// As `rmdir(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rmdir(path: *const c_char) -> c_int {
    // SAFETY: as the caller's.
    unsafe { remove(path, libc::AT_REMOVEDIR, Operation::RemoveFolder) }
}

/// # Safety
/// As `mkdir(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    let held = sink();
    // SAFETY: as the caller's.
    let (done, path) = unsafe {
        (result(libc::syscall(libc::SYS_mkdirat, libc::AT_FDCWD, path, mode)), CStr::from_ptr(path))
    };
    if let (0, Some(sink)) = (done, &held)
        && let Some(path) = sink.inside(path)
    {
        sink.record(&Operation::MakeFolder(path));
    }
    done
}
