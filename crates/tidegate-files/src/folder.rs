//! A folder that nothing leads out of.
//!
//! Every path that is opened here goes from the folder downwards, whatever links lie on its way.
//! With the `sockets` feature Linux itself sees to it: `openat2` resolves the path below a
//! descriptor of the folder and refuses to leave it, so there is no moment between check and use. Links are followed
//! before, since what they lead to may be hidden; the path that comes of it has none any more, and is opened in that way.
//! Elsewhere, and where the kernel has no such call, the path is resolved first and compared with
//! the folder's; that is as safe as long as nobody who wishes the server ill can move links about
//! in the folder while it is being served.
//!
//! Files are looked at before they are opened: to open a pipe lets its writer go on, and to
//! open a device can do anything. Linux opens the very thing that was looked at (`O_PATH`, and then its
//! name in `/proc/self/fd`), for two system calls more than to open it unseen.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::path::{is_listed, is_shown};
use super::rules::Links;

/// Names that are read for each that may be shown, since hidden ones take time, too. 2: they are few where there are many.
const LOOKS_PER_NAME: usize = 2;

/// An open folder.
pub struct Folder {
    /// The path, absolute and without links.
    path: PathBuf,
    links: Links,
    /// Whether the operator was told of a link that is not followed. Once is enough to find the others.
    is_told_of_links: AtomicBool,
    /// The descriptor that `openat2` starts from; none where it is of no use.
    #[cfg(all(feature = "sockets", target_os = "linux"))]
    descriptor: Option<rustix::fd::OwnedFd>,
}

/// The kind of an entry, as its folder tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Folder,
    File,
    /// A link, or the file system does not say.
    Unknown,
}

/// The file, folder or device that a path leads to.
pub enum Node {
    /// A regular file.
    File(FoundFile),
    /// A folder.
    Folder(Metadata),
    /// A pipe, a socket or a device, which is not served.
    Other,
}

/// A regular file that was looked at, and is opened only if it is wanted.
pub struct FoundFile {
    pub metadata: Metadata,
    way: Way,
}

/// The way to open what was looked at.
enum Way {
    /// The place of the very file.
    #[cfg(all(feature = "sockets", target_os = "linux"))]
    Place(File),
    /// The path to it, with all links followed.
    Path(PathBuf),
}

impl Folder {
    /// Opens a folder.
    ///
    /// # Errors
    /// Returns the error of the system; [`io::ErrorKind::NotADirectory`] for anything but a folder, and
    /// [`io::ErrorKind::PermissionDenied`] for one that must not be entered, in which nothing could be found.
    pub fn open(path: &Path, links: Links) -> io::Result<Folder> {
        let path = fs::canonicalize(path)?;
        if !fs::metadata(&path)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        fs::metadata(path.join("."))?;
        Ok(Folder {
            #[cfg(all(feature = "sockets", target_os = "linux"))]
            descriptor: match links {
                Links::Inside => beneath::descriptor(&path)?,
                Links::Anywhere => None,
            },
            links,
            is_told_of_links: AtomicBool::new(false),
            path,
        })
    }

    /// Finds what lies at a relative path, and opens nothing.
    ///
    /// # Errors
    /// Returns the error of the system; [`io::ErrorKind::NotFound`] for a path that leads outside.
    pub fn find(&self, relative: &Path) -> io::Result<Node> {
        #[cfg(all(feature = "sockets", target_os = "linux"))]
        if let Some(descriptor) = &self.descriptor {
            let place = self.beneath(relative, |path| beneath::place(descriptor, path))?;
            return Ok(match place.metadata()? {
                metadata if metadata.is_file() => Node::File(FoundFile { metadata, way: Way::Place(place) }),
                metadata => node_of(metadata)?,
            });
        }
        let path = self.path.join(self.resolve(relative)?);
        Ok(match fs::metadata(&path)? {
            metadata if metadata.is_file() => Node::File(FoundFile { metadata, way: Way::Path(path) }),
            metadata => node_of(metadata)?,
        })
    }

    /// Opens a file that was found at this relative path.
    ///
    /// # Errors
    /// Returns the error of the system; [`io::ErrorKind::PermissionDenied`] if something else stands there by now.
    pub fn open_file(&self, found: FoundFile, relative: &Path) -> io::Result<(File, Metadata)> {
        #[cfg(not(all(feature = "sockets", target_os = "linux")))]
        let _ = relative;
        match found.way {
            #[cfg(all(feature = "sockets", target_os = "linux"))]
            Way::Place(place) => match (beneath::open_place(&place), &self.descriptor) {
                (Ok(file), _) => Ok((file, found.metadata)),
                // It must not be read; or there is no /proc, and then another thing may stand there by now.
                (Err(_), Some(descriptor)) => {
                    with_metadata(self.beneath(relative, |path| beneath::open(descriptor, path))?)
                }
                (Err(error), None) => Err(error),
            },
            Way::Path(path) => with_metadata(File::open(path)?),
        }
    }

    /// Opens the folder at a relative path, to read the names in it.
    ///
    /// # Errors
    /// Returns the same errors as [`Folder::find`].
    pub fn open_folder(&self, relative: &Path) -> io::Result<File> {
        #[cfg(all(feature = "sockets", target_os = "linux"))]
        if let Some(descriptor) = &self.descriptor {
            return self.beneath(relative, |path| beneath::open_folder(descriptor, path));
        }
        File::open(self.path.join(self.resolve(relative)?))
    }

    /// Whether the folder itself was removed since it was opened.
    pub fn is_gone(&self) -> bool {
        #[cfg(all(feature = "sockets", target_os = "linux"))]
        if let Some(descriptor) = &self.descriptor {
            return beneath::is_removed(descriptor);
        }
        fs::metadata(&self.path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Returns the metadata of a relative path, without opening it.
    ///
    /// # Errors
    /// Returns the same errors as [`Folder::find`].
    pub fn look(&self, relative: &Path) -> io::Result<Metadata> {
        #[cfg(all(feature = "sockets", target_os = "linux"))]
        if let Some(descriptor) = &self.descriptor {
            return self.beneath(relative, |path| beneath::place(descriptor, path))?.metadata();
        }
        fs::metadata(self.path.join(self.resolve(relative)?))
    }

    /// Returns at most `count_max` names of the folder at a relative path that may be listed, in no order,
    /// and whether there are more.
    ///
    /// # Errors
    /// Returns the same errors as [`Folder::find`].
    pub fn names(&self, relative: &Path, count_max: usize) -> io::Result<(Vec<(OsString, Kind)>, bool)> {
        #[cfg(all(feature = "sockets", target_os = "linux"))]
        if let Some(descriptor) = &self.descriptor {
            let folder = self.beneath(relative, |path| beneath::open_folder(descriptor, path))?;
            return first(beneath::names(&folder)?, count_max);
        }
        let entries = fs::read_dir(self.path.join(self.resolve(relative)?))?;
        let kind = |entry: &fs::DirEntry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => Kind::Folder,
            Ok(kind) if kind.is_file() => Kind::File,
            Ok(_) | Err(_) => Kind::Unknown,
        };
        first(entries.map(|entry| entry.map(|entry| (entry.file_name(), kind(&entry)))), count_max)
    }

    /// Tries a path as it is, and if that may refuse too much, with all links followed.
    #[cfg(all(feature = "sockets", target_os = "linux"))]
    fn beneath<T>(&self, relative: &Path, attempt: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
        match attempt(relative) {
            Err(error) if beneath::may_stay_inside(&error) => {
                match attempt(&self.resolve(relative)?) {
                    // Another link was put there meanwhile.
                    Err(error) if beneath::may_stay_inside(&error) => Err(io::ErrorKind::NotFound.into()),
                    result => result,
                }
            }
            result => result,
        }
    }

    /// Follows all links. The resulting path is relative to the folder, and inside it.
    fn resolve(&self, relative: &Path) -> io::Result<PathBuf> {
        let path = self.path.join(relative);
        let resolved = fs::canonicalize(&path).map_err(|error| {
            // std has no stable name for the error of a link that leads in a circle.
            let is_link = fs::symlink_metadata(&path).is_ok_and(|place| place.is_symlink());
            let is_refused = error.kind() == io::ErrorKind::PermissionDenied;
            if is_link && !is_refused { io::ErrorKind::NotFound.into() } else { error }
        })?;
        match (resolved.strip_prefix(&self.path), self.links) {
            // What is hidden is hidden from links, too.
            (Ok(inside), _) if is_shown(inside) => Ok(inside.to_path_buf()),
            (Ok(_), _) => Err(io::ErrorKind::NotFound.into()),
            (Err(_), Links::Anywhere) => Ok(resolved),
            (Err(_), Links::Inside) => {
                if !self.is_told_of_links.swap(true, Ordering::Relaxed) {
                    log::warn!(
                        "{} leads out of the folder and is not followed, nor are other such links: with \
                         --follow-links anywhere (Links::Anywhere) they are",
                        path.display()
                    );
                }
                Err(io::ErrorKind::NotFound.into())
            }
        }
    }
}

/// Takes `count_max` names, and returns whether there were more.
fn first(
    mut names: impl Iterator<Item = io::Result<(OsString, Kind)>>,
    count_max: usize,
) -> io::Result<(Vec<(OsString, Kind)>, bool)> {
    let mut listed = Vec::new();
    for name in names.by_ref().take(count_max * LOOKS_PER_NAME) {
        let (name, kind) = name?;
        if is_listed(&name) {
            if listed.len() == count_max {
                return Ok((listed, true));
            }
            listed.push((name, kind));
        }
    }
    Ok((listed, names.next().is_some()))
}

/// The number of descriptors that the process may have; none if there is no limit, or if nobody says.
pub fn descriptors_allowed() -> Option<usize> {
    #[cfg(all(feature = "sockets", unix))]
    return rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .map(|allowed| usize::try_from(allowed).unwrap_or(usize::MAX));
    #[cfg(not(all(feature = "sockets", unix)))]
    None
}

/// Makes sure that what was opened is a file.
fn with_metadata(file: File) -> io::Result<(File, Metadata)> {
    match file.metadata()? {
        metadata if metadata.is_file() => Ok((file, metadata)),
        _ => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

/// Makes the node of anything but a file. A folder that has no name any more is still open, and counts as not
/// found.
fn node_of(metadata: Metadata) -> io::Result<Node> {
    match metadata.is_dir() {
        true if metadata.nlink() == 0 => Err(io::ErrorKind::NotFound.into()),
        true => Ok(Node::Folder(metadata)),
        false => Ok(Node::Other),
    }
}

/// `openat2(2)`: the kernel keeps every step of the path below the folder.
#[cfg(all(feature = "sockets", target_os = "linux"))]
mod beneath {
    use std::ffi::{OsStr, OsString};
    use std::fs::File;
    use std::io;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use rustix::fd::{AsFd, AsRawFd, OwnedFd};
    use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, open as open_plain, openat2};
    use rustix::io::Errno;

    use super::Kind;

    /// Opens a descriptor of the folder; none if the kernel is older than 5.6, or if a sandbox forbids the
    /// call.
    pub fn descriptor(path: &Path) -> io::Result<Option<OwnedFd>> {
        match openat2(CWD, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::BENEATH) {
            Err(Errno::NOSYS | Errno::PERM) => Ok(None),
            _ => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                Ok(Some(open_plain(path, flags, Mode::empty())?))
            }
        }
    }

    /// Flags for opening a file. NONBLOCK keeps a pipe from holding the server until somebody writes to it,
    /// and NOCTTY a terminal from becoming the server's.
    const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

    /// Opens the place, not the file at it, which does not notice.
    pub fn place(folder: &OwnedFd, relative: &Path) -> io::Result<File> {
        resolve(folder, relative, OFlags::PATH)
    }

    /// Opens the file at a place, whatever its path leads to by now.
    pub fn open_place(place: &File) -> io::Result<File> {
        let name = format!("/proc/self/fd/{}", place.as_raw_fd());
        Ok(open_plain(name, READ, Mode::empty())?.into())
    }

    /// Opens a file for reading.
    pub fn open(folder: &OwnedFd, relative: &Path) -> io::Result<File> {
        resolve(folder, relative, READ)
    }

    /// Opens a folder for reading, and nothing else.
    pub fn open_folder(folder: &OwnedFd, relative: &Path) -> io::Result<File> {
        resolve(folder, relative, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Whether an open folder has no name any more.
    pub fn is_removed(folder: &OwnedFd) -> bool {
        fstat(folder).is_ok_and(|known| known.st_nlink == 0)
    }

    /// The names in an open folder.
    pub fn names(folder: &File) -> io::Result<impl Iterator<Item = io::Result<(OsString, Kind)>>> {
        let names = Dir::read_from(folder)?.map(|entry| {
            let entry = entry?;
            let kind = match entry.file_type() {
                FileType::Directory => Kind::Folder,
                FileType::RegularFile => Kind::File,
                _ => Kind::Unknown,
            };
            Ok((OsStr::from_bytes(entry.file_name().to_bytes()).to_os_string(), kind))
        });
        // The two entries for the folder itself and the one above it are no names in it.
        Ok(names.filter(|name| !matches!(name, Ok((name, _)) if name == "." || name == "..")))
    }

    /// Whether a path that was refused may still lead to a place inside: links are refused wherever they lead, and
    /// paths while somebody renames folders.
    pub fn may_stay_inside(error: &io::Error) -> bool {
        matches!(Errno::from_io_error(error), Some(Errno::XDEV | Errno::AGAIN | Errno::LOOP))
    }

    fn resolve(folder: &OwnedFd, relative: &Path, flags: OFlags) -> io::Result<File> {
        // The folder itself is the empty path here, and "." to the kernel.
        let path = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        let flags = flags | OFlags::CLOEXEC;
        let bounds = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        match openat2(folder.as_fd(), path, flags, Mode::empty(), bounds) {
            Ok(descriptor) => Ok(descriptor.into()),
            // A socket, or a device without a driver: somebody has put it there just now.
            Err(Errno::NXIO | Errno::NODEV) => Err(io::ErrorKind::PermissionDenied.into()),
            Err(error) => Err(error.into()),
        }
    }
}
