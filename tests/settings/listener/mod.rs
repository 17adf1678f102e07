//! What a listener allows, promises and cuts off.

mod capabilities;
mod identity;
mod mount_point;
mod packet_size;
mod sessions;
mod timeouts;
mod topic_aliases;
mod windows;
