//! The sockets that HTTP is served on, and how long and how many may use them.
//!
//! The server is hyper's, with an accept loop of ours: axum's knows neither deadlines nor limits.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::message::BrokerTime;
use crate::net::clock::{Alarm, Clock};
use crate::net::unix::{self, SocketFile};

/// Who may open the file may do everything: its owner.
const SOCKET_MODE: u32 = 0o600;
/// Operators are few.
const SOCKET_BACKLOG: i32 = 64;

/// Binds `admin.http`; connections queue in the kernel until [`serve`].
pub async fn bind_http(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Binds the socket of `midge ctl`; its file goes when the second is dropped.
pub fn bind_socket(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    unix::bind(path, SOCKET_MODE, SOCKET_BACKLOG)
}

/// From accept to the last byte of the answer: a request comes in one piece, and a broker with a million sessions takes
/// seconds to list them. Whoever says nothing, or says or reads it slowly, has no more time than that.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// At a time, with one request each; more wait in the kernel. Operators are few, and each connection is a file that a
/// client of MQTT does not get.
const CONNECTIONS_MAX: usize = 64;

/// Answers requests until told to stop, and those that have begun then.
pub async fn serve<L: Listener>(mut socket: L, routes: Router, clock: Clock, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, socket.accept().await.0)
        };
        let (slot, stream) = tokio::select! {
            next = next => next,
            () = stop.cancelled() => break,
        };
        let answering = answer(stream, routes.clone(), Deadline::new(&clock), stop.clone());
        connections.spawn(async move {
            answering.await;
            drop(slot);
        });
    }
    drop(socket);
    connections.close();
    connections.wait().await;
}

/// Serves one request.
async fn answer<S>(stream: S, routes: Router, mut deadline: Deadline, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = TowerToHyperService::new(routes);
    let mut http = http1::Builder::new();
    let connection = http.keep_alive(false).serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut stops = false;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended.map_err(|error| error.to_string()),
            () = deadline.passes() => break Err("the request took too long".to_owned()),
            () = stop.cancelled(), if !stops => {
                stops = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection broke off");
    }
}

/// When a connection has had its time.
struct Deadline {
    at: BrokerTime,
    alarm: Alarm,
}

impl Deadline {
    /// Of a connection that comes now.
    fn new(clock: &Clock) -> Self {
        Deadline { at: clock.now().after(REQUEST_TIMEOUT), alarm: Alarm::new(clock) }
    }

    async fn passes(&mut self) {
        poll_fn(|cx| self.alarm.poll(self.at, cx)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// Always has another client, up to `total`.
    struct Crowd {
        total: usize,
        accepted: Arc<AtomicUsize>,
        clients: tokio::sync::mpsc::UnboundedSender<DuplexStream>,
    }

    impl Listener for Crowd {
        type Io = DuplexStream;
        type Addr = ();

        async fn accept(&mut self) -> (DuplexStream, ()) {
            if self.accepted.load(Relaxed) == self.total {
                std::future::pending::<()>().await;
            }
            self.accepted.fetch_add(1, Relaxed);
            let (client, server) = duplex(1000);
            self.clients.send(client).expect("the test takes it");
            (server, ())
        }

        fn local_addr(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Whatever can happen in other tasks of this thread has happened.
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn more_connections_than_allowed_wait_until_others_go_or_have_had_their_time() {
        let (sender, mut clients) = tokio::sync::mpsc::unbounded_channel();
        let accepted = Arc::new(AtomicUsize::new(0));
        let crowd = Crowd { total: 3 * CONNECTIONS_MAX, accepted: Arc::clone(&accepted), clients: sender };
        let (clock, stop) = (Clock::manual(), CancellationToken::new());
        let serving = tokio::spawn(serve(crowd, Router::new(), clock.clone(), stop.clone()));
        settle().await;
        assert_eq!(accepted.load(Relaxed), CONNECTIONS_MAX);

        let mut first = clients.recv().await.expect("a client");
        first.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("the request is read");
        let mut answer = String::new();
        first.read_to_string(&mut answer).await.expect("an answer and the end");
        assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("connection: close"), "{answer}");
        settle().await;
        assert_eq!(accepted.load(Relaxed), CONNECTIONS_MAX + 1);

        clock.advance(REQUEST_TIMEOUT);
        settle().await;
        assert_eq!(accepted.load(Relaxed), 2 * CONNECTIONS_MAX + 1);
        stop.cancel();
        serving.await.expect("no panic");
    }
}
