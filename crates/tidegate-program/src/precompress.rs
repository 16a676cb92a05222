//! The command `precompress`: makes the codings that lie beside the files of a folder, for `--precompressed`.
//!
//! ```text
//! app.js ──▶ app.js.gz, and with the feature `dense` app.js.br and app.js.zst
//! ```
//!
//! A coding has its file's time of modification, by which the next run sees that it is up to date, unless the file was changed
//! later. One that is not shorter is
//! not made, and taken away if it is of an older content. Hidden files and links are passed over.
//!
//! With `--against` files are coded against those of an earlier time, too, which clients may have (RFC 9842):
//!
//! ```text
//! app.js, and an earlier app.js        ──▶ app.js.HASH.dcz, where HASH is the SHA-256 of the earlier one
//! app-3f2a9c1b.js, and app-9d8e7f6a.js ──▶ app-3f2a9c1b.js.HASH.dcz
//! app-BxyZ12_a.js, and app-D4f-9kQ2.js ──▶ app-BxyZ12_a.js.HASH.dcz
//! ```

mod earlier;
mod hashes;

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::SystemTime;

use clap::Args;
use tidegate_compress::{Coding, Effort, code, is_text};
use tidegate_files::media_type;

use self::earlier::Earlier;

/// Shortest file that is coded, in bytes. 512: as with `--compress`.
const LENGTH_MIN: u64 = 512;
/// Longest file that is coded, in bytes. 256 MiB: file and codings are in memory meanwhile.
const LENGTH_MAX: u64 = 256 << 20;
/// The codings that this program could make, by their extensions.
const EXTENSIONS: [&str; 3] = ["gz", "br", "zst"];
/// The command that builds a program with all codings.
const WAY_OUT: &str = "cargo build --release -p tidegate-cli --features dense";

/// The options of the command `precompress`.
#[derive(Args, Debug)]
pub struct PrecompressOptions {
    /// Codings to make, with commas between them: gz, br, zst
    #[arg(long, value_name = "CODINGS", value_delimiter = ',', default_value = "gz,br,zst", value_parser = EXTENSIONS)]
    pub codings: Vec<String>,
    /// Make codings anew that are up to date, too
    #[arg(long)]
    pub all: bool,
    /// Folder with the files of an earlier time, to code the new ones against them; may be repeated
    ///
    /// For app.js or app-3f2a9c1b.js it makes app-3f2a9c1b.js.HASH.dcz (RFC 9842), which static --use-as-dictionary sends to
    /// clients that have the earlier file of that name, or of the same name with another hash. HASH is the SHA-256 of
    /// that, as sha256sum has it. A hash in a name is hexadecimal, or as Vite, Rollup and esbuild write it: app-BxyZ12_a.js.
    #[arg(long, value_name = "DIR")]
    pub against: Vec<PathBuf>,
}

/// The sums of what was done.
#[derive(Clone, Copy, Default)]
struct Sums {
    files: usize,
    bytes: u64,
    made: usize,
    made_bytes: u64,
    up_to_date: usize,
    not_shorter: usize,
}

impl Sums {
    fn add(&mut self, more: Sums) {
        self.files += more.files;
        self.bytes += more.bytes;
        self.made += more.made;
        self.made_bytes += more.made_bytes;
        self.up_to_date += more.up_to_date;
        self.not_shorter += more.not_shorter;
    }
}

/// Makes the codings of a folder, and returns a sentence about what was done.
///
/// # Errors
/// Returns a sentence about what is wrong: a coding that is not built in, or the first file that could not be read or written.
pub fn run(folder: &Path, options: &PrecompressOptions) -> Result<String, String> {
    let codings = options.codings.iter().map(|extension| coding_of(extension));
    let codings = codings.collect::<Result<Vec<Coding>, String>>()?;
    let earlier = Earlier::find(&options.against)?;
    let mut files = Vec::new();
    find(folder, &mut files).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let (next, sums, failure) = (AtomicUsize::new(0), Mutex::new(Sums::default()), Mutex::new(None));
    let work = || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            match make_all(file, folder, &codings, &earlier, options.all) {
                Ok(more) => lock(&sums).add(more),
                Err(error) => {
                    next.store(files.len(), Ordering::Relaxed);
                    lock(&failure).get_or_insert(format!("cannot code {}: {error}", file.display()));
                }
            }
        }
    };
    let count = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..count).for_each(|_| drop(scope.spawn(work))));
    let (sums, failure) = (*lock(&sums), lock(&failure).take());
    failure.map_or_else(|| Ok(report(sums)), Err)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn report(sums: Sums) -> String {
    let Sums { files, bytes, made, made_bytes, up_to_date, not_shorter } = sums;
    format!(
        "{files} files of text with {bytes} bytes: {made} codings made with {made_bytes} bytes, \
         {up_to_date} up to date, {not_shorter} would not be shorter"
    )
}

/// Returns the coding of an extension, or a sentence that says how to have it built in.
fn coding_of(extension: &str) -> Result<Coding, String> {
    Coding::ALL.into_iter().find(|coding| coding.extension() == extension).ok_or_else(|| {
        let own: Vec<_> = Coding::ALL.iter().map(|coding| coding.extension()).collect();
        let own = own.join(",");
        format!(
            "this program cannot make {extension}, which would be a good deal larger then: it can with --codings {own}, \
             and one that can make all is built by \"{WAY_OUT}\""
        )
    })
}

/// Finds the files of text in a folder, and in those in it.
fn find(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (name, path, kind) = (entry.file_name(), entry.path(), entry.file_type()?);
        let is_hidden = name.as_encoded_bytes().starts_with(b".") && name != ".well-known";
        if is_hidden {
            continue;
        }
        if kind.is_dir() {
            find(&path, files)?;
        } else if kind.is_file() && media_type(&path).is_some_and(is_text) {
            files.push(path);
        }
    }
    Ok(())
}

/// Makes the codings of one file that are not up to date.
fn make_all(
    path: &Path,
    folder: &Path,
    codings: &[Coding],
    earlier: &Earlier,
    is_anew: bool,
) -> io::Result<Sums> {
    let metadata = fs::metadata(path)?;
    let length = metadata.len();
    let mut sums = Sums { files: 1, bytes: length, ..Sums::default() };
    if !(LENGTH_MIN..=LENGTH_MAX).contains(&length) {
        return Ok(Sums::default());
    }
    let modified = metadata.modified()?;
    let mut content = None;
    for &coding in codings {
        let coded_path = with_extension(path, coding.extension());
        if !is_anew && is_up_to_date(&coded_path, &metadata) {
            sums.up_to_date += 1;
            continue;
        }
        let content = match &content {
            Some(content) => content,
            None => content.insert(fs::read(path)?),
        };
        let coded = code(content, coding, Effort::Most)?;
        if coded.len() >= content.len() {
            sums.not_shorter += 1;
            match fs::remove_file(&coded_path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => continue,
            }
        }
        replace(&coded_path, &coded, &metadata, modified)?;
        (sums.made, sums.made_bytes) = (sums.made + 1, sums.made_bytes + coded.len() as u64);
    }
    sums.add(earlier.make_all(path, folder, &metadata, is_anew)?);
    Ok(sums)
}

/// The path of what lies beside a file.
fn with_extension(path: &Path, extension: &str) -> PathBuf {
    let mut coded = path.as_os_str().to_owned();
    coded.push(format!(".{extension}"));
    coded.into()
}

/// Whether a coding is of this content: it has the same time of modification, and the file was not changed since it was made. (That
/// time alone would not do: some tools give all files the same.)
fn is_up_to_date(coded_path: &Path, original: &Metadata) -> bool {
    let modified = |metadata: &Metadata| (metadata.mtime(), metadata.mtime_nsec());
    let changed = |metadata: &Metadata| (metadata.ctime(), metadata.ctime_nsec());
    fs::metadata(coded_path)
        .is_ok_and(|coded| modified(&coded) == modified(original) && changed(original) <= changed(&coded))
}

/// Puts a file in its place at once, so that a server never sees half of it, and nobody reads it who may not read the original.
fn replace(path: &Path, content: &[u8], like: &Metadata, modified: SystemTime) -> io::Result<()> {
    let new = beside(path);
    // Whatever has the name was left over, or put there by somebody else: a link must not be followed.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let written = file
        .write_all(content)
        .and_then(|()| file.set_modified(modified))
        .and_then(|()| file.set_permissions(like.permissions()))
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // What is wrong is said; that this is left over, too, would hide it.
        let _ = fs::remove_file(&new);
    }
    written
}

/// The name that a file has until it is whole: hidden, so that no server sends it.
fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A folder of a test, which is gone after it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("tidegate-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn another_content_under_an_old_date_is_coded_anew() {
        let folder = Folder::new("old-date");
        let file = folder.0.join("app.js");
        let options = PrecompressOptions { codings: vec!["gz".to_string()], all: false, against: Vec::new() };
        let write = |content: &str| {
            fs::write(&file, content.repeat(100)).unwrap();
            let date = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
            fs::File::options().write(true).open(&file).unwrap().set_modified(date).unwrap();
        };
        write("let tide = 1;\n");
        assert!(run(&folder.0, &options).unwrap().contains("1 codings made"));
        assert!(run(&folder.0, &options).unwrap().contains("1 up to date"));
        // Longer than the clock of the file system takes for a step.
        thread::sleep(std::time::Duration::from_millis(20));
        write("let tide = 2;\n");
        assert!(run(&folder.0, &options).unwrap().contains("1 codings made"));
        assert!(run(&folder.0, &options).unwrap().contains("1 up to date"));
    }

    #[test]
    fn link_in_the_place_of_a_new_file_is_not_followed() {
        let folder = Folder::new("link");
        let (file, other) = (folder.0.join("app.js"), folder.0.join("other"));
        fs::write(&file, "let tide = 1;\n".repeat(100)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        fs::write(&other, "not ours").unwrap();
        let coded = folder.0.join("app.js.gz");
        symlink(&other, beside(&coded)).unwrap();
        let options = PrecompressOptions { codings: vec!["gz".to_string()], all: false, against: Vec::new() };
        assert!(run(&folder.0, &options).unwrap().contains("1 codings made"));
        assert_eq!(fs::read(&other).unwrap(), b"not ours");
        let metadata = fs::symlink_metadata(&coded).unwrap();
        assert!(metadata.is_file() && metadata.len() > 0);
        assert_eq!(metadata.permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 3, "nothing is left over");
    }
}
