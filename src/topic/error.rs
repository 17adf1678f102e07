//! What can be wrong with a topic name, a topic filter or a share name, and where.

use thiserror::Error;

/// The most bytes a topic name or topic filter may have ([MQTT-4.7.3-3]).
pub const TOPIC_BYTES_MAX: usize = 65_535;

/// Why a text is not a topic name, topic filter or share name. Positions are bytes from the start of the text that was
/// given, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TopicError {
    #[error("the text is empty: a topic name or topic filter has at least one character")]
    Empty,
    #[error("{bytes} bytes are too many: a topic name or topic filter has at most {TOPIC_BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("the null character U+0000 at byte {at} is not allowed in topic names and topic filters")]
    NullCharacter { at: usize },
    #[error("'{wildcard}' at byte {at} is not allowed in a topic name: wildcards only work in subscriptions")]
    WildcardInName { wildcard: char, at: usize },
    #[error("'+' at byte {at} shares its level with other characters: it stands for a whole level, as in 'a/+/b'")]
    SingleLevelNotAlone { at: usize },
    #[error("'#' at byte {at} shares its level with other characters: it stands alone or after a '/', as in 'a/#'")]
    MultiLevelNotAlone { at: usize },
    #[error("'#' at byte {at} is not the last character: nothing may follow it; '+' stands for one level in between")]
    MultiLevelNotLast { at: usize },
    #[error("the share name is empty: a shared subscription reads '$share/NAME/FILTER'")]
    ShareNameEmpty,
    #[error("'{found}' at byte {at} is not allowed in a share name: a shared subscription reads '$share/NAME/FILTER'")]
    ShareNameCharacter { found: char, at: usize },
    #[error("no topic filter follows the share name: a shared subscription reads '$share/NAME/FILTER'")]
    ShareFilterMissing,
}
