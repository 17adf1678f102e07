//! Who may connect, and what they may publish, subscribe to and receive.

mod passwords;
mod scram;
mod topics;
