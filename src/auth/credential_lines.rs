//! Changes one user's line in a `user:rest` file and leaves every other byte of it alone.
//!
//! The file is replaced whole and at once, so that a broker that loads it meanwhile sees the old or the new one: a
//! temporary file beside it is written, synced and renamed over it. Links are followed (Kubernetes mounts secrets as
//! links), mode and owner stay, two editors at the same time wait for each other.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use super::auth_file::{AuthFileError, check_user_name, io_error};

/// What became of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edited {
    Added,
    Updated,
}

/// Gives `user` the line `user:rest`, where it stood or at the end; makes the file (readable by its owner only) if there
/// is none. What `parse` could not read is not written: a file of the other kind would be of neither.
pub(super) fn set<T>(
    path: &Path,
    user: &str,
    rest: &str,
    parse: impl Fn(&Path, &[u8]) -> Result<T, AuthFileError>,
) -> Result<Edited, AuthFileError> {
    check_user_name(user).map_err(|why| AuthFileError::UserName { user: user.to_owned(), why })?;
    let file = LockedFile::open(path, Missing::Create)?;
    let content = file.read()?;
    let (content, edited) = with_line(&content, user, format!("{user}:{rest}\n").as_bytes());
    parse(path, &content)?;
    file.replace(&content)?;
    Ok(edited)
}

/// Removes every line of `user`.
pub(super) fn delete(path: &Path, user: &str) -> Result<(), AuthFileError> {
    let file = LockedFile::open(path, Missing::Fail)?;
    let content = file.read()?;
    let kept: Vec<&[u8]> = lines(&content).filter(|line| !is_of(line, user)).collect();
    let kept = kept.concat();
    if kept.len() == content.len() {
        return Err(AuthFileError::NoSuchUser { path: path.to_owned(), user: user.to_owned() });
    }
    file.replace(&kept)
}

/// Lines with their ends.
fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split_inclusive(|&byte| byte == b'\n')
}

/// As loading reads a line: white space before the name does not count.
fn is_of(line: &[u8], user: &str) -> bool {
    let line = String::from_utf8_lossy(line);
    line.trim_start().strip_prefix(user).is_some_and(|rest| rest.starts_with(':'))
}

/// Puts `line` in the place of the user's first one; were there several, which no loader accepts, the others go.
fn with_line(content: &[u8], user: &str, line: &[u8]) -> (Vec<u8>, Edited) {
    let mut out = Vec::with_capacity(content.len() + line.len());
    let mut edited = Edited::Added;
    for old in lines(content) {
        if !is_of(old, user) {
            out.extend_from_slice(old);
        } else if edited == Edited::Added {
            edited = Edited::Updated;
            out.extend_from_slice(line);
        }
    }
    if edited == Edited::Added {
        if out.last().is_some_and(|&byte| byte != b'\n') {
            out.push(b'\n');
        }
        out.extend_from_slice(line);
    }
    (out, edited)
}

#[derive(Clone, Copy, PartialEq)]
enum Missing {
    Create,
    Fail,
}

/// The file behind `path`, which no other editor changes until this is dropped.
struct LockedFile {
    /// With all links followed: a rename must replace the file, not the link to it.
    target: PathBuf,
    // Dropping it ends the lock.
    file: File,
}

impl LockedFile {
    fn open(path: &Path, missing: Missing) -> Result<LockedFile, AuthFileError> {
        let target = follow_links(path).map_err(io_error(path, "find"))?;
        loop {
            let file = open(&target, missing).map_err(io_error(path, "open"))?;
            file.lock().map_err(io_error(path, "lock"))?;
            // While waiting, the editor before may have renamed a new file to this place; the lock is on the old one then.
            if is_same_file(&file, &target).map_err(io_error(path, "look at"))? {
                return Ok(LockedFile { target, file });
            }
        }
    }

    fn read(&self) -> Result<Vec<u8>, AuthFileError> {
        fs::read(&self.target).map_err(io_error(&self.target, "read"))
    }

    fn replace(self, content: &[u8]) -> Result<(), AuthFileError> {
        let temporary = beside(&self.target);
        let written = self.write_as_original(&temporary, content).and_then(|()| fs::rename(&temporary, &self.target));
        if written.is_err() {
            // Best effort: it may never have been made.
            let _ = fs::remove_file(&temporary);
        }
        // Without this a crash could undo the rename.
        let synced = written.and_then(|()| File::open(parent(&self.target))?.sync_all());
        synced.map_err(io_error(&self.target, "write"))
    }

    fn write_as_original(&self, temporary: &Path, content: &[u8]) -> io::Result<()> {
        // An editor that was killed may have left one; while this one holds the lock, nobody uses it.
        let _ = fs::remove_file(temporary);
        let original = self.file.metadata()?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (original.uid(), original.gid()) {
            // Else the broker's user could lose its right to read the file.
            fchown(&file, Some(original.uid()), Some(original.gid()))?;
        }
        file.set_permissions(original.permissions())?;
        file.write_all(content)?;
        file.sync_all()
    }
}

fn open(target: &Path, missing: Missing) -> io::Result<File> {
    match OpenOptions::new().read(true).open(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && missing == Missing::Create => {
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(target)
        }
        outcome => outcome,
    }
}

fn is_same_file(file: &File, path: &Path) -> io::Result<bool> {
    let opened = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((opened.dev(), opened.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The path without links; the file itself need not exist, a link to nowhere is an error.
fn follow_links(path: &Path) -> io::Result<PathBuf> {
    // Another editor may make the file between the two looks.
    let is_link = || fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_link() => {
            let name = path.file_name().ok_or(error)?;
            Ok(fs::canonicalize(parent(path))?.join(name))
        }
        outcome => outcome,
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A name in the same directory (so on the same file system) that no other process uses.
fn beside(target: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".{}.new", std::process::id()));
    target.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn set(path: &Path, user: &str, rest: &str) -> Result<Edited, AuthFileError> {
        super::set(path, user, rest, |_, _| Ok(()))
    }

    fn edited(before: &str, user: &str) -> (String, Edited) {
        let (content, edited) = with_line(before.as_bytes(), user, format!("{user}:new\n").as_bytes());
        (String::from_utf8(content).unwrap(), edited)
    }

    #[test]
    fn only_the_line_of_the_user_changes() {
        let before = "# staff\r\nal:1\nalice:2\n\nbob:3";
        assert_eq!(edited(before, "alice"), ("# staff\r\nal:1\nalice:new\n\nbob:3".to_owned(), Edited::Updated));
        assert_eq!(
            edited(before, "carol"),
            ("# staff\r\nal:1\nalice:2\n\nbob:3\ncarol:new\n".to_owned(), Edited::Added)
        );
        assert_eq!(edited(before, "bob"), ("# staff\r\nal:1\nalice:2\n\nbob:new\n".to_owned(), Edited::Updated));
    }

    #[test]
    fn a_user_with_several_lines_gets_one() {
        assert_eq!(edited("a:1\nb:2\n\u{a0}a:3\n", "a"), ("a:new\nb:2\n".to_owned(), Edited::Updated));
    }

    #[test]
    fn a_missing_file_is_made_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        assert_eq!(set(&path, "a", "1").unwrap(), Edited::Added);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a:1\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn the_mode_stays_and_the_inode_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        fs::write(&path, "a:1\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let before = fs::metadata(&path).unwrap();
        assert_eq!(set(&path, "a", "2").unwrap(), Edited::Updated);
        let after = fs::metadata(&path).unwrap();
        assert_eq!(after.permissions().mode(), before.permissions().mode());
        assert_ne!(after.ino(), before.ino(), "a reader of the old file must keep the old file");
    }

    #[test]
    fn a_link_stays_a_link_and_its_target_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("..data")).unwrap();
        let (target, link) = (directory.path().join("..data/users"), directory.path().join("users"));
        fs::write(&target, "a:1\n").unwrap();
        symlink("..data/users", &link).unwrap();
        set(&link, "b", "2").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "a:1\nb:2\n");
    }

    #[test]
    fn a_link_to_nowhere_and_a_missing_directory_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("users");
        symlink("nowhere", &link).unwrap();
        let error = set(&link, "a", "1").unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot find {}", link.display())), "{error}");
        assert!(set(&directory.path().join("none/users"), "a", "1").is_err());
        assert!(fs::symlink_metadata(directory.path().join("nowhere")).is_err());
    }

    #[test]
    fn a_deleted_user_is_gone_and_the_others_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        fs::write(&path, "# c\na:1\nab:2\n\ta:3\n").unwrap();
        delete(&path, "a").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "# c\nab:2\n");
        let error = delete(&path, "a").unwrap_err();
        assert_eq!(error.to_string(), format!("{} has no user \"a\"", path.display()));
        assert!(matches!(delete(&directory.path().join("none"), "a"), Err(AuthFileError::Io { .. })));
        assert!(!directory.path().join("none").exists());
    }

    #[test]
    fn a_name_that_cannot_stand_in_the_file_is_refused_before_anything_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        let error = set(&path, "a:b", "1").unwrap_err();
        assert_eq!(error.to_string(), "\"a:b\" cannot be a user name: the file uses ':' to end the name");
        assert!(!path.exists());
    }

    #[test]
    fn two_editors_at_the_same_time_lose_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let path = &path;
                // The names of the threads' temporary files are the same: only the lock keeps them apart.
                scope.spawn(move || (0..25).for_each(|n| _ = set(path, &format!("u{thread}-{n}"), "1").unwrap()));
            }
        });
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 100);
    }
}
