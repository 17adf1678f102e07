//! What people type: mosquitto_pub, mosquitto_sub and mosquitto_rr, in every version of the protocol.

use std::ffi::OsString;

use serde_json::json;

use crate::broker::{Broker, Transport, unique};
use crate::mosquitto::{message, options, publish, run, subscribe};
use crate::peer::{Kind, Message, Version};
use crate::program::Program;
use crate::script::Script;

fn tcp(version: Version) -> Vec<OsString> {
    options(version, Broker::shared(), Transport::Tcp)
}

/// Runs a mosquitto_sub that ends by itself, or else within half a minute, and returns what it wrote.
fn collect(options: &[OsString], more: &[&str]) -> Vec<u8> {
    run("mosquitto_sub", options, &[more, &["-W", "30"]].concat(), b"")
}

fn lines(output: Vec<u8>) -> Vec<String> {
    String::from_utf8(output).expect("text").lines().map(str::to_owned).collect()
}

macro_rules! each_version {
    ($($test:ident)*) => {$(
        mod $test {
            use crate::peer::Version;
            #[test]
            fn v3_1() {
                super::$test(Version::V3);
            }
            #[test]
            fn v3_1_1() {
                super::$test(Version::V4);
            }
            #[test]
            fn v5() {
                super::$test(Version::V5);
            }
        }
    )*};
}

each_version! {
    the_command_of_the_readme
    a_thousand_lines_arrive_in_order
    a_session_that_is_away_misses_nothing
    the_will_of_a_killed_client_arrives
    retained_messages_are_kept_shown_and_removed
    shared_subscribers_share
    several_filters_and_one_that_is_left_out
    a_request_is_answered
}

/// `mosquitto_sub -t 'plant/+/temp' -q 1` and `mosquitto_pub -t plant/7/temp -m 21.5 -q 1 -r`.
fn the_command_of_the_readme(version: Version) {
    let plant = unique("plant");
    let mut subscriber = subscribe(&tcp(version), &["-t", &format!("{plant}/+/temp"), "-q", "1"]);
    publish(&tcp(version), &["-t", &format!("{plant}/7/temp"), "-m", "21.5", "-q", "1", "-r"]);
    assert_eq!(message(&mut subscriber), Message::new(format!("{plant}/7/temp"), "21.5", 1));
    // It is there for who comes later, too.
    let late = collect(&tcp(version), &["-t", &format!("{plant}/7/#"), "-C", "1", "-v"]);
    assert_eq!(lines(late), [format!("{plant}/7/temp 21.5")]);
}

fn a_thousand_lines_arrive_in_order(version: Version) {
    let topic = unique("lines");
    for qos in ["0", "1", "2"] {
        let mut subscriber = subscribe(&tcp(version), &["-t", &topic, "-q", qos]);
        let input: String = (0..1000).map(|number| format!("line {number}\n")).collect();
        run("mosquitto_pub", &tcp(version), &["-t", &topic, "-l", "-q", qos], input.as_bytes());
        for number in 0..1000 {
            assert_eq!(message(&mut subscriber).payload, format!("line {number}").into_bytes());
        }
    }
}

fn a_session_that_is_away_misses_nothing(version: Version) {
    let (topic, id) = (unique("away"), unique("away"));
    let mut session = vec!["-i", &id, "-c", "-q", "2", "-t", &topic];
    if version == Version::V5 {
        session.extend(["-x", "300"]);
    }
    collect(&tcp(version), &[&session[..], &["-E"]].concat());
    for (qos, payload) in [("1", "one"), ("1", "two"), ("2", "three"), ("2", "four")] {
        publish(&tcp(version), &["-t", &topic, "-m", payload, "-q", qos]);
    }
    let got = collect(&tcp(version), &[&session[..], &["-C", "4", "-F", "%q %p"]].concat());
    assert_eq!(lines(got), ["1 one", "1 two", "2 three", "2 four"]);
}

fn the_will_of_a_killed_client_arrives(version: Version) {
    let (topic, id) = (unique("will"), unique("mourned"));
    let mut witness = subscribe(&tcp(version), &["-t", &topic, "-q", "1"]);
    let will = ["--will-topic", &topic, "--will-payload", "gone", "--will-qos", "1"];
    let mut mourned = std::process::Command::new("stdbuf");
    mourned.args(["-oL", "mosquitto_sub", "-d", "-W", "60", "-i", &id, "-t", "nothing"]).args(tcp(version)).args(will);
    let mut mourned = Program::scripted(&mut mourned);
    mourned.expect("Subscribed", |line| line.starts_with("Subscribed (mid").then_some(()));
    mourned.kill();
    assert_eq!(message(&mut witness), Message::new(topic, "gone", 1));
}

fn retained_messages_are_kept_shown_and_removed(version: Version) {
    let topic = unique("kept");
    for name in ["a", "b", "c"] {
        publish(&tcp(version), &["-t", &format!("{topic}/{name}"), "-m", name, "-r", "-q", "1"]);
    }
    let all = format!("{topic}/#");
    let mut kept = lines(collect(&tcp(version), &["-t", &all, "--retained-only", "-C", "3", "-F", "%r %p"]));
    kept.sort();
    assert_eq!(kept, ["1 a", "1 b", "1 c"]);
    let mut remover = subscribe(&tcp(version), &["-t", &all, "--remove-retained"]);
    for _ in 0..3 {
        remover.expect("PUBACK", |line| line.contains("received PUBACK").then_some(()));
    }
    publish(&tcp(version), &["-t", &format!("{topic}/d"), "-m", "d", "-r", "-q", "1"]);
    let left = collect(&tcp(version), &["-t", &all, "-C", "1"]);
    assert_eq!(lines(left), ["d"]);
}

fn shared_subscribers_share(version: Version) {
    let topic = unique("work");
    let filter = format!("$share/workers/{topic}/+");
    let mut workers =
        [0, 1].map(|_| subscribe(&tcp(version), &["-t", &filter, "-t", &format!("{topic}/end"), "-q", "1"]));
    let input: String = (0..100).map(|number| format!("{number:02}\n")).collect();
    run("mosquitto_pub", &tcp(version), &["-t", &format!("{topic}/job"), "-l", "-q", "1"], input.as_bytes());
    // Each has its own subscription to the end, which the group shares as well: three copies.
    publish(&tcp(version), &["-t", &format!("{topic}/end"), "-m", "end", "-q", "1"]);
    let mut done = Vec::new();
    for worker in &mut workers {
        let before = done.len();
        loop {
            let message = message(worker);
            if message.payload == b"end" {
                break;
            }
            done.push(String::from_utf8(message.payload).expect("a number"));
        }
        assert!(done.len() > before, "a worker without work");
    }
    done.sort();
    assert_eq!(done, (0..100).map(|number| format!("{number:02}")).collect::<Vec<_>>());
}

fn several_filters_and_one_that_is_left_out(version: Version) {
    let topic = unique("several");
    let filters = ["a/+", "b/#", "c"].map(|filter| format!("{topic}/{filter}"));
    let unwanted = format!("{topic}/b/unwanted");
    let mut more: Vec<&str> = filters.iter().flat_map(|filter| ["-t", filter]).collect();
    more.extend(["-U", &filters[2], "-T", &unwanted]);
    let mut subscriber = subscribe(&tcp(version), &more);
    // It unsubscribes when it has subscribed; the debug output tells of UNSUBACK.
    subscriber.expect("UNSUBACK", |line| line.contains("received UNSUBACK").then_some(()));
    for name in ["c", "a/1", "b/unwanted", "b/2/3"] {
        publish(&tcp(version), &["-t", &format!("{topic}/{name}"), "-m", name, "-q", "1"]);
    }
    assert_eq!(message(&mut subscriber).payload, b"a/1");
    assert_eq!(message(&mut subscriber).payload, b"b/2/3");
}

/// mosquitto_rr asks, MQTT.js answers: in 5.0 where the request says, before at a place both know.
fn a_request_is_answered(version: Version) {
    let (request, answer) = (unique("request"), unique("answer"));
    let broker = Broker::shared();
    let mut service = Script::connected(Kind::MqttJs, Version::V5, broker, Transport::Tcp, &unique("service"));
    service.ask(json!({"do": "subscribe", "filter": request, "qos": 1}), "subscribed");
    let (asked, to) = (request.clone(), answer.clone());
    let asker = std::thread::spawn(move || {
        let more = ["-t", &asked, "-e", &to, "-m", "question", "-q", "1", "-W", "30"];
        run("mosquitto_rr", &tcp(version), &more, b"")
    });
    let question = service.program.event("message");
    assert_eq!(question["payload"], "7175657374696f6e");
    let mut properties = json!({});
    if version == Version::V5 {
        assert_eq!(question["properties"]["response_topic"], json!(answer));
        if let Some(data) = question["properties"].get("correlation_data") {
            properties["correlation_data"] = data.clone();
        }
    }
    let words =
        json!({"do": "publish", "topic": answer, "payload": "616e73776572", "qos": 1, "properties": properties});
    service.ask(words, "published");
    assert_eq!(lines(asker.join().expect("mosquitto_rr gets its answer")), ["answer"]);
}

/// Every property that mosquitto_pub can set is what mosquitto_sub shows.
#[test]
fn properties_of_5_0_are_shown_as_they_were_set() {
    let topic = unique("properties");
    let format = "%A|%C|%D|%E|%F|%P|%R|%p";
    let tcp = tcp(Version::V5);
    let mut subscriber = subscribe(&tcp, &["-t", &topic, "-F", format]);
    let set = [
        "-D",
        "publish",
        "content-type",
        "text/plain",
        "-D",
        "publish",
        "correlation-data",
        "c-1",
        "-D",
        "publish",
        "message-expiry-interval",
        "600",
        "-D",
        "publish",
        "payload-format-indicator",
        "1",
        "-D",
        "publish",
        "user-property",
        "b",
        "1",
        "-D",
        "publish",
        "user-property",
        "a",
        "2",
        "-D",
        "publish",
        "response-topic",
        "to/me",
    ];
    publish(&tcp, &[&["-t", &topic, "-m", "shown"][..], &set].concat());
    let shown = subscriber.expect("the message", |line| line.ends_with("|shown").then(|| line.to_owned()));
    let fields: Vec<&str> = shown.split('|').collect();
    assert!(["600", "599", "598"].contains(&fields[3]), "{shown}");
    assert_eq!([fields[1], fields[2], fields[4], fields[5], fields[6]], ["text/plain", "c-1", "1", "b:1 a:2", "to/me"]);
}
