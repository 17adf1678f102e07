//! A client's end of a connection to a broker that may be gone at any moment.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::received::{ConnAck, Frame};
use crate::wire::{self, Connect, Version};

/// Longer than the broker may be silent.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Connection {
    stream: TcpStream,
    inbox: Vec<u8>,
    pub version: Version,
}

/// What comes next on a connection.
pub enum Next {
    Packet(Frame),
    Closed,
    /// Nothing for as long as was asked for.
    Nothing,
}

impl Connection {
    /// Connects and says CONNECT. `None` when the broker is gone before its CONNACK has come.
    pub fn open(address: SocketAddr, connect: &Connect, patience: Duration) -> Option<(Self, ConnAck)> {
        let stream = TcpStream::connect_timeout(&address, patience).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_write_timeout(Some(patience)).expect("a timeout");
        let mut connection = Self { stream, inbox: Vec::new(), version: connect.version };
        connection.patience(patience);
        connection.send(&connect.bytes())?;
        let Next::Packet(frame) = connection.next() else { return None };
        let connack = ConnAck::read(connection.version, &frame);
        assert_eq!(connack.code, 0, "refused: {connack:02x?}");
        Some((connection, connack))
    }

    /// How long [`Connection::next`] waits.
    pub fn patience(&mut self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).expect("a timeout");
    }

    /// `None` when the broker is gone.
    pub fn send(&mut self, bytes: &[u8]) -> Option<()> {
        self.stream.write_all(bytes).ok()
    }

    pub fn next(&mut self) -> Next {
        let mut chunk = [0; 16_384];
        loop {
            if let Some(frame) = Frame::take(&mut self.inbox) {
                // A broker of MQTT 5 that says goodbye is gone.
                return if frame.kind() == wire::DISCONNECT { Next::Closed } else { Next::Packet(frame) };
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Next::Closed,
                Ok(length) => self.inbox.extend(&chunk[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Next::Nothing;
                }
                Err(_) => return Next::Closed,
            }
        }
    }

    /// Nothing more will be said. `None` when the broker is gone.
    pub fn end_of_input(&self) -> Option<()> {
        self.stream.shutdown(Shutdown::Write).ok()
    }

    /// DISCONNECT, and waits until the broker has let go. `None` when it was gone before.
    pub fn leave(mut self) -> Option<()> {
        self.send(&wire::disconnect())?;
        // To close with its bytes unread would take back what was said.
        self.patience(PATIENCE);
        while matches!(self.next(), Next::Packet(_)) {}
        Some(())
    }
}
