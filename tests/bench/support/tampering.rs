//! A way to the broker on which something happens to the messages.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// What happens to the messages of each connection, which count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tamper {
    /// This one does not come.
    Drop(usize),
    /// This one comes twice.
    Double(usize),
    /// This one comes after the next one.
    Delay(usize),
    /// Its payload says that another publisher sent it.
    Spoil(usize),
    /// Nothing comes from this one on.
    Freeze(usize),
    /// The connection ends with this one.
    Cut(usize),
    /// The broker's refusal of every client, with this return code.
    Refuse(u8),
}

/// An address from which connections lead to the broker, until the test ends.
pub fn tampering(broker: SocketAddr, tamper: Tamper) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(upstream) = TcpStream::connect(broker) else { return };
            let (mut from_client, mut to_broker) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            thread::spawn(move || {
                let _ = io::copy(&mut from_client, &mut to_broker);
                let _ = to_broker.shutdown(Shutdown::Both);
            });
            thread::spawn(move || {
                let mut way = Way { from: upstream, to: client, tamper, messages: 0, delayed: None };
                let _ = way.forward();
                let _ = way.to.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

/// From the broker to a client.
struct Way {
    from: TcpStream,
    to: TcpStream,
    tamper: Tamper,
    messages: usize,
    delayed: Option<Vec<u8>>,
}

impl Way {
    fn forward(&mut self) -> io::Result<()> {
        loop {
            let packet = read_packet(&mut self.from)?;
            match (packet[0] >> 4, self.tamper) {
                (2, Tamper::Refuse(code)) => self.to.write_all(&[0x20, 2, 0, code])?,
                (3, _) => self.forward_message(packet)?,
                _ => self.to.write_all(&packet)?,
            }
        }
    }

    fn forward_message(&mut self, mut packet: Vec<u8>) -> io::Result<()> {
        self.messages += 1;
        let n = self.messages;
        match self.tamper {
            Tamper::Drop(at) if at == n => return Ok(()),
            Tamper::Double(at) if at == n => self.to.write_all(&packet)?,
            Tamper::Delay(at) if at == n => {
                self.delayed = Some(packet);
                return Ok(());
            }
            // In the smallest payload, the first 8 of 16 bytes say who sent it, the highest byte last.
            Tamper::Spoil(at) if at == n => {
                let highest = packet.len() - 9;
                packet[highest] ^= 0xFF;
            }
            Tamper::Freeze(at) if n >= at => return Ok(()),
            Tamper::Cut(at) if at == n => {
                self.to.shutdown(Shutdown::Both)?;
                self.from.shutdown(Shutdown::Both)?;
            }
            _ => {}
        }
        self.to.write_all(&packet)?;
        match self.delayed.take() {
            Some(delayed) => self.to.write_all(&delayed),
            None => Ok(()),
        }
    }
}

fn read_packet(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut packet = vec![0];
    from.read_exact(&mut packet)?;
    let (mut remaining, mut shift) = (0, 0);
    loop {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        packet.push(byte[0]);
        remaining |= usize::from(byte[0] & 0x7F) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let head = packet.len();
    packet.resize(head + remaining, 0);
    from.read_exact(&mut packet[head..])?;
    Ok(packet)
}
