//! What every engine does, and what the journal does when the disk does not.

mod model;
mod opening;
mod power;
mod suite;
