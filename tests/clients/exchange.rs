//! Every client, in every version and over every transport that it speaks, sends to another one and receives from it.

use crate::broker::{Broker, Transport, unique};
use crate::peer::{Kind, Message, Peer, Version, connect};
use crate::rust::RumqttcV4;

macro_rules! exchanges {
    ($($name:ident: $kind:ident $version:ident $transport:ident;)*) => {$(
        #[test]
        fn $name() {
            exchange(Kind::$kind, Version::$version, Transport::$transport);
        }
    )*};
}

exchanges! {
    mosquitto_3_1_over_tcp: Mosquitto V3 Tcp;
    mosquitto_3_1_1_over_tcp: Mosquitto V4 Tcp;
    mosquitto_5_over_tcp: Mosquitto V5 Tcp;
    mosquitto_3_1_over_tls: Mosquitto V3 Tls;
    mosquitto_3_1_1_over_tls: Mosquitto V4 Tls;
    mosquitto_5_over_tls: Mosquitto V5 Tls;
    paho_3_1_over_tcp: Paho V3 Tcp;
    paho_3_1_1_over_tcp: Paho V4 Tcp;
    paho_5_over_tcp: Paho V5 Tcp;
    paho_3_1_over_tls: Paho V3 Tls;
    paho_3_1_1_over_tls: Paho V4 Tls;
    paho_5_over_tls: Paho V5 Tls;
    paho_3_1_1_over_websocket: Paho V4 WebSocket;
    paho_5_over_websocket: Paho V5 WebSocket;
    paho_3_1_1_over_secure_websocket: Paho V4 SecureWebSocket;
    paho_5_over_secure_websocket: Paho V5 SecureWebSocket;
    mqttjs_3_1_over_tcp: MqttJs V3 Tcp;
    mqttjs_3_1_1_over_tcp: MqttJs V4 Tcp;
    mqttjs_5_over_tcp: MqttJs V5 Tcp;
    mqttjs_3_1_1_over_tls: MqttJs V4 Tls;
    mqttjs_5_over_tls: MqttJs V5 Tls;
    mqttjs_3_1_over_websocket: MqttJs V3 WebSocket;
    mqttjs_3_1_1_over_websocket: MqttJs V4 WebSocket;
    mqttjs_5_over_websocket: MqttJs V5 WebSocket;
    mqttjs_3_1_1_over_secure_websocket: MqttJs V4 SecureWebSocket;
    mqttjs_5_over_secure_websocket: MqttJs V5 SecureWebSocket;
    rumqttc_3_1_1_over_tcp: Rumqttc V4 Tcp;
    rumqttc_5_over_tcp: Rumqttc V5 Tcp;
}

fn exchange(kind: Kind, version: Version, transport: Transport) {
    let broker = Broker::shared();
    let topic = unique("exchange");
    let mut client = connect(kind, version, broker, transport, &unique("c"));
    let mut other = RumqttcV4::connect(broker, Transport::Tcp, &unique("o"));
    client.subscribe(&format!("{topic}/to/client/+"), 2);
    other.subscribe(&format!("{topic}/to/other/#"), 2);
    for message in messages() {
        let to =
            |receiver: &str| Message { topic: format!("{topic}/to/{receiver}/{}", message.topic), ..message.clone() };
        deliver(&mut other, client.as_mut(), &to("client"));
        deliver(client.as_mut(), &mut other, &to("other"));
    }
    // Retained: published before anybody subscribes.
    let kept = Message::new(format!("{topic}/kept"), "kept \u{1f980}", 1).retained();
    client.publish(&kept);
    other.subscribe(&kept.topic, 2);
    assert_eq!(other.receive(), kept);
}

/// One publishes, the other gets the same.
fn deliver(from: &mut dyn Peer, to: &mut dyn Peer, message: &Message) {
    from.publish(message);
    assert_eq!(to.receive(), *message);
}

fn messages() -> Vec<Message> {
    let every_byte: Vec<u8> = (0..=255).collect();
    vec![
        Message::new("plain", "at most once", 0),
        Message::new("plain", "at least once", 1),
        Message::new("plain", "exactly once", 2),
        Message::new("empty", "", 1),
        Message::new("binary", every_byte.clone(), 2),
        Message::new("large", every_byte.repeat(400), 1),
    ]
}
