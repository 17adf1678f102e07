//! What every engine does, and what the journal does when the disk does not.

mod backup;
mod full;
mod model;
mod opening;
mod power;
mod space;
mod suite;
