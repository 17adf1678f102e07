//! Copies of a store: one that a broker may be using meanwhile, and the way back.
//!
//! A checkpoint and the segments from then on are a store; the log is only ever appended to. So: the newest checkpoint,
//! the segments it needs, then those behind it up to where they end now. A frame that is being written then is a torn
//! end of the copy. All of them are opened before any is copied: what a broker removes meanwhile is there until then.
//! Only if it finishes a checkpoint while they are opened, it begins anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::disk::{Disk, RealDisk};
use super::error::OpenError;
use super::examine::Report;
use super::files::{checkpoint_name, segment_name};
use super::recover::{Listing, read_checkpoint};

/// So often a broker may finish a checkpoint while files are opened.
const BEGIN_ANEW_MAX: usize = 20;

/// Copies the store of a directory, in use or not, to an empty or missing one; what the copy has in it. All files of the
/// store are open at the same time.
pub fn backup(from: &Path, to: &Path) -> Result<Report, OpenError> {
    let source = RealDisk::new(from);
    let target = empty(to)?;
    let mut outcome = open_all(&source, from);
    for _ in 1..BEGIN_ANEW_MAX {
        match &outcome {
            Err(OpenError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                outcome = open_all(&source, from);
            }
            _ => break,
        }
    }
    for (name, file) in outcome? {
        copy(&source, to, &name, file)?;
    }
    let sync = File::open(to).and_then(|directory| directory.sync_all());
    sync.map_err(|error| OpenError::io(&source, "syncing the copy", error))?;
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

/// What makes a store as it is now, in the order in which it is to be copied.
fn open_all(source: &RealDisk, from: &Path) -> Result<Vec<(String, File)>, OpenError> {
    let listing = Listing::read(source)?;
    let Some((number, length)) = listing.checkpoints.last_key_value() else {
        return Err(OpenError::Missing { place: source.place() });
    };
    let open = |name: String| match File::open(from.join(&name)) {
        Ok(file) => Ok((name, file)),
        Err(error) => Err(OpenError::io(source, &format!("opening {name}"), error)),
    };
    // A segment goes after the checkpoint that needs it: while that is there, what it needs was there.
    let mut segments: BTreeMap<u32, Result<_, _>> =
        listing.segments.keys().map(|segment| (*segment, open(segment_name(*segment)))).collect();
    let checkpoint = open(checkpoint_name(*number))?;
    let (facts, index) = read_checkpoint(source, *number, *length)?;
    let first = facts.position.segment;
    let needed: BTreeSet<u32> = index.live.segments().filter(|segment| *segment < first).collect();
    // One that began while the directory was listed may be missing there, and the next one not.
    let behind = (first..).take_while(|segment| *segment == first || listing.segments.contains_key(segment));
    let all = needed.into_iter().chain(behind);
    let opened = all.map(|segment| segments.remove(&segment).unwrap_or_else(|| open(segment_name(segment))));
    opened.chain([Ok(checkpoint)]).collect()
}

fn copy(source: &RealDisk, to: &Path, name: &str, mut file: File) -> Result<(), OpenError> {
    let copied = File::create_new(to.join(name)).and_then(|mut copy| {
        copy.set_permissions(file.metadata()?.permissions())?;
        io::copy(&mut file, &mut copy)?;
        copy.sync_all()
    });
    copied.map_err(|error| OpenError::io(source, &format!("copying {name}"), error))
}
