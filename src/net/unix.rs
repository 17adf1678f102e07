//! Unix domain sockets: the file, its permissions, and who is at the other end.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

/// A listening socket's file; goes when it is dropped, unless another one has taken its place by then.
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

/// Binds with the file's permissions in place before anybody can connect.
pub(crate) fn bind(path: &Path, mode: u32, backlog: i32) -> io::Result<(UnixListener, SocketFile)> {
    make_room(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile { path: path.into(), inode: fs::symlink_metadata(path)?.ino() };
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(backlog)?;
    Ok((UnixListener::from_std(socket.into())?, file))
}

/// Removes the socket of a broker that did not get to it; anything else in the way stays.
fn make_room(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.file_type().is_socket() {
        let what = "there is a file that is no socket: move it, or choose another path";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Without the right to ask, nobody knows whether somebody listens.
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket's file");
        }
    }
}

/// Who is at the other end, as the kernel knows.
pub(super) fn peer_name(stream: &UnixStream) -> String {
    match stream.peer_cred() {
        Ok(credentials) => match credentials.pid() {
            Some(pid) => format!("unix:uid={},pid={pid}", credentials.uid()),
            None => format!("unix:uid={}", credentials.uid()),
        },
        Err(_) => "unix".into(),
    }
}
