//! What all clients are told at once. They look at it whenever they run, so that a look has to cost next to nothing.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::fault::Fault;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    Run,
    /// Ask the broker whether it is there, once.
    Ping,
    /// Take leave.
    Stop,
}

#[derive(Default)]
pub(super) struct StageSwitch {
    stage: AtomicU8,
    /// Of every client that listens.
    wakers: Mutex<Vec<Waker>>,
}

/// A client's ear.
pub(super) struct StageListener {
    switch: Arc<StageSwitch>,
    /// The stage that the client knows; `None` before the first look.
    known: Option<Stage>,
}

impl StageSwitch {
    pub(super) fn turn(&self, stage: Stage) {
        self.stage.store(stage as u8, SeqCst);
        self.wakers.lock().iter().for_each(Waker::wake_by_ref);
    }

    pub(super) fn listen(self: Arc<Self>) -> StageListener {
        StageListener { switch: self, known: None }
    }

    pub(super) fn now(&self) -> Stage {
        match self.stage.load(SeqCst) {
            0 => Stage::Run,
            1 => Stage::Ping,
            _ => Stage::Stop,
        }
    }
}

impl StageListener {
    /// The stage, if it is another than at the last look. The client is woken at each change: it stays in its task.
    #[inline]
    pub(super) fn poll_change(&mut self, cx: &Context<'_>) -> Option<Stage> {
        if self.known.is_none() {
            // Before the look, or a change between the two would be missed.
            self.switch.wakers.lock().push(cx.waker().clone());
        }
        let now = self.switch.now();
        (self.known.replace(now) != Some(now)).then_some(now)
    }

    /// Serves until the run stops, or until something goes wrong. Who serves is told whether a ping is due.
    pub(super) async fn until_stop(
        mut self,
        mut poll_serve: impl FnMut(&mut Context<'_>, bool) -> Poll<Fault>,
    ) -> Result<(), Fault> {
        poll_fn(|cx| match self.poll_change(cx) {
            Some(Stage::Stop) => Poll::Ready(Ok(())),
            stage => poll_serve(cx, stage == Some(Stage::Ping)).map(Err),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_wakes_whoever_listens_and_is_told_once() {
        let switch = Arc::<StageSwitch>::default();
        let mut listener = Arc::clone(&switch).listen();
        let heard = tokio::spawn(async move {
            let mut heard = Vec::new();
            poll_fn(|cx| {
                heard.extend(listener.poll_change(cx));
                heard.extend(listener.poll_change(cx));
                if heard.last() == Some(&Stage::Stop) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            heard
        });
        for stage in [Stage::Ping, Stage::Stop] {
            tokio::task::yield_now().await;
            switch.turn(stage);
        }
        assert_eq!(heard.await.unwrap(), [Stage::Run, Stage::Ping, Stage::Stop]);
    }
}
