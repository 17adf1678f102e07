//! User properties: as they lie in a decoded packet, or as a list that is to be encoded.

use std::fmt;

use super::Properties;
use super::Property;
use super::writer::Sink;

/// The user properties of a packet, in order; names may repeat.
#[derive(Clone, Copy, Default)]
pub struct UserProperties<'a> {
    source: Source<'a>,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    /// All properties of a packet, validated.
    Raw(&'a [u8]),
    Pairs(&'a [(&'a str, &'a str)]),
}

impl Default for Source<'_> {
    fn default() -> Self {
        Source::Pairs(&[])
    }
}

impl<'a> UserProperties<'a> {
    /// Those among the properties of a packet; other properties are passed over.
    pub const fn from_raw(raw: &'a [u8]) -> UserProperties<'a> {
        UserProperties { source: Source::Raw(raw) }
    }

    pub const fn from_pairs(pairs: &'a [(&'a str, &'a str)]) -> UserProperties<'a> {
        UserProperties { source: Source::Pairs(pairs) }
    }

    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let (raw, pairs) = match self.source {
            Source::Raw(raw) => (raw, &[][..]),
            Source::Pairs(pairs) => (&[][..], pairs),
        };
        let decoded = Properties::over(raw).filter_map(|property| match property {
            Property::UserProperty(name, value) => Some((name, value)),
            _ => None,
        });
        decoded.chain(pairs.iter().copied())
    }

    pub(super) fn write(&self, out: &mut impl Sink) {
        for (name, value) in self.iter() {
            Property::UserProperty(name, value).write(out);
        }
    }
}

impl PartialEq for UserProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for UserProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
