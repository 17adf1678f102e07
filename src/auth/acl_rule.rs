//! One line of an access control list: what it allows or denies, on which topics, for whom.

use std::borrow::Cow;

use super::Identity;
use super::auth_file::Flaw;
use crate::topic::{ParsedFilter, filter_matches};

/// What somebody wants to do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// What a rule says about the topics it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Allow { read: bool, write: bool },
    Deny,
}

impl Effect {
    fn from_keyword(keyword: &str) -> Option<Effect> {
        match keyword {
            "read" => Some(Effect::Allow { read: true, write: false }),
            "write" => Some(Effect::Allow { read: false, write: true }),
            "readwrite" => Some(Effect::Allow { read: true, write: true }),
            "deny" => Some(Effect::Deny),
            _ => None,
        }
    }

    pub(super) fn allows(self, access: Access) -> bool {
        match self {
            Effect::Allow { read, write } => {
                if access == Access::Read {
                    read
                } else {
                    write
                }
            }
            Effect::Deny => false,
        }
    }
}

/// A topic filter in which a pattern's `%c` and `%u` stand for the client that is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    ClientId,
    UserName,
}

/// A `topic` or `pattern` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) effect: Effect,
    pieces: Box<[Piece]>,
}

impl Rule {
    /// Reads what follows the word `topic`: `[read|write|readwrite|deny] filter`.
    pub(super) fn parse_topic(arguments: &str) -> Result<Rule, Flaw> {
        let (effect, filter) = split_effect("topic", arguments)?;
        Ok(Rule { effect, pieces: Box::new([Piece::Text(filter.into())]) })
    }

    /// Reads what follows the word `pattern`: the same with `%c` and `%u` in the filter.
    pub(super) fn parse_pattern(arguments: &str) -> Result<Rule, Flaw> {
        let (effect, filter) = split_effect("pattern", arguments)?;
        Ok(Rule { effect, pieces: pieces(filter) })
    }

    /// The filter as it applies to a client, `None` when it does not: it asks for a user name and the client has none.
    /// `scratch` holds the text where there was something to fill in.
    pub(super) fn filter<'t>(&'t self, who: &Identity, scratch: &'t mut String) -> Option<&'t str> {
        if let [Piece::Text(text)] = &*self.pieces {
            return Some(text);
        }
        scratch.clear();
        for piece in &self.pieces {
            scratch.push_str(match piece {
                Piece::Text(text) => text,
                Piece::ClientId => &who.client_id,
                Piece::UserName => who.user_name.as_deref()?,
            });
        }
        // Topics that begin with '$' are granted by a rule that itself says so: a client that calls itself "$SYS" must not
        // get there through `%c/#`. To deny more than was meant does no harm.
        let smuggled = scratch.starts_with('$') && !self.begins_with_dollar() && self.effect != Effect::Deny;
        (!smuggled).then_some(scratch)
    }

    /// The same as a text that lasts, which is the rule's own where there is nothing to fill in.
    pub(super) fn filled(&self, who: &Identity) -> Option<Cow<'_, str>> {
        if let [Piece::Text(text)] = &*self.pieces {
            return Some(Cow::Borrowed(text));
        }
        let mut filled = String::new();
        self.filter(who, &mut filled)?;
        Some(Cow::Owned(filled))
    }

    pub(super) fn matches(&self, who: &Identity, topic: &str, scratch: &mut String) -> bool {
        self.filter(who, scratch).is_some_and(|filter| filter_matches(filter, topic))
    }

    fn begins_with_dollar(&self) -> bool {
        matches!(self.pieces.first(), Some(Piece::Text(text)) if text.starts_with('$'))
    }
}

/// The effect and the well-formed filter; the keyword may be left out, the filter may contain spaces.
fn split_effect<'l>(word: &str, arguments: &'l str) -> Result<(Effect, &'l str), Flaw> {
    let remedy = || format!("write `{word} [read|write|readwrite|deny] <topic filter>`");
    let (first, rest) = arguments.split_once([' ', '\t']).unwrap_or((arguments, ""));
    let (effect, filter) = match (first, rest.trim_start()) {
        ("", _) => return Err(Flaw::new(format!("there is no topic filter after `{word}`"), remedy())),
        // A single word is the filter, whatever it is.
        (filter, "") => (Effect::Allow { read: true, write: true }, filter),
        (keyword, filter) => match Effect::from_keyword(keyword) {
            Some(effect) => (effect, filter),
            None => return Err(Flaw::new(format!("{keyword:?} is no kind of access"), remedy() + SPACES)),
        },
    };
    check_filter(filter)?;
    Ok((effect, filter))
}

const SPACES: &str = "; before a filter with spaces the kind of access cannot be left out";

fn check_filter(filter: &str) -> Result<(), Flaw> {
    let wrong = |problem: String| Flaw::new(problem, "'+' stands for a whole level, '#' for the whole rest at the end");
    let parsed =
        ParsedFilter::parse(filter).map_err(|error| wrong(format!("{filter:?} is no topic filter: {error}")))?;
    if parsed.share.is_some() {
        let remedy = format!("write {:?}: it applies to shared subscriptions, too", parsed.filter);
        return Err(Flaw::new(format!("{filter:?} is a shared subscription, not a topic filter"), remedy));
    }
    Ok(())
}

fn pieces(filter: &str) -> Box<[Piece]> {
    let mut pieces = Vec::new();
    let mut rest = filter;
    while let Some((at, piece)) = next_placeholder(rest) {
        if at > 0 {
            pieces.push(Piece::Text(rest[..at].into()));
        }
        pieces.push(piece);
        rest = &rest[at + "%c".len()..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.into()));
    }
    pieces.into_boxed_slice()
}

fn next_placeholder(text: &str) -> Option<(usize, Piece)> {
    let client_id = text.find("%c").map(|at| (at, Piece::ClientId));
    let user_name = text.find("%u").map(|at| (at, Piece::UserName));
    client_id.into_iter().chain(user_name).min_by_key(|(at, _)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(client_id: &str, user_name: Option<&str>) -> Identity {
        Identity { client_id: client_id.into(), user_name: user_name.map(Into::into) }
    }

    #[track_caller]
    fn filled(pattern: &str, who: &Identity, expected: Option<&str>) {
        let rule = Rule::parse_pattern(pattern).unwrap();
        assert_eq!(rule.filter(who, &mut String::new()), expected, "{pattern}");
    }

    #[test]
    fn the_kind_of_access_may_be_left_out_and_filters_may_contain_spaces() {
        let (read, write) = (Effect::Allow { read: true, write: false }, Effect::Allow { read: false, write: true });
        let both = Effect::Allow { read: true, write: true };
        let cases = [
            ("read a/b", read, "a/b"),
            ("write  a", write, "a"),
            ("readwrite\tmy room/+/x y", both, "my room/+/x y"),
            ("deny #", Effect::Deny, "#"),
            ("a/#", both, "a/#"),
            ("read", both, "read"),
            ("%c/%u", both, "%c/%u"),
        ];
        for (line, effect, filter) in cases {
            let rule = Rule::parse_topic(line).unwrap();
            assert_eq!(rule.effect, effect, "{line}");
            assert_eq!(rule.filter(&who("c", Some("u")), &mut String::new()), Some(filter), "{line}");
        }
    }

    #[test]
    fn bad_lines_say_what_would_be_right() {
        let cases = [
            ("", "there is no topic filter after `topic`", "write `topic [read|write|readwrite|deny] <topic filter>`"),
            ("reed a", "\"reed\" is no kind of access", "write `topic [read|write|readwrite|deny]"),
            ("my room/x", "\"my\" is no kind of access", "the kind of access cannot be left out"),
            ("read a/b#", "\"a/b#\" is no topic filter", "'#' for the whole rest"),
            ("a+/b", "\"a+/b\" is no topic filter", "'+' stands for a whole level"),
            ("read nul\0l", "\"nul\\0l\" is no topic filter", "'+' stands"),
            ("$share/g/a/b", "is a shared subscription", "write \"a/b\""),
        ];
        for (line, problem, remedy) in cases {
            let flaw = Rule::parse_topic(line).unwrap_err();
            assert!(flaw.problem.contains(problem) && flaw.remedy.contains(remedy), "{line:?}: {flaw:?}");
        }
    }

    #[test]
    fn placeholders_of_a_pattern_are_filled_in_once() {
        let alice = who("c%u", Some("al%c"));
        filled("x/%c/%u/%c", &alice, Some("x/c%u/al%c/c%u"));
        filled("%u", &alice, Some("al%c"));
        filled("read 100%/%x/%%c", &alice, Some("100%/%x/%c%u"));
        filled("plain/+/#", &alice, Some("plain/+/#"));
    }

    #[test]
    fn a_pattern_with_a_user_name_does_not_apply_to_an_anonymous_client() {
        filled("x/%u", &who("c", None), None);
        filled("x/%c", &who("c", None), Some("x/c"));
    }

    #[test]
    fn a_client_cannot_name_itself_into_the_dollar_topics() {
        let sys = who("$SYS", Some("$SYS"));
        filled("read %c/#", &sys, None);
        filled("read %u/#", &sys, None);
        filled("deny %c/#", &sys, Some("$SYS/#"));
        filled("read $SYS/%c", &sys, Some("$SYS/$SYS"));
        filled("read a/%c", &sys, Some("a/$SYS"));
    }
}
