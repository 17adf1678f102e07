"""Eclipse Paho, told on standard input what to do, a JSON object a line; what happens goes to standard output likewise.

Its counterpart in JavaScript is mqttjs_client.cjs: the two understand the same words.
"""

import json
import socket
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

SAY = threading.Lock()
# The words of the conversation, and Paho's attributes.
WORDS = {
    "payload_format_indicator": "PayloadFormatIndicator",
    "message_expiry_interval": "MessageExpiryInterval",
    "content_type": "ContentType",
    "response_topic": "ResponseTopic",
    "correlation_data": "CorrelationData",
    "user": "UserProperty",
    "subscription_identifier": "SubscriptionIdentifier",
    "session_expiry_interval": "SessionExpiryInterval",
    "receive_maximum": "ReceiveMaximum",
    "maximum_packet_size": "MaximumPacketSize",
    "topic_alias_maximum": "TopicAliasMaximum",
    "topic_alias": "TopicAlias",
    "will_delay_interval": "WillDelayInterval",
    "assigned_client_identifier": "AssignedClientIdentifier",
}


def say(event, **details):
    with SAY:
        print(json.dumps({"event": event, **details}), flush=True)


def properties_of(kind, words):
    properties = Properties(kind)
    for word, value in words.items():
        if word == "user":
            value = [tuple(pair) for pair in value]
        if word == "correlation_data":
            value = bytes.fromhex(value)
        setattr(properties, WORDS[word], value)
    return properties


def words_of(properties):
    words = {}
    for word, attribute in WORDS.items():
        value = getattr(properties, attribute, None)
        if value is not None:
            words[word] = value.hex() if isinstance(value, bytes) else value
    return words


class Paho:
    def __init__(self):
        self.client = None
        self.version = None

    def connect(self, host, port, id, version, transport="tcp", ca=None, clean=True, keep_alive=60, will=None,
                user_name=None, password=None, properties={}):
        self.version = version
        more = {} if version == 5 else {"clean_session": clean}
        self.client = client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=id, protocol=version, reconnect_on_failure=False,
            transport="websockets" if transport in ("ws", "wss") else "tcp", **more)
        client.on_connect = lambda c, data, flags, reason, properties: say(
            "connected", session_present=flags.session_present, reason=reason.value, properties=words_of(properties))
        client.on_disconnect = lambda c, data, flags, reason, properties: say(
            "disconnected", reason=reason.value, by_server=flags.is_disconnect_packet_from_server)
        client.on_subscribe = lambda c, data, mid, reasons, properties: say(
            "subscribed", codes=[reason.value for reason in reasons])
        client.on_unsubscribe = lambda c, data, mid, reasons, properties: say(
            "unsubscribed", codes=[reason.value for reason in reasons])
        client.on_publish = lambda c, data, mid, reason, properties: say("published", reason=reason.value)
        client.on_message = lambda c, data, message: say(
            "message", topic=message.topic, payload=message.payload.hex(), qos=message.qos, retain=bool(message.retain),
            dup=bool(message.dup), properties=words_of(message.properties) if version == 5 else {})
        client.max_inflight_messages_set(100)
        if ca:
            client.tls_set(ca_certs=ca)
        if transport in ("ws", "wss"):
            client.ws_set_options(path="/mqtt")
        if user_name is not None:
            client.username_pw_set(user_name, password)
        if will:
            words = will.get("properties", {})
            client.will_set(will["topic"], bytes.fromhex(will["payload"]), will.get("qos", 0), will.get("retain", False),
                            properties=properties_of(PacketTypes.WILLMESSAGE, words) if version == 5 else None)
        more = {}
        if version == 5:
            more = {"clean_start": clean, "properties": properties_of(PacketTypes.CONNECT, properties)}
        client.connect(host, port, keep_alive, **more)
        client.loop_start()

    def subscribe(self, filter, qos=0, no_local=False, retain_as_published=False, retain_handling=0, properties={}):
        if self.version == 5:
            options = SubscribeOptions(qos, no_local, retain_as_published, retain_handling)
            self.client.subscribe(filter, options=options, properties=properties_of(PacketTypes.SUBSCRIBE, properties))
        else:
            self.client.subscribe(filter, qos)

    def unsubscribe(self, filter):
        self.client.unsubscribe(filter)

    def publish(self, topic, payload, qos=0, retain=False, properties={}):
        more = {"properties": properties_of(PacketTypes.PUBLISH, properties)} if self.version == 5 else {}
        self.client.publish(topic, bytes.fromhex(payload), qos, retain, **more)

    def disconnect(self):
        self.client.disconnect()

    def vanish(self):
        self.client.socket().shutdown(socket.SHUT_RDWR)


paho = Paho()
for line in sys.stdin:
    command = json.loads(line)
    try:
        getattr(paho, command.pop("do"))(**command)
    except Exception as error:
        say("failed", why=f"{type(error).__name__}: {error}")
