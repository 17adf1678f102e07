//! What the operating system says of this process, from `/proc`; zeros where there is none.

use std::fs;

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
        let ticks = fs::read_to_string("/proc/self/stat").ok().and_then(|text| cpu_ticks(&text)).unwrap_or_default();
        ProcessStats {
            resident_bytes,
            anonymous_bytes,
            cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
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

/// User and system time: fields 14 and 15. Field 2 is a name in parentheses that may itself hold blanks.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut times = after_name.split_whitespace().skip(11).map(|word| word.parse::<u64>().ok());
    Some(times.next()?? + times.next()??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_files() {
        let stats = ProcessStats::read();
        assert!(stats.anonymous_bytes > 0 && stats.resident_bytes > stats.anonymous_bytes, "{stats:?}");
        assert!(stats.open_files >= 3 && stats.open_files < stats.open_files_max, "{stats:?}");
    }

    #[test]
    fn a_process_name_may_hold_blanks_and_parentheses() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 25 17 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_ticks(stat), Some(42));
    }

    #[test]
    fn what_cannot_be_read_is_zero() {
        assert_eq!((memory("12"), memory("1 x 3"), cpu_ticks("7 (midge) S 1")), (None, None, None));
    }
}
