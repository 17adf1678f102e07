//! Tenants behind one broker: where the topics of a listener's clients lie among all topics.
//!
//! ```text
//! inside     a/b           $own/b                  +/b           $share/g/a/#
//! outside    red/a/b       $mount/red/own/b        red/+/b       $share/g/red/a/#
//! ```
//! Topics that begin with `$` keep doing so: they hide from filters that begin with a wildcard ([MQTT-4.7.2-1]), from
//! those inside and from those outside.

use std::borrow::Cow;
use std::sync::Arc;

use super::error::Violation;
use crate::packet::ReasonCode;
use crate::topic::ParsedFilter;

/// A prefix that ends with a slash, or nothing. Every session has one, so it is shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountPoint(Option<Arc<Prefixes>>);

#[derive(Debug, PartialEq, Eq)]
struct Prefixes {
    prefix: Box<str>,
    /// Stands for the `$` that a topic begins with.
    dollar: Box<str>,
}

impl From<&str> for MountPoint {
    fn from(prefix: &str) -> MountPoint {
        let prefixes = || Prefixes { prefix: prefix.into(), dollar: format!("$mount/{prefix}").into() };
        MountPoint((!prefix.is_empty()).then(|| Arc::new(prefixes())))
    }
}

impl MountPoint {
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    pub fn as_str(&self) -> &str {
        self.0.as_ref().map_or("", |prefixes| &prefixes.prefix)
    }

    /// Refuses a topic that outside no packet could carry.
    pub(super) fn check(&self, topic: &str) -> Result<(), Violation> {
        let (prefix, rest) = self.outside(topic);
        if prefix.len() + rest.len() > usize::from(u16::MAX) {
            let what = "the topic is longer than 65,535 bytes behind the listener's mount point";
            return Err(Violation::new(ReasonCode::TopicNameInvalid, what));
        }
        Ok(())
    }

    /// A topic of a client in two parts, as it lies outside.
    pub(super) fn outside<'a>(&'a self, topic: &'a str) -> (&'a str, &'a str) {
        let Some(prefixes) = &self.0 else { return ("", topic) };
        match topic.strip_prefix('$') {
            Some(rest) => (&prefixes.dollar, rest),
            None => (&prefixes.prefix, topic),
        }
    }

    /// A filter of a client as it lies outside, its share part in front.
    pub(super) fn filter(&self, filter: &str) -> Box<str> {
        if self.0.is_none() {
            return filter.into();
        }
        let (share, filter) = match ParsedFilter::parse(filter) {
            Ok(ParsedFilter { share: Some(share), filter }) => (format!("$share/{share}/"), filter),
            _ => (String::new(), filter),
        };
        let (prefix, rest) = self.outside(filter);
        format!("{share}{prefix}{rest}").into()
    }

    /// The topic as clients inside know it; `None` when it lies elsewhere: `red/#` matches `red`, too.
    pub(super) fn inside<'a>(&self, topic: &'a str) -> Option<Cow<'a, str>> {
        let Some(prefixes) = &self.0 else { return Some(topic.into()) };
        match topic.strip_prefix(&*prefixes.dollar) {
            Some(rest) => Some(format!("${rest}").into()),
            None => topic.strip_prefix(&*prefixes.prefix).filter(|rest| !rest.is_empty()).map(Cow::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mount_point: &str, inside: &str, outside: &str) {
        let mount_point = MountPoint::from(mount_point);
        let (prefix, rest) = mount_point.outside(inside);
        assert_eq!(format!("{prefix}{rest}"), outside);
        assert_eq!(mount_point.inside(outside).as_deref(), Some(inside));
    }

    #[test]
    fn a_topic_goes_out_and_comes_back_in() {
        check("", "a/b", "a/b");
        check("", "$own/b", "$own/b");
        check("red/", "a/b", "red/a/b");
        check("red/", "/", "red//");
        check("red/", "red/a", "red/red/a");
        check("red/", "$own/b", "$mount/red/own/b");
        check("red/", "$", "$mount/red/");
        check("red/", "$mount/red/a", "$mount/red/mount/red/a");
    }

    #[test]
    fn a_topic_that_lies_elsewhere_is_none_of_theirs() {
        for outside in ["red", "red/", "blue/a", "$SYS/a", "$mount/blue/a", "a"] {
            assert_eq!(MountPoint::from("red/").inside(outside), None, "{outside}");
        }
    }

    #[test]
    fn a_topic_that_no_packet_could_carry_outside_is_refused() {
        let topic = "x".repeat(65_532);
        assert!(MountPoint::from("re/").check(&topic).is_ok());
        let refused = MountPoint::from("red/").check(&topic).unwrap_err();
        assert_eq!(refused.reason_code, ReasonCode::TopicNameInvalid);
    }

    #[test]
    fn the_share_part_of_a_filter_stays_in_front() {
        let red = MountPoint::from("red/");
        for (inside, outside) in [
            ("#", "red/#"),
            ("$own/#", "$mount/red/own/#"),
            ("$share/g/a/+", "$share/g/red/a/+"),
            ("$share/g/$own/+", "$share/g/$mount/red/own/+"),
            ("$share", "$mount/red/share"),
        ] {
            assert_eq!(&*red.filter(inside), outside);
            assert_eq!(&*MountPoint::default().filter(inside), inside);
        }
    }
}
