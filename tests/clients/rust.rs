//! rumqttc, for 3.1.1 and for 5.0: two modules of that crate with almost the same interface.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, channel};

use crate::broker::{Broker, Transport};
use crate::peer::{Message, Peer};
use crate::program::PATIENCE;

/// What came, as far as the tests ask for it.
enum Event {
    Connected,
    Subscribed,
    /// PUBACK or PUBCOMP.
    Acknowledged,
    Message(Message),
    Failed(String),
}

/// Events of a connection that another thread drives, and messages that came while something else was waited for.
struct Events {
    events: Receiver<Event>,
    messages: VecDeque<Message>,
}

impl Events {
    fn next(&self, what: &str) -> Event {
        match self.events.recv_timeout(PATIENCE) {
            Ok(Event::Failed(why)) => panic!("rumqttc was expected to see {what}: {why}"),
            Ok(event) => event,
            Err(error) => panic!("rumqttc was expected to see {what}: {error}"),
        }
    }

    fn wait(&mut self, what: &str, is: fn(&Event) -> bool) {
        loop {
            match self.next(what) {
                event if is(&event) => return,
                Event::Message(message) => self.messages.push_back(message),
                _ => {}
            }
        }
    }

    fn message(&mut self) -> Message {
        if let Some(message) = self.messages.pop_front() {
            return message;
        }
        loop {
            if let Event::Message(message) = self.next("a message") {
                return message;
            }
        }
    }
}

macro_rules! rumqttc_peer {
    ($name:ident, $($path:ident)::+, $packet:path, $topic:expr, $size:expr) => {
        pub struct $name {
            client: $($path)::+::Client,
            events: Events,
        }

        impl $name {
            pub fn connect(broker: &Broker, transport: Transport, id: &str) -> Self {
                use $($path)::+::{Client, Event as Theirs, MqttOptions};
                use $packet as Packet;
                assert_eq!(transport, Transport::Tcp, "rumqttc is built without TLS and WebSocket");
                let address = broker.address(transport);
                let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
                $size(&mut options);
                let (client, mut connection) = Client::new(options, 100);
                let (sender, events) = channel();
                std::thread::spawn(move || {
                    for event in connection.iter() {
                        let event = match event {
                            Ok(Theirs::Incoming(Packet::ConnAck(_))) => Event::Connected,
                            Ok(Theirs::Incoming(Packet::SubAck(_))) => Event::Subscribed,
                            Ok(Theirs::Incoming(Packet::PubAck(_) | Packet::PubComp(_))) => Event::Acknowledged,
                            Ok(Theirs::Incoming(Packet::Publish(publish))) => Event::Message(Message {
                                topic: $topic(&publish.topic),
                                payload: publish.payload.to_vec(),
                                qos: publish.qos as u8,
                                retain: publish.retain,
                            }),
                            Ok(_) => continue,
                            Err(error) => Event::Failed(error.to_string()),
                        };
                        let over = matches!(event, Event::Failed(_));
                        // Nobody listens any more, or there is nothing more to hear.
                        if sender.send(event).is_err() || over {
                            return;
                        }
                    }
                });
                let mut events = Events { events, messages: VecDeque::new() };
                events.wait("CONNACK", |event| matches!(event, Event::Connected));
                Self { client, events }
            }
        }

        impl Peer for $name {
            fn subscribe(&mut self, filter: &str, qos: u8) {
                use $($path)::+::mqttbytes::qos as qos_of;
                self.client.subscribe(filter, qos_of(qos).expect("a QoS")).expect("rumqttc runs");
                self.events.wait("SUBACK", |event| matches!(event, Event::Subscribed));
            }

            fn publish(&mut self, message: &Message) {
                use $($path)::+::mqttbytes::qos as qos_of;
                let Message { topic, payload, qos, retain } = message.clone();
                self.client.publish(topic, qos_of(qos).expect("a QoS"), retain, payload).expect("rumqttc runs");
                if qos > 0 {
                    self.events.wait("the acknowledgement", |event| matches!(event, Event::Acknowledged));
                }
            }

            fn receive(&mut self) -> Message {
                self.events.message()
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // The connection may be gone already.
                let _ = self.client.disconnect();
            }
        }
    };
}

const PACKET_BYTES_MAX: usize = 2_000_000;

rumqttc_peer!(
    RumqttcV4,
    rumqttc,
    rumqttc::Packet,
    |topic: &String| topic.clone(),
    |options: &mut rumqttc::MqttOptions| {
        options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
    }
);
rumqttc_peer!(
    RumqttcV5,
    rumqttc::v5,
    rumqttc::v5::mqttbytes::v5::Packet,
    |topic: &[u8]| String::from_utf8_lossy(topic).into_owned(),
    |options: &mut rumqttc::v5::MqttOptions| {
        options.set_max_packet_size(u32::try_from(PACKET_BYTES_MAX).ok());
    }
);
