//! What the operating system says of this process, most of it from `/proc`; zeros where there is none.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessStats {
    /// Memory in RAM.
    pub resident_bytes: u64,
    /// Of it, what belongs to no file: the heap, with what the allocator keeps, and the stacks.
    pub anonymous_bytes: u64,
    /// CPU time used, in user and kernel mode together.
    pub cpu_seconds: f64,
    pub open_files: u64,
    /// The limit of `open_files`.
    pub open_files_max: u64,
}

impl ProcessStats {
    pub fn read() -> ProcessStats {
        let (resident_bytes, anonymous_bytes) =
            fs::read_to_string("/proc/self/statm").ok().and_then(|text| memory(&text)).unwrap_or_default();
        // `/proc/self/stat` has the same in hundredths of a second.
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        ProcessStats {
            resident_bytes,
            anonymous_bytes,
            cpu_seconds: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
            // Reading the directory takes a descriptor of its own.
            open_files: fs::read_dir("/proc/self/fd").map_or(0, |files| (files.count() as u64).saturating_sub(1)),
            open_files_max: rlimit::Resource::NOFILE.get_soft().unwrap_or_default(),
        }
    }
}

/// Resident and anonymous bytes; `statm` counts pages: size, resident, shared with files, …
fn memory(statm: &str) -> Option<(u64, u64)> {
    let mut pages = statm.split_whitespace().skip(1).map(|word| word.parse::<u64>().ok());
    let (resident, file_backed) = (pages.next()??, pages.next()??);
    let page = rustix::param::page_size() as u64;
    Some((resident * page, resident.saturating_sub(file_backed) * page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_files_and_time() {
        let stats = ProcessStats::read();
        assert!(stats.cpu_seconds > 0.0 && ProcessStats::read().cpu_seconds > stats.cpu_seconds, "{stats:?}");
        assert!(stats.anonymous_bytes > 0 && stats.resident_bytes > stats.anonymous_bytes, "{stats:?}");
        assert!(stats.open_files >= 3 && stats.open_files < stats.open_files_max, "{stats:?}");
    }

    #[test]
    fn what_cannot_be_read_is_zero() {
        assert_eq!((memory("12"), memory("1 x 3")), (None, None));
    }
}
