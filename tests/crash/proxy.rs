//! A way to the broker that can be cut: for the clients it is as if the broker had been killed, and the broker lives on.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

pub struct Proxy {
    address: SocketAddr,
    /// Both ends of each connection; `None` once the way is cut.
    streams: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Proxy {
    pub fn start(broker: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let streams = Arc::new(Mutex::new(Some(Vec::new())));
        let shared = Arc::clone(&streams);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(upstream) = TcpStream::connect(broker) else { return };
                match shared.lock().expect("never poisoned").as_mut() {
                    Some(streams) => streams.extend([&client, &upstream].map(|end| end.try_clone().expect("a handle"))),
                    None => return,
                }
                forward(&client, &upstream);
                forward(&upstream, &client);
            }
        });
        Self { address, streams }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections, and lets nobody in any more.
    pub fn cut(self) {
        let streams = self.streams.lock().expect("never poisoned").take();
        for stream in streams.into_iter().flatten() {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        // The listener notices with the next one who comes.
        let _ = TcpStream::connect(self.address);
    }
}

fn forward(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().expect("a handle"), to.try_clone().expect("a handle"));
    for stream in [&from, &to] {
        stream.set_nodelay(true).expect("TCP_NODELAY");
    }
    thread::spawn(move || {
        // An end like any other.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
