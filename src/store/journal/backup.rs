//! Copies of a store: one that a broker may be using meanwhile, and the way back.
//!
//! A checkpoint and the segments from then on are a store; the log is only ever appended to. So: the newest checkpoint,
//! the segments it needs, then those behind it up to where they end now. A frame that is being written then is a torn
//! end of the copy. When something that is needed goes meanwhile, there is a newer checkpoint, and it begins anew.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::disk::{Disk, RealDisk};
use super::error::OpenError;
use super::examine::Report;
use super::files::{checkpoint_name, segment_name};
use super::recover::{Listing, read_checkpoint};

/// So often a broker may finish a checkpoint while a copy is made.
const BEGIN_ANEW_MAX: usize = 20;

/// Copies the store of a directory, in use or not, to an empty or missing one; what the copy has in it.
pub fn backup(from: &Path, to: &Path) -> Result<Report, OpenError> {
    let source = RealDisk::new(from);
    let target = empty(to)?;
    let mut outcome = Err(OpenError::Missing { place: source.place() });
    for _ in 0..BEGIN_ANEW_MAX {
        outcome = copy(&source, from, to);
        match &outcome {
            Err(OpenError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => clear(&target, to)?,
            _ => break,
        }
    }
    outcome?;
    super::examine::check_disk(&target)
}

/// Copies a backup to the empty or missing directory of a broker; what is in it.
pub fn restore(from: &Path, to: &Path) -> Result<Report, OpenError> {
    let source = RealDisk::new(from);
    super::examine::check_disk(&source)?;
    backup(from, to)
}

fn empty(to: &Path) -> Result<RealDisk, OpenError> {
    let target = RealDisk::new(to);
    fs::create_dir_all(to).map_err(|error| OpenError::io(&target, "making it", error))?;
    match target.list() {
        Ok(files) if files.is_empty() => Ok(target),
        Ok(_) => Err(OpenError::NotEmpty { place: target.place() }),
        Err(error) => Err(OpenError::io(&target, "listing it", error)),
    }
}

fn clear(target: &RealDisk, to: &Path) -> Result<(), OpenError> {
    let remove = || target.list()?.into_iter().try_for_each(|(name, _)| fs::remove_file(to.join(name)));
    remove().map_err(|error| OpenError::io(target, "clearing it", error))
}

fn copy(source: &RealDisk, from: &Path, to: &Path) -> Result<(), OpenError> {
    let listing = Listing::read(source)?;
    let Some((number, length)) = listing.checkpoints.last_key_value() else {
        return Err(OpenError::Missing { place: source.place() });
    };
    let (facts, index) = read_checkpoint(source, *number, *length)?;
    let mut needed: Vec<u32> = index.live.segments().filter(|segment| *segment < facts.position.segment).collect();
    needed.sort_unstable();
    // What began since the listing is not part of the copy: its beginning would be, and not what is before it.
    let behind = listing.segments.range(facts.position.segment..).map(|(segment, _)| *segment);
    for segment in needed.into_iter().chain(behind) {
        copy_file(source, from, to, &segment_name(segment))?;
    }
    copy_file(source, from, to, &checkpoint_name(*number))?;
    let sync = File::open(to).and_then(|directory| directory.sync_all());
    sync.map_err(|error| OpenError::io(source, "syncing the copy", error))
}

fn copy_file(source: &RealDisk, from: &Path, to: &Path, name: &str) -> Result<(), OpenError> {
    let copied = fs::copy(from.join(name), to.join(name)).and_then(|_| File::open(to.join(name))?.sync_all());
    copied.map_err(|error| OpenError::io(source, &format!("copying {name}"), error))
}
