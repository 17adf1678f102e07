//! What happens later: wills, the end of sessions, the end of messages.

mod messages;
mod sessions;
mod wills;

use std::time::Duration;

pub const MILLISECOND: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);
