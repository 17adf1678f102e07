//! The byte streams that MQTT runs over, as one type: what the kernel gives, TLS around it, WebSocket around that.
//!
//! What `poll_write` takes may still wait inside TLS; only a flush that is ready means that the kernel has it all.

use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use super::websocket::WebSocket;

/// A connected socket.
pub(super) enum Socket {
    Tcp(TcpStream),
    /// Boxed: so the enum is no larger than a TCP stream, of which there may be a million.
    Unix(Box<UnixStream>),
}

/// A socket, with or without TLS.
pub(super) enum Secured {
    Plain(Socket),
    Tls(Box<TlsStream<Metered>>),
}

/// What the driver reads from and writes to: ordered, lossless bytes in both directions ([MQTT-4.2-1]).
pub(super) enum Stream {
    Bare(Secured),
    WebSocket(Box<WebSocket<Secured>>),
}

/// Counts what the kernel takes: TLS takes more than it has handed on.
pub(super) struct Metered {
    socket: Socket,
    taken: u64,
}

impl Metered {
    pub(super) fn new(socket: Socket) -> Self {
        Metered { socket, taken: 0 }
    }

    pub(super) fn into_socket(self) -> Socket {
        self.socket
    }
}

impl Socket {
    /// Waits for bytes and looks at them; they stay to be read.
    pub(super) async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.peek(buf).await,
            Socket::Unix(stream) => {
                let flags = rustix::net::RecvFlags::PEEK;
                let look = || Ok(rustix::net::recv(&**stream, &mut *buf, flags)?.0);
                stream.async_io(Interest::READABLE, look).await
            }
        }
    }
}

impl Stream {
    pub(super) fn bare(socket: Socket) -> Self {
        Stream::Bare(Secured::Plain(socket))
    }

    /// Whether the transport has a way of its own to say that a connection ends, beside the end of the bytes.
    pub(super) fn says_farewell(&self) -> bool {
        !matches!(self, Stream::Bare(Secured::Plain(_)))
    }

    /// True when there is nothing to read and the task is woken when there is; false when only a read can tell.
    pub(super) fn rests(&self, cx: &mut Context<'_>) -> bool {
        match self {
            Stream::Bare(Secured::Plain(Socket::Tcp(stream))) => stream.poll_read_ready(cx).is_pending(),
            Stream::Bare(Secured::Plain(Socket::Unix(stream))) => stream.poll_read_ready(cx).is_pending(),
            // They may hold what they have read.
            Stream::Bare(Secured::Tls(_)) | Stream::WebSocket(_) => false,
        }
    }

    /// Moves while a TLS client takes what was written earlier; elsewhere what is written is taken at once.
    pub(super) fn bytes_taken(&self) -> u64 {
        let secured = match self {
            Stream::Bare(secured) => secured,
            Stream::WebSocket(websocket) => websocket.inner(),
        };
        match secured {
            Secured::Plain(_) => 0,
            Secured::Tls(tls) => tls.get_ref().0.taken,
        }
    }
}

/// Forwards both directions to whatever a variant holds.
macro_rules! forward {
    ($stream:ident: $($variant:pat => $inner:expr),+) => {
        impl AsyncRead for $stream {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $($variant => Pin::new($inner).poll_read(cx, buf),)+
                }
            }
        }

        impl AsyncWrite for $stream {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $($variant => Pin::new($inner).poll_write(cx, buf),)+
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $($variant => Pin::new($inner).poll_write_vectored(cx, slices),)+
                }
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $($variant => Pin::new($inner).poll_flush(cx),)+
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $($variant => Pin::new($inner).poll_shutdown(cx),)+
                }
            }
        }
    };
}

forward!(Socket: Socket::Tcp(stream) => stream, Socket::Unix(stream) => stream.as_mut());
forward!(Secured: Secured::Plain(socket) => socket, Secured::Tls(tls) => tls.as_mut());
forward!(Stream: Stream::Bare(secured) => secured, Stream::WebSocket(websocket) => websocket.as_mut());

impl AsyncRead for Metered {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let metered = self.get_mut();
        let wrote = Pin::new(&mut metered.socket).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(n)) = &wrote {
            metered.taken += *n as u64;
        }
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}
