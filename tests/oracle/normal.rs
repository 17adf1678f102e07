//! One form for packets that mean the same: the order in which different properties stand in a PUBLISH or a Will means
//! nothing, and the others do not keep it.

use super::*;

pub fn normal(packet: Packet<'static>) -> Packet<'static> {
    match packet {
        Packet::Publish(it) => {
            let properties = PublishProperties { raw: sorted(it.properties.raw), ..it.properties };
            Packet::Publish(Publish { properties, ..it })
        }
        Packet::Connect(it) => {
            let will = it.will.map(|will| {
                let properties = PublishProperties { raw: sorted(will.properties.raw), ..will.properties };
                Will { properties, ..will }
            });
            Packet::Connect(Connect { will, ..it })
        }
        other => other,
    }
}

fn sorted(raw: &'static [u8]) -> &'static [u8] {
    let mut properties: Vec<_> = Properties::over(raw).collect();
    properties.sort_by_key(|property| property.id() as u8);
    encoded(properties)
}

/// Properties as they lie in a packet.
pub fn encoded(properties: impl IntoIterator<Item = Property<'static>>) -> &'static [u8] {
    let mut raw = Vec::new();
    properties.into_iter().for_each(|property| property.encode(&mut raw));
    leak(raw)
}

/// What a comparison has read lives as long as the test run.
pub fn leak<T>(items: Vec<T>) -> &'static [T] {
    Box::leak(items.into_boxed_slice())
}

/// A value that must not be zero: `None` when it is.
pub fn non_zero<T, N>(value: Option<T>, new: fn(T) -> Option<N>) -> Option<Option<N>> {
    match value {
        None => Some(None),
        Some(value) => new(value).map(Some),
    }
}

/// A switch that someone else keeps as a byte: `None` when it is neither 0 nor 1.
pub fn switch(value: Option<u8>) -> Option<Option<bool>> {
    non_zero(value, |byte| (byte <= 1).then_some(byte == 1))
}
