//! What the operating system says of the broker's process, of this one and of the machine, from `/proc`.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// Flag of a process that ends (include/linux/sched.h).
const PF_EXITING: u64 = 4;

/// CPU time and memory at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Of the broker with its children; `None` when it is not watched or gone.
    broker_cpu: Option<CpuTime>,
    own_cpu: CpuTime,
    /// Seconds of everything on the machine.
    all_cpu: f64,
    /// Bytes of the broker with its children.
    pub(super) broker_memory: u64,
}

/// CPU time as the kernel counts it in two places.
#[derive(Clone, Copy, Debug, Default)]
struct CpuTime {
    /// Seconds in steps of 10 ms, of threads that have ended too.
    coarse: f64,
    /// Seconds to the microsecond, of threads that are there; 0 where the kernel does not tell.
    fine: f64,
}

impl CpuTime {
    /// The fine count, unless it is off by more than the steps of the coarse one: then a thread has ended.
    fn since(self, earlier: CpuTime) -> f64 {
        let (coarse, fine) = (self.coarse - earlier.coarse, self.fine - earlier.fine);
        if fine > 0.0 && (fine - coarse).abs() <= 0.03 + 0.02 * coarse { fine } else { coarse }
    }
}

impl Usage {
    /// Seconds of CPU that the broker has used since an earlier moment; `None` when it was not watched at both.
    pub(super) fn of_broker_since(&self, earlier: &Usage) -> Option<f64> {
        Some(self.broker_cpu?.since(earlier.broker_cpu?))
    }

    /// Of this process.
    pub(super) fn own_since(&self, earlier: &Usage) -> f64 {
        self.own_cpu.since(earlier.own_cpu)
    }

    /// Of everything on the machine.
    pub(super) fn of_all_since(&self, earlier: &Usage) -> f64 {
        self.all_cpu - earlier.all_cpu
    }
}

/// A process with its children.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) pid: u32,
    pub(super) name: String,
}

impl Watched {
    /// `None` when there is no such process.
    pub(super) fn of(pid: u32) -> Option<Watched> {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some(Watched { pid, name: name.trim().into() })
    }

    /// The process of this machine that listens there; it shows to its user and to root only.
    pub(super) fn listening_at(address: SocketAddr) -> Option<Watched> {
        let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
            let text = fs::read_to_string(table).ok()?;
            listener_inode(&text, address.port())
        })?;
        let link = format!("socket:[{inode}]");
        let holds = |pid: &u32| {
            let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| target == Path::new(&link))
        };
        pids().find(holds).and_then(Watched::of)
    }

    /// Whether it runs; one that has ended stays in the table until its parent looks. A process that is killed closes
    /// its sockets before its state, field 3, says so: its flags, field 9, tell by then.
    pub(super) fn is_there(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let Some(fields) = fields_after_name(&stat) else { return false };
        let flags = fields.get(6).and_then(|flags| flags.parse::<u64>().ok());
        !matches!(fields.first(), Some(&("Z" | "X"))) && flags.is_none_or(|flags| flags & PF_EXITING == 0)
    }

    /// Makes the kernel forget the most memory that there has been, where it allows that.
    pub(super) fn forget_peak(&self) {
        let _ = fs::write(format!("/proc/{}/clear_refs", self.pid), "5");
    }

    /// Bytes of memory at most since [`Watched::forget_peak`].
    pub(super) fn peak_memory(&self) -> u64 {
        self.family().iter().map(|(pid, _)| status_kilobytes(*pid, "VmHWM:") * 1024).sum()
    }

    /// It and what it has started, with their CPU time in ticks.
    fn family(&self) -> Vec<(u32, u64)> {
        let all: HashMap<u32, (u32, u64)> = pids().filter_map(|pid| Some((pid, read_stat(pid)?))).collect();
        let is_of_it = |mut pid: u32| {
            // A chain longer than this is none: processes have come and gone while they were read.
            for _ in 0..64 {
                if pid == self.pid {
                    return true;
                }
                let Some((parent, _)) = all.get(&pid) else { return false };
                pid = *parent;
            }
            false
        };
        all.iter().filter(|(pid, _)| is_of_it(**pid)).map(|(pid, (_, ticks))| (*pid, *ticks)).collect()
    }
}

/// How much has been used so far.
pub(super) fn usage(broker: Option<&Watched>) -> Usage {
    let family = broker.map(Watched::family).unwrap_or_default();
    let all = fs::read_to_string("/proc/stat").ok().and_then(|text| all_ticks(&text)).unwrap_or_default();
    let own = std::process::id();
    let own_ticks = read_stat(own).map_or(0, |(_, ticks)| ticks);
    Usage {
        broker_cpu: (!family.is_empty()).then(|| cpu_time(&family)),
        own_cpu: cpu_time(&[(own, own_ticks)]),
        all_cpu: seconds(all),
        broker_memory: family.iter().map(|(pid, _)| status_kilobytes(*pid, "VmRSS:") * 1024).sum(),
    }
}

/// Of processes, with their ticks.
fn cpu_time(processes: &[(u32, u64)]) -> CpuTime {
    CpuTime {
        coarse: seconds(processes.iter().map(|(_, ticks)| ticks).sum()),
        fine: processes.iter().map(|(pid, _)| nanoseconds(*pid) as f64 / 1e9).sum(),
    }
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// What all threads of a process have run: the first field of `schedstat`.
fn nanoseconds(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_thread = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    threads.filter_map(of_thread).sum()
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The parent of a process, and its CPU time in ticks.
fn read_stat(pid: u32) -> Option<(u32, u64)> {
    parent_and_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Field 3 and those that follow. Field 2 is a name in parentheses that may itself hold blanks.
fn fields_after_name(stat: &str) -> Option<Vec<&str>> {
    let (_, after_name) = stat.rsplit_once(')')?;
    Some(after_name.split_whitespace().collect())
}

/// Fields 4 and 14 to 17: user and system time, its own and of children that have ended.
fn parent_and_ticks(stat: &str) -> Option<(u32, u64)> {
    let fields = fields_after_name(stat)?;
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()?;
    Some((fields.get(1)?.parse().ok()?, ticks))
}

/// User, nice, system, interrupts; not idle and not waiting.
fn all_ticks(stat: &str) -> Option<u64> {
    let fields: Vec<_> = stat.lines().next()?.split_whitespace().collect();
    [1, 2, 3, 6, 7].iter().map(|at| fields.get(*at)?.parse::<u64>().ok()).sum()
}

fn status_kilobytes(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// The inode of the socket that listens on a port, from the kernel's table.
fn listener_inode(table: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let listens = fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == LISTEN;
        fields.get(9)?.parse().ok().filter(|_| listens)
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_process_that_listens_is_found_and_uses_cpu_and_memory() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let found = Watched::listening_at(listener.local_addr().unwrap()).unwrap();
        assert_eq!(found.pid, std::process::id());
        assert!(found.is_there());
        let (never, now) = (Usage { broker_cpu: Some(CpuTime::default()), ..Usage::default() }, usage(Some(&found)));
        let cpu = now.of_broker_since(&never).unwrap();
        assert!(cpu > 0.0 && cpu <= now.of_all_since(&never) && now.broker_memory > 1 << 20, "{now:?}");
        assert!(found.peak_memory() > 1 << 20);
        assert!(usage(None).of_broker_since(&now).is_none());
    }

    #[test]
    fn nobody_listens_on_the_port_of_a_client() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(Watched::listening_at(client.local_addr().unwrap()).is_none());
    }

    #[test]
    fn the_fine_count_is_believed_while_it_is_near_the_coarse_one() {
        let since = |coarse, fine| CpuTime { coarse: 1.0 + coarse, fine }.since(CpuTime { coarse: 1.0, fine: 0.0 });
        assert_eq!(since(0.01, 0.0123), 0.0123);
        assert_eq!(since(5.0, 5.09), 5.09);
        // A thread has ended, or the kernel does not tell.
        for fine in [0.7, -3.0, 0.0] {
            assert!((since(1.0, fine) - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn the_kernels_lines_are_read() {
        let stat = "7 (a) b (c) S 3 7 7 0 -1 4194560 100 0 0 0 25 17 4 2 20 0 1 0 5 6 7";
        assert_eq!(parent_and_ticks(stat), Some((3, 48)));
        assert_eq!((parent_and_ticks("7 (a) S 1"), parent_and_ticks("")), (None, None));
        assert_eq!(all_ticks("cpu  1 2 3 1000 500 4 5 9 0 0\ncpu0 1"), Some(15));
        let table = "  sl  local_address\n   0: 0100007F:0016 00000000:0000 01 0 0 0 0 0 5 1\n   \
                     1: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1 x";
        assert_eq!((listener_inode(table, 22), listener_inode(table, 23)), (Some(4711), None));
    }
}
