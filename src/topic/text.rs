//! How an owned, already checked text behaves: one shared allocation, read like a `str`, compared byte by byte.

/// Implements what [`TopicName`](super::TopicName), [`TopicFilter`](super::TopicFilter) and
/// [`ShareName`](super::ShareName) have in common. Hash, order and equality are those of `str`, so that maps keyed by
/// them can be asked with a borrowed text.
macro_rules! checked_text {
    ($name:ident) => {
        impl std::ops::Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::topic::TopicError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }
    };
}

pub(super) use checked_text;
