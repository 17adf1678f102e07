//! An access control list in mosquitto's file format, as the authorizer of a listener.
//!
//! ```text
//! topic read public/#            before the first user: for anonymous clients
//! user alice                     the following topic lines are for alice
//! topic readwrite home/#
//! topic deny home/safe           a deny counts wherever it stands
//! pattern write sensors/%c/#     for everybody; %c is the client id, %u the user name
//! ```
//! The client's own section decides first, then the patterns; what neither mentions is not allowed. Within each, a deny
//! that matches beats every allow. As mosquitto does, patterns are closed to a client whose id or user name contains `+`
//! or `#`, which filled in would be wildcards. They are closed to names of very many levels, too: strangers choose their
//! client ids, and every subscription would be compared level by level with what they chose.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use super::acl_rule::{Access, Effect, Rule};
use super::auth_file::{self, AuthFileError, Flaw};
use super::filter_sets::{intersection, is_covered};
use super::{Authorizer, Identity, Subscribing};
use crate::topic::filters_overlap;

/// A loaded access control list.
#[derive(Debug, Default)]
pub struct AclFile {
    anonymous: Rules,
    users: HashMap<Box<str>, Rules>,
    patterns: Rules,
    strict: bool,
}

/// The rules of one section.
#[derive(Debug, Default)]
struct Rules {
    deny: Vec<Rule>,
    allow: Vec<Rule>,
}

impl AclFile {
    pub fn load(path: &Path) -> Result<AclFile, AuthFileError> {
        AclFile::parse(path, &auth_file::read(path)?)
    }

    /// `path` is what errors name.
    pub fn parse(path: &Path, content: &[u8]) -> Result<AclFile, AuthFileError> {
        let mut file = AclFile::default();
        let mut user: Option<&str> = None;
        auth_file::for_each_entry(path, content, |_, line| {
            let (word, arguments) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            match (word, arguments.trim_start()) {
                ("user", "") => return Err(Flaw::new("there is no name after `user`", "write `user <user name>`")),
                ("user", name) => user = Some(name),
                ("topic", arguments) => file.section_mut(user).push(Rule::parse_topic(arguments)?),
                ("pattern", arguments) => file.patterns.push(Rule::parse_pattern(arguments)?),
                (word, _) => return Err(Flaw::new(format!("{word:?} begins no rule"), LINES)),
            }
            Ok(())
        })?;
        Ok(file)
    }

    /// Whether a subscription is granted only when every topic it matches is allowed; else (the default) one is enough, and
    /// the others are filtered at delivery.
    pub fn with_strict_subscriptions(self, strict: bool) -> AclFile {
        AclFile { strict, ..self }
    }

    fn section_mut(&mut self, user: Option<&str>) -> &mut Rules {
        match user {
            Some(name) => self.users.entry(name.into()).or_default(),
            None => &mut self.anonymous,
        }
    }

    /// The rules for a client, the more specific first.
    fn sections(&self, who: &Identity) -> [&Rules; 2] {
        let own = match &who.user_name {
            Some(name) => self.users.get(&**name).unwrap_or(&NO_RULES),
            None => &self.anonymous,
        };
        [own, if fits_patterns(who) { &self.patterns } else { &NO_RULES }]
    }

    fn allows(&self, who: &Identity, topic: &str, access: Access) -> bool {
        let mut scratch = String::new();
        let verdict = self.sections(who).iter().find_map(|rules| rules.judge(who, topic, access, &mut scratch));
        verdict.unwrap_or(false)
    }
}

const LINES: &str = "a line is `user <name>`, `topic <access> <filter>`, `pattern <access> <filter with %c or %u>` or a \
                     comment that begins with #";

static NO_RULES: Rules = Rules { deny: Vec::new(), allow: Vec::new() };

/// Whether the names of a client can be filled into a filter and mean themselves.
fn fits_patterns(who: &Identity) -> bool {
    let fits =
        |name: &str| !name.contains(['+', '#']) && memchr::memchr_iter(b'/', name.as_bytes()).count() < NAME_LEVELS_MAX;
    fits(&who.client_id) && who.user_name.as_deref().is_none_or(fits)
}

/// No naming scheme is so deep.
const NAME_LEVELS_MAX: usize = 128;

impl Rules {
    fn push(&mut self, rule: Rule) {
        let list = if rule.effect == Effect::Deny { &mut self.deny } else { &mut self.allow };
        list.push(rule);
    }

    /// Whether the topic is allowed; `None` when no rule mentions it.
    fn judge(&self, who: &Identity, topic: &str, access: Access, scratch: &mut String) -> Option<bool> {
        if self.deny.iter().any(|rule| rule.matches(who, topic, scratch)) {
            return Some(false);
        }
        let allowed = self.allow.iter().any(|rule| rule.effect.allows(access) && rule.matches(who, topic, scratch));
        allowed.then_some(true)
    }
}

impl Authorizer for AclFile {
    fn may_publish(&self, who: &Identity, topic: &str) -> bool {
        self.allows(who, topic, Access::Write)
    }

    fn may_subscribe(&self, who: &Identity, filter: &str) -> Subscribing {
        let rules = ReadRules::new(self.sections(who), who);
        match (rules.allow_all_of(filter), self.strict) {
            (true, _) => Subscribing::Whole,
            (false, false) if rules.allow_some_of(filter) => Subscribing::Filtered,
            _ => Subscribing::Denied,
        }
    }

    fn may_receive(&self, who: &Identity, topic: &str) -> bool {
        self.allows(who, topic, Access::Read)
    }

    fn allows_everything(&self) -> bool {
        false
    }
}

/// What one client may receive, as filters.
struct ReadRules<'r> {
    own_deny: Vec<Cow<'r, str>>,
    own_allow: Vec<Cow<'r, str>>,
    pattern_deny: Vec<Cow<'r, str>>,
    pattern_allow: Vec<Cow<'r, str>>,
}

impl<'r> ReadRules<'r> {
    fn new([own, patterns]: [&'r Rules; 2], who: &Identity) -> ReadRules<'r> {
        ReadRules {
            own_deny: filters(&own.deny, who, |_| true),
            own_allow: filters(&own.allow, who, |effect| effect.allows(Access::Read)),
            pattern_deny: filters(&patterns.deny, who, |_| true),
            pattern_allow: filters(&patterns.allow, who, |effect| effect.allows(Access::Read)),
        }
    }

    /// Whether at least one topic that `filter` matches is allowed.
    fn allow_some_of(&self, filter: &str) -> bool {
        let own_denied = texts(&self.own_deny);
        let denied = own_denied.clone().chain(texts(&self.pattern_deny));
        reaches_beyond(filter, &self.own_allow, own_denied) || reaches_beyond(filter, &self.pattern_allow, denied)
    }

    /// Whether every topic that `filter` matches is allowed.
    fn allow_all_of(&self, filter: &str) -> bool {
        let allowed = texts(&self.own_allow).chain(texts(&self.pattern_allow));
        // A pattern's deny harms only where the client's own section has not allowed before.
        let unharmed = |deny: &Cow<str>| {
            intersection(filter, deny).is_none_or(|common| is_covered(&common, texts(&self.own_allow)))
        };
        is_covered(filter, allowed)
            && !self.own_deny.iter().any(|deny| filters_overlap(filter, deny))
            && self.pattern_deny.iter().all(unharmed)
    }
}

fn filters<'r>(rules: &'r [Rule], who: &Identity, wanted: impl Fn(Effect) -> bool) -> Vec<Cow<'r, str>> {
    rules.iter().filter(|rule| wanted(rule.effect)).filter_map(|rule| rule.filled(who)).collect()
}

fn texts<'f>(filters: &'f [Cow<'_, str>]) -> impl Iterator<Item = &'f str> + Clone {
    filters.iter().map(|filter| &**filter)
}

/// Whether `filter` and one of `allowed` have a topic in common that none of `denied` matches.
fn reaches_beyond<'f>(filter: &str, allowed: &[Cow<'_, str>], denied: impl Iterator<Item = &'f str> + Clone) -> bool {
    let mut common = allowed.iter().filter_map(|allow| intersection(filter, allow));
    common.any(|common| !is_covered(&common, denied.clone()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topic::filter_matches;

    fn parse(content: &str) -> AclFile {
        AclFile::parse(Path::new("acl"), content.as_bytes()).unwrap()
    }

    fn who(client_id: &str, user_name: Option<&str>) -> Identity {
        Identity { client_id: client_id.into(), user_name: user_name.map(Into::into) }
    }

    /// Who may do what with a topic: 'r', 'w', "rw" or nothing.
    #[track_caller]
    fn check(acl: &AclFile, who: &Identity, topic: &str, expected: &str) {
        let (read, write) = (acl.may_receive(who, topic), acl.may_publish(who, topic));
        let found = [if read { "r" } else { "" }, if write { "w" } else { "" }].concat();
        assert_eq!(found, expected, "{who:?} {topic}");
    }

    const HOUSE: &str = "
        # the house
        topic read public/#
        topic deny public/cellar

        user alice
        topic read home/+/temperature
        topic readwrite home/lamp
        topic write home/door bell
        topic $SYS/broker/uptime

        user bob builder
        topic #
        topic deny home/safe/#
        user alice
        topic write later/#

        pattern write sensors/%c/#
        pattern read users/%u
        pattern deny sensors/%c/secret
    ";

    #[test]
    fn a_user_may_do_what_its_section_and_the_patterns_say() {
        let (acl, alice) = (parse(HOUSE), who("c1", Some("alice")));
        check(&acl, &alice, "home/attic/temperature", "r");
        check(&acl, &alice, "home/lamp", "rw");
        check(&acl, &alice, "home/door bell", "w");
        check(&acl, &alice, "home/safe", "");
        check(&acl, &alice, "later/x", "w");
        check(&acl, &alice, "public/x", "");
        check(&acl, &alice, "sensors/c1/x", "w");
        check(&acl, &alice, "sensors/c2/x", "");
        check(&acl, &alice, "sensors/c1/secret", "");
        check(&acl, &alice, "users/alice", "r");
        check(&acl, &alice, "users/bob", "");
    }

    #[test]
    fn lines_before_the_first_user_are_for_anonymous_clients_only() {
        let acl = parse(HOUSE);
        check(&acl, &who("c1", None), "public/x", "r");
        check(&acl, &who("c1", None), "public/cellar", "");
        check(&acl, &who("c1", None), "sensors/c1/x", "w");
        check(&acl, &who("c1", None), "users/alice", "");
        check(&acl, &who("c1", Some("stranger")), "public/x", "");
        check(&acl, &who("c1", Some("stranger")), "users/stranger", "r");
    }

    #[test]
    fn a_deny_counts_wherever_it_stands_but_a_users_own_allow_beats_a_pattern() {
        let (acl, bob) = (parse(HOUSE), who("c1", Some("bob builder")));
        check(&acl, &bob, "home/safe", "");
        check(&acl, &bob, "home/safe/code", "");
        check(&acl, &bob, "home/lamp", "rw");
        check(&acl, &bob, "sensors/c1/secret", "rw");
    }

    #[test]
    fn dollar_topics_need_a_rule_that_begins_with_a_dollar() {
        let acl = parse(HOUSE);
        check(&acl, &who("c1", Some("alice")), "$SYS/broker/uptime", "rw");
        check(&acl, &who("c1", Some("bob builder")), "$SYS/broker/uptime", "");
        let acl = parse("pattern readwrite %c/#");
        check(&acl, &who("$SYS", None), "$SYS/broker/uptime", "");
        assert_eq!(acl.may_subscribe(&who("$SYS", None), "$SYS/#"), Subscribing::Denied);
    }

    #[test]
    fn patterns_are_closed_to_names_that_would_be_wildcards() {
        let acl = parse("user al+ce\ntopic own\nuser bob\ntopic own\npattern readwrite x/%c\npattern readwrite all/#");
        for (client_id, user) in [("c", "al+ce"), ("c#", "bob"), ("+", "bob")] {
            check(&acl, &who(client_id, Some(user)), "all/x", "");
            check(&acl, &who(client_id, Some(user)), "x/any", "");
            check(&acl, &who(client_id, Some(user)), "own", "rw");
            assert_eq!(acl.may_subscribe(&who(client_id, Some(user)), "x/any"), Subscribing::Denied);
        }
        check(&acl, &who("c", Some("bob")), "all/x", "rw");
    }

    #[test]
    fn an_empty_list_allows_nothing() {
        let acl = parse("# nothing\n");
        check(&acl, &who("c", None), "a", "");
        assert_eq!(acl.may_subscribe(&who("c", None), "#"), Subscribing::Denied);
        assert!(!acl.allows_everything());
    }

    #[test]
    fn a_subscription_is_granted_when_one_topic_it_matches_is_allowed() {
        let (acl, alice) = (parse(HOUSE), who("c1", Some("alice")));
        let cases = [
            ("home/attic/temperature", Subscribing::Whole),
            ("home/+/temperature", Subscribing::Whole),
            ("home/+/+", Subscribing::Filtered),
            ("#", Subscribing::Filtered),
            ("home/door bell", Subscribing::Denied),
            ("sensors/#", Subscribing::Denied),
            ("$SYS/#", Subscribing::Filtered),
            ("$SYS/broker/uptime", Subscribing::Whole),
            ("users/+", Subscribing::Filtered),
            ("users/alice", Subscribing::Whole),
            ("public/#", Subscribing::Denied),
        ];
        let strict = parse(HOUSE).with_strict_subscriptions(true);
        for (filter, expected) in cases {
            assert_eq!(acl.may_subscribe(&alice, filter), expected, "{filter}");
            let whole = if expected == Subscribing::Whole { expected } else { Subscribing::Denied };
            assert_eq!(strict.may_subscribe(&alice, filter), whole, "strict {filter}");
        }
    }

    #[test]
    fn what_is_denied_is_taken_out_of_a_subscription() {
        let acl = parse(
            "topic read a/#\ntopic deny a/b\ntopic deny a/c/#\npattern deny a/d\npattern read p/#\npattern deny p/+",
        );
        let cases = [
            ("a/#", Subscribing::Filtered),
            ("a/+", Subscribing::Filtered),
            ("a/b", Subscribing::Denied),
            ("a/c/+", Subscribing::Denied),
            ("a/d", Subscribing::Whole),
            ("a/x/#", Subscribing::Whole),
            ("p/+", Subscribing::Denied),
            ("p/#", Subscribing::Filtered),
            ("p/+/+/#", Subscribing::Whole),
        ];
        for (filter, expected) in cases {
            assert_eq!(acl.may_subscribe(&who("c", None), filter), expected, "{filter}");
        }
    }

    #[test]
    fn bad_lines_are_named_with_what_would_be_right() {
        let cases = [
            ("user", "acl:1: there is no name after `user`; write `user <user name>`"),
            ("\ntopics a", "acl:2: \"topics\" begins no rule; a line is `user <name>`"),
            ("# ok\ntopic reed a", "acl:2: \"reed\" is no kind of access; write `topic [read|write|readwrite|deny]"),
            ("pattern", "acl:1: there is no topic filter after `pattern`; write `pattern ["),
            ("topic a\r\npattern read a/#/%c\r\n", "acl:2: \"a/#/%c\" is no topic filter"),
        ];
        for (content, expected) in cases {
            let error = AclFile::parse(Path::new("acl"), content.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn patterns_are_closed_to_names_of_very_many_levels() {
        let acl = parse("topic read own\npattern read home/%c/#\npattern read #");
        let (deep, deeper) = ("/".repeat(127), "/".repeat(128));
        assert_eq!(acl.may_subscribe(&who(&deep, None), &format!("home/{deep}/x")), Subscribing::Whole);
        assert_eq!(acl.may_subscribe(&who(&deeper, None), &format!("home/{deeper}/x")), Subscribing::Denied);
        assert_eq!(acl.may_subscribe(&who(&deeper, None), "own"), Subscribing::Whole);
        assert_eq!(acl.may_subscribe(&who("c", Some(&deeper)), "other"), Subscribing::Denied);
    }

    fn filter() -> impl Strategy<Value = String> {
        let first = prop::sample::select(vec!["a", "b", "+", "$s", "%c", "%u"]);
        let level = prop::sample::select(vec!["a", "b", "+", "%c"]);
        (first, prop::collection::vec(level, 0..3), 0..5).prop_map(|(first, rest, end)| match end {
            0 => "#".to_owned(),
            1 => [&[first][..], &rest, &["#"]].concat().join("/"),
            _ => [&[first][..], &rest].concat().join("/"),
        })
    }

    fn line() -> impl Strategy<Value = String> {
        let word = prop::sample::select(vec!["topic", "pattern"]);
        let access = prop::sample::select(vec!["read", "write", "readwrite", "deny"]);
        (word, access, filter()).prop_map(|(word, access, filter)| format!("{word} {access} {filter}"))
    }

    /// Topics of up to four levels over all names in use and one that is not.
    fn topics() -> Vec<String> {
        let mut topics = vec![];
        let mut longest: Vec<String> = ["a", "b", "z", "$s", "%c", "%u"].map(str::to_owned).to_vec();
        for _ in 0..4 {
            topics.extend(longest.iter().cloned());
            longest = longest.iter().flat_map(|t| ["a", "b", "z", "%c"].map(|level| format!("{t}/{level}"))).collect();
        }
        topics
    }

    proptest! {
        #[test]
        fn subscribing_agrees_with_trying_every_topic(lines in prop::collection::vec(line(), 0..6), wanted in filter()) {
            let (acl, client) = (parse(&lines.join("\n")), who("a", None));
            let matching: Vec<String> = topics().into_iter().filter(|topic| filter_matches(&wanted, topic)).collect();
            let allowed = matching.iter().filter(|topic| acl.may_receive(&client, topic)).count();
            let expected = match allowed {
                0 => Subscribing::Denied,
                n if n == matching.len() => Subscribing::Whole,
                _ => Subscribing::Filtered,
            };
            prop_assert_eq!(acl.may_subscribe(&client, &wanted), expected);
        }

        #[test]
        fn parsing_never_panics(content in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = AclFile::parse(Path::new("acl"), &content);
        }

        #[test]
        fn a_subscription_to_one_topic_is_granted_exactly_when_its_messages_may_be_received(
            content in "((topic|pattern|user)[ \t](read |deny |)[a-c+#/%u$ ]{0,6}\n){0,5}",
            id in "[a-c+#/%u$]{1,4}",
            topic in "[a-c/$]{1,6}",
        ) {
            if let Ok(acl) = AclFile::parse(Path::new("acl"), content.as_bytes()) {
                let client = who(&id, Some(&id));
                let granted = acl.may_subscribe(&client, &topic);
                let expected = if acl.may_receive(&client, &topic) { Subscribing::Whole } else { Subscribing::Denied };
                prop_assert_eq!(granted, expected);
            }
        }
    }
}
