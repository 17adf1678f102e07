//! Topic aliases, one table for each direction of one network connection ([MQTT-3.3.2-7]).

use std::collections::HashMap;
use std::num::NonZeroU16;

use super::error::Violation;
use crate::packet::ReasonCode;

/// Aliases that the client has set. Boxed: most clients set none.
#[derive(Debug, Default)]
pub(super) struct InboundAliases(Option<Box<Topics>>);

type Topics = Vec<Option<Box<str>>>;

impl InboundAliases {
    /// The topic of a PUBLISH: its own, which the alias then stands for, or what the alias stands for.
    pub(super) fn resolve<'a>(
        &'a mut self,
        topic: &'a str,
        alias: Option<NonZeroU16>,
        maximum: u16,
    ) -> Result<&'a str, Violation> {
        let Some(alias) = alias.map(NonZeroU16::get) else { return Ok(topic) };
        if alias > maximum {
            // [MQTT-3.3.2-9], [MQTT-3.2.2-17], [MQTT-3.2.2-18]
            return Err(Violation::new(
                ReasonCode::TopicAliasInvalid,
                format!("topic alias {alias} is above the Topic Alias Maximum {maximum}"),
            ));
        }
        let index = usize::from(alias) - 1; // [MQTT-3.3.2-12]
        if topic.is_empty() {
            return self.topic(index).ok_or_else(|| {
                Violation::new(
                    ReasonCode::ProtocolError,
                    format!("topic alias {alias} has not been set on this connection"),
                )
            });
        }
        let topics = self.0.get_or_insert_default();
        if topics.len() <= index {
            topics.resize(index + 1, None);
        }
        topics[index] = Some(topic.into());
        Ok(topic)
    }

    fn topic(&self, index: usize) -> Option<&str> {
        self.0.as_ref()?.get(index)?.as_deref()
    }
}

/// Aliases that the broker has set towards the client: the first topics get one each and keep it.
#[derive(Debug, Default)]
pub(super) struct OutboundAliases {
    maximum: u16,
    /// Made with the first alias: most clients never have one.
    aliases: Option<Box<AliasTable>>,
}

type AliasTable = HashMap<Box<str>, NonZeroU16, foldhash::fast::RandomState>;

/// How a topic is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AliasUse {
    /// In full, without an alias.
    None,
    /// In full, with an alias that stands for it from now on.
    Set(NonZeroU16),
    /// The alias alone.
    Known(NonZeroU16),
}

/// An alias costs three bytes: shorter topics gain nothing.
const ALIASED_TOPIC_BYTES_MIN: usize = 8;

impl OutboundAliases {
    pub(super) fn new(maximum: u16) -> Self {
        OutboundAliases { maximum, aliases: None }
    }

    /// The client takes no aliases ([MQTT-3.1.2-27]).
    pub(super) fn are_none(&self) -> bool {
        self.maximum == 0
    }

    /// Never above the client's Topic Alias Maximum ([MQTT-3.1.2-26], [MQTT-3.3.2-11]), none when it is 0 ([MQTT-3.1.2-27]).
    pub(super) fn choose(&self, topic: &str) -> AliasUse {
        if self.maximum == 0 || topic.len() < ALIASED_TOPIC_BYTES_MIN {
            return AliasUse::None;
        }
        let known = self.aliases.as_ref();
        if let Some(alias) = known.and_then(|aliases| aliases.get(topic)) {
            return AliasUse::Known(*alias);
        }
        let next = known.map_or(0, |aliases| aliases.len()) as u64 + 1;
        match u16::try_from(next).ok().filter(|next| *next <= self.maximum).and_then(NonZeroU16::new) {
            Some(alias) => AliasUse::Set(alias),
            None => AliasUse::None,
        }
    }

    /// The packet that sets the alias is on its way.
    pub(super) fn set(&mut self, topic: &str, alias: NonZeroU16) {
        self.aliases.get_or_insert_default().insert(topic.into(), alias);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(n: u16) -> Option<NonZeroU16> {
        NonZeroU16::new(n)
    }

    // [MQTT-3.3.2-12]
    #[test]
    fn an_inbound_alias_stands_for_the_topic_it_came_with_until_it_is_set_anew() {
        let mut aliases = InboundAliases::default();
        assert_eq!(aliases.resolve("a/b", alias(3), 3), Ok("a/b"));
        assert_eq!(aliases.resolve("", alias(3), 3), Ok("a/b"));
        assert_eq!(aliases.resolve("c", alias(3), 3), Ok("c"));
        assert_eq!(aliases.resolve("", alias(3), 3), Ok("c"));
    }

    // [MQTT-3.3.2-9], [MQTT-3.2.2-17]
    #[test]
    fn an_alias_above_the_maximum_is_invalid() {
        let error = InboundAliases::default().resolve("a", alias(4), 3).unwrap_err();
        assert_eq!(error.reason_code, ReasonCode::TopicAliasInvalid);
    }

    #[test]
    fn an_alias_that_was_never_set_is_a_protocol_error() {
        let error = InboundAliases::default().resolve("", alias(1), 3).unwrap_err();
        assert_eq!(error.reason_code, ReasonCode::ProtocolError);
    }

    // [MQTT-3.1.2-26], [MQTT-3.1.2-27], [MQTT-3.3.2-11]
    #[test]
    fn outbound_aliases_never_exceed_the_maximum() {
        let mut aliases = OutboundAliases::new(1);
        assert_eq!(aliases.choose("plant/7/temp"), AliasUse::Set(NonZeroU16::MIN));
        aliases.set("plant/7/temp", NonZeroU16::MIN);
        assert_eq!(aliases.choose("plant/7/temp"), AliasUse::Known(NonZeroU16::MIN));
        assert_eq!(aliases.choose("plant/8/temp"), AliasUse::None);
        assert_eq!(OutboundAliases::new(0).choose("plant/7/temp"), AliasUse::None);
    }
}
