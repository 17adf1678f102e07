//! Sleeps for microseconds: tokio's own timer counts in milliseconds, too coarse for a rate of thousands a second.

#[cfg(target_os = "linux")]
pub(super) use self::timerfd::PreciseTimer;
#[cfg(not(target_os = "linux"))]
pub(super) use self::tokio_timer::PreciseTimer;

#[cfg(target_os = "linux")]
mod timerfd {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;

    pub(in crate::bench) struct PreciseTimer(AsyncFd<OwnedFd>);

    impl PreciseTimer {
        pub(in crate::bench) fn new() -> io::Result<PreciseTimer> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            #[expect(
                deprecated,
                reason = "what comes after it is unsafe for types that change their file; this one cannot"
            )]
            let timer = AsyncFd::new(timer)?;
            Ok(PreciseTimer(timer))
        }

        pub(in crate::bench) async fn wait(&self, duration: Duration) -> io::Result<()> {
            // Zero would stop it.
            let it_value = Timespec::try_from(duration.max(Duration::from_nanos(1))).map_err(io::Error::other)?;
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
            loop {
                let mut ready = self.0.readable().await?;
                let read = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut [0; 8])?));
                if let Ok(outcome) = read {
                    return outcome.map(drop);
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod tokio_timer {
    use std::io;
    use std::time::Duration;

    pub(in crate::bench) struct PreciseTimer;

    impl PreciseTimer {
        pub(in crate::bench) fn new() -> io::Result<PreciseTimer> {
            Ok(PreciseTimer)
        }

        pub(in crate::bench) async fn wait(&self, duration: Duration) -> io::Result<()> {
            tokio::time::sleep(duration).await;
            Ok(())
        }
    }
}
