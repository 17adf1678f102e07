//! Any bytes as an access control list, asked about any client and topic: SUBSCRIBE, delivery and PUBLISH never panic, and
//! a subscription to a single topic is granted exactly when its messages may be received.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use midge::auth::{AclFile, Authorizer, Identity, Subscribing};
use midge::topic::{ParsedFilter, check_topic_name, filter_matches};

fuzz_target!(|input: (&str, &str, Option<&str>, &str, &str)| {
    let (content, client_id, user_name, topic, filter) = input;
    let Ok(acl) = AclFile::parse(Path::new("acl"), content.as_bytes()) else { return };
    let who = Identity { client_id: client_id.into(), user_name: user_name.map(Into::into) };
    // MQTT's names have no U+0000 ([MQTT-1.5.4-2]).
    if check_topic_name(topic).is_err() || [client_id, user_name.unwrap_or_default()].concat().contains('\0') {
        return;
    }
    let received = acl.may_receive(&who, topic);
    let _ = acl.may_publish(&who, topic);
    let granted = acl.may_subscribe(&who, topic);
    assert_eq!(granted, if received { Subscribing::Whole } else { Subscribing::Denied });
    let Ok(parsed) = ParsedFilter::parse(filter) else { return };
    if filter_matches(parsed.filter, topic) {
        let unlike = if received { Subscribing::Denied } else { Subscribing::Whole };
        assert_ne!(acl.may_subscribe(&who, parsed.filter), unlike);
    }
});
