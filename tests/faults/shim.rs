//! Loaded into a broker in front of the C library: a disk that fails and a wall clock that jumps, when a file says so.
//! Built by the tests themselves, no part of the package.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::sync::OnceLock;

#[repr(C)]
pub struct Timespec {
    seconds: c_long,
    nanoseconds: c_long,
}

unsafe extern "C" {
    fn access(path: *const c_char, mode: c_int) -> c_int;
    fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
    fn __errno_location() -> *mut c_int;
}

const EIO: c_int = 5;
const CLOCK_REALTIME: c_int = 0;
const TEN_YEARS: c_long = 3653 * 24 * 3600;

/// The function that is found behind this library. `RTLD_NEXT` is -1.
fn next(symbol: &CStr) -> *mut c_void {
    let found = unsafe { dlsym(-1isize as *mut c_void, symbol.as_ptr()) };
    assert!(!found.is_null(), "{symbol:?} is nowhere");
    found
}

/// Whether there is a file of this name in the directory of the test.
fn is_told(files: &OnceLock<Option<CString>>, name: &str) -> bool {
    let path = files.get_or_init(|| {
        let directory = std::env::var("MIDGE_FAULTS").ok()?;
        CString::new(format!("{directory}/{name}")).ok()
    });
    path.as_ref().is_some_and(|path| unsafe { access(path.as_ptr(), 0) } == 0)
}

fn sync(symbol: &CStr, fd: c_int) -> c_int {
    static FILE: OnceLock<Option<CString>> = OnceLock::new();
    if is_told(&FILE, "disk-fails") {
        unsafe { *__errno_location() = EIO };
        return -1;
    }
    let next: extern "C" fn(c_int) -> c_int = unsafe { std::mem::transmute(next(symbol)) };
    next(fd)
}

#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(c"fdatasync", fd)
}

#[unsafe(no_mangle)]
pub extern "C" fn fsync(fd: c_int) -> c_int {
    sync(c"fsync", fd)
}

#[unsafe(no_mangle)]
pub extern "C" fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int {
    static NEXT: OnceLock<extern "C" fn(c_int, *mut Timespec) -> c_int> = OnceLock::new();
    static FORWARD: OnceLock<Option<CString>> = OnceLock::new();
    static BACK: OnceLock<Option<CString>> = OnceLock::new();
    let next = NEXT.get_or_init(|| unsafe { std::mem::transmute(next(c"clock_gettime")) });
    let result = next(clock, time);
    if clock == CLOCK_REALTIME && result == 0 {
        let jump = c_long::from(is_told(&FORWARD, "clock-forward")) - c_long::from(is_told(&BACK, "clock-back"));
        unsafe { (*time).seconds += jump * TEN_YEARS };
    }
    result
}
