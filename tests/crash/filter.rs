//! What subscribers ask for: branches of their own, wills, and groups whose messages they share.

use crate::wire::Version;
use crate::world::{self, BRANCHES, FIRST_MEMBER, Subject};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// Branches do not overlap, so a message is owed once.
    Branch(usize),
    /// The wills of all testators.
    Wills,
    /// A shared subscription: to the branch of the group's number, or of the last group to the retained topics.
    Group(usize),
}

/// Whether a subscriber has a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// From its beginning.
    Lasting,
    /// At times: it subscribes and unsubscribes while messages flow.
    Changing,
    Never,
}

/// A subscriber that has a branch for itself and shares it as well; it tells its copies apart by their subscription
/// identifiers. `None`: nobody does.
const ALSO_A_MEMBER: Option<(usize, Filter)> = Some((4, Filter::Group(1)));

/// Retain Handling: no retained messages at the subscription.
const DO_NOT_SEND: u8 = 0x20;

const GROUPS: usize = 3;
const RETAINED_GROUP: usize = 2;

impl Filter {
    pub fn all() -> impl Iterator<Item = Filter> {
        let groups = (0..GROUPS).map(Filter::Group);
        (0..BRANCHES).map(Filter::Branch).chain([Filter::Wills]).chain(groups)
    }

    pub fn of(subscriber: usize, wish: Wish) -> impl Iterator<Item = Filter> {
        Filter::all().filter(move |filter| filter.wish_of(subscriber) == wish)
    }

    pub fn wish_of(self, subscriber: usize) -> Wish {
        match self {
            Filter::Branch(_) if subscriber >= FIRST_MEMBER => Wish::Never,
            Filter::Branch(0..2) => Wish::Lasting,
            Filter::Branch(_) => Wish::Changing,
            // Those who can ask for no retained ones: each that comes is published then.
            Filter::Wills if subscriber < FIRST_MEMBER && world::version_of_subscriber(subscriber) == Version::V5 => {
                Wish::Lasting
            }
            Filter::Wills => Wish::Never,
            Filter::Group(_) if ALSO_A_MEMBER == Some((subscriber, self)) => Wish::Lasting,
            Filter::Group(_) if subscriber < FIRST_MEMBER => Wish::Never,
            // Each group has members that stay, and with them its messages.
            Filter::Group(group) if group == 0 || subscriber.is_multiple_of(2) => Wish::Lasting,
            Filter::Group(_) => Wish::Changing,
        }
    }

    pub fn is_shared(self) -> bool {
        matches!(self, Filter::Group(_))
    }

    pub fn text(self) -> String {
        match self {
            Filter::Branch(branch) => format!("b{branch}/+"),
            Filter::Wills => "w/+".into(),
            Filter::Group(RETAINED_GROUP) => format!("$share/group-{RETAINED_GROUP}/r/+/+"),
            Filter::Group(group) => format!("$share/group-{group}/b{group}/+"),
        }
    }

    /// The QoS that a subscriber asks for; the members of a group ask for the same.
    pub fn qos(self, subscriber: usize) -> u8 {
        let is_1 = match self {
            Filter::Branch(branch) => (subscriber + branch).is_multiple_of(4),
            Filter::Wills => subscriber == 0,
            Filter::Group(group) => group == 0,
        };
        if is_1 { 1 } else { 2 }
    }

    /// The subscription options that it asks for.
    pub fn options(self, subscriber: usize) -> u8 {
        let retain_handling = if self == Filter::Wills { DO_NOT_SEND } else { 0 };
        self.qos(subscriber) | retain_handling
    }

    pub fn matches(self, subject: Subject) -> bool {
        match (self, subject) {
            (Filter::Branch(of), Subject::Topic { branch, .. }) => of == branch,
            (Filter::Group(group), Subject::Topic { branch, .. }) => group == branch && group != RETAINED_GROUP,
            (Filter::Wills, Subject::Topic { .. }) => false,
            (filter, Subject::Retained { .. }) => filter == Filter::Group(RETAINED_GROUP),
            (filter, Subject::Will) => filter == Filter::Wills,
        }
    }

    /// The subscription identifier that is asked for with it.
    pub fn identifier(self) -> usize {
        match self {
            Filter::Branch(branch) => 1 + branch,
            Filter::Wills => 51,
            Filter::Group(group) => 101 + group,
        }
    }
}
