//! `midge bench` against our own broker, and against connections on which something goes wrong: what it checks can fail.

mod arguments;
mod compare;
mod faults;
mod load;
mod scenarios;
mod support;
mod transports;
