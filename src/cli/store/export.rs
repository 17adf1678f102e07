//! A store as lines of JSON, one for each session, subscription and message.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use midge::message::{BrokerTime, Message, OwnerId};
use midge::store::journal::{OpenError, read_store};
use midge::store::{Recovered, RecoveredSession, Row};
use serde_json::{Value, json};

/// Whose messages wait, and the time from which on they do.
#[derive(Default)]
struct Seen {
    names: HashMap<OwnerId, (&'static str, String)>,
    time: BrokerTime,
}

/// What can end an export.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Write(#[from] std::io::Error),
}

pub(super) fn export(data: &Path, out: &mut dyn Write) -> Result<()> {
    let seen = std::cell::RefCell::new(Seen::default());
    let out = std::cell::RefCell::new(out);
    let line = |value: &Value| Ok::<_, ExportError>(writeln!(out.borrow_mut(), "{value}")?);
    let begin = |recovered: &Recovered| {
        seen.borrow_mut().time = recovered.time;
        for session in &recovered.sessions {
            let name = session.record.client_id.to_string();
            seen.borrow_mut().names.insert(session.record.owner, ("client_id", name));
            session_lines(session, recovered.time).iter().try_for_each(line)?;
        }
        for group in &recovered.groups {
            seen.borrow_mut().names.insert(group.owner, ("shared_subscription", group.filter.to_string()));
        }
        recovered.retained.iter().try_for_each(|(row, message)| {
            let mut value = message_value("retained", message, recovered.time);
            value["row"] = row.0.into();
            line(&value)
        })
    };
    let row = |owner: OwnerId, row: &Row| {
        let seen = seen.borrow();
        let mut value = copy_value(row, seen.time);
        if let Some((key, name)) = seen.names.get(&owner) {
            value[*key] = name.as_str().into();
        }
        line(&value)
    };
    match read_store(data, begin, row) {
        Err(ExportError::Write(error)) => Err(error.into()),
        Err(ExportError::Open(error)) => Err(error.into()),
        Ok(()) => Ok(()),
    }
}

fn session_lines(session: &RecoveredSession, time: BrokerTime) -> Vec<Value> {
    let record = &session.record;
    let client_id = &*record.client_id;
    let will = record.will.as_ref().map(|will| {
        let mut value = message_value("will", &will.message, time);
        value["delay_interval"] = will.delay_interval.into();
        value["message_expiry_interval"] = will.message_expiry_interval.into();
        value
    });
    let mut lines = vec![json!({
        "type": "session",
        "client_id": client_id,
        "user_name": record.user_name.as_deref(),
        "listener": &*record.listener,
        "mount_point": &*record.mount_point,
        "expiry_interval": record.expiry_interval,
        "disconnected_seconds_ago": record.disconnected_at.map(|at| time.since(at).as_secs()),
        "will": will,
        "received_packet_ids": session.received,
    })];
    lines.extend(session.subscriptions.iter().map(|(filter, options, id)| {
        json!({
            "type": "subscription",
            "client_id": client_id,
            "filter": &**filter,
            "qos": options.qos as u8,
            "no_local": options.no_local,
            "retain_as_published": options.retain_as_published,
            "retain_handling": options.retain_handling as u8,
            "subscription_id": id,
        })
    }));
    lines.extend(session.sent.iter().map(|(row, packet_id, copy)| {
        let mut value = match copy {
            Some(copy) => copy_value(copy, time),
            // Only PUBREL and PUBCOMP are left of it.
            None => json!({ "type": "release", "row": row.0 }),
        };
        value["client_id"] = client_id.into();
        value["packet_id"] = (*packet_id).into();
        value
    }));
    lines
}

fn copy_value(row: &Row, time: BrokerTime) -> Value {
    let mut value = message_value("message", &row.message, time);
    value["row"] = row.row.0.into();
    value["qos"] = (row.copy.qos as u8).into();
    value["retain"] = row.copy.retain.into();
    value["subscription_ids"] = row.copy.subscription_ids.as_slice().into();
    value
}

fn message_value(kind: &str, message: &Message, time: BrokerTime) -> Value {
    json!({
        "type": kind,
        "topic": message.topic(),
        "qos": message.qos() as u8,
        "retain": message.retain(),
        "expires_in": message.remaining_expiry(time),
        "properties": STANDARD.encode(message.forward()),
        "payload": STANDARD.encode(message.payload()),
    })
}
