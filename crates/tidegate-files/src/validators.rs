//! Decides whether a client's copy is still good: validators and preconditions (RFC 9110 §8.8, §13).
//!
//! ```text
//! If-Match, else If-Unmodified-Since     does not hold ──▶ 412
//! If-None-Match, else If-Modified-Since  does not hold ──▶ 304
//! If-Range, with Range                   does not hold ──▶ the whole file
//! ```

use std::fs::{File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use tidegate::message::{Fields, HttpDate};

/// Time for which a change may not show, after another one, where the file system counts nanoseconds. 20 ms: twice the
/// longest tick of the clock of Linux, from which it takes them.
const TICK: Duration = Duration::from_millis(20);
/// Time for which a change may not show where the file system seems to count seconds. 2 s: the tick of FAT.
const COARSE_TICK: Duration = Duration::from_secs(2);

/// The facts by which the system tells one file from another, and one version of it from another.
///
/// The time of modification can be set, and is by those who unpack archives or want reproducible builds. The time of the
/// last change of anything (`ctime`) cannot, and a file that takes another's place has another inode.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub device: u64,
    pub inode: u64,
    pub length: u64,
    /// The time of the last modification, in seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    pub fn of(metadata: &Metadata) -> Identity {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Returns the identity that an open file has now. It is asked for with each answer, so Linux is asked by `fstat`, which
    /// takes three quarters of the time of the call behind `File::metadata`.
    ///
    /// # Errors
    /// Returns the error of the system.
    pub fn of_open(file: &File) -> io::Result<Identity> {
        #[cfg(all(feature = "sockets", target_os = "linux"))]
        {
            let stat = rustix::fs::fstat(file)?;
            // The types of the fields depend on the processor.
            Ok(Identity {
                device: stat.st_dev as _,
                inode: stat.st_ino as _,
                length: stat.st_size as _,
                modified: (stat.st_mtime as _, stat.st_mtime_nsec as _),
                changed: (stat.st_ctime as _, stat.st_ctime_nsec as _),
            })
        }
        #[cfg(not(all(feature = "sockets", target_os = "linux")))]
        file.metadata().map(|metadata| Identity::of(&metadata))
    }

    /// Returns whether a change of the file after `now` will show, since its last one was long enough ago.
    pub fn certainty(&self, now: SystemTime) -> Certainty {
        let now = i128::try_from(since_1970(now).as_nanos()).unwrap_or(i128::MAX);
        let is_settled = |(seconds, nanos): (i64, i64)| {
            let tick = if nanos == 0 { COARSE_TICK } else { TICK };
            let age = now - (i128::from(seconds) * 1_000_000_000 + i128::from(nanos));
            age.unsigned_abs() > tick.as_nanos()
        };
        match is_settled(self.modified) && is_settled(self.changed) {
            true => Certainty::Certain,
            false => Certainty::Uncertain,
        }
    }
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

/// The validators of a file: they tell one version of it from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validators {
    /// A strong entity tag, made of all that changes with the file: see [`Identity`]. It is a digest, since inodes are
    /// nobody's business.
    pub etag: String,
    /// The time of the last modification, in whole seconds since 1970-01-01T00:00:00Z.
    pub modified: u64,
    /// The tag of the file as it is, where this is a coding of it and others may be known that have a dictionary.
    original: Option<String>,
}

/// Whether the times of a file tell each of its versions from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// A change from now on will show.
    Certain,
    /// The file has just changed, and may change again within the same tick of the file system's clock.
    Uncertain,
}

/// The result of evaluating a request's preconditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluation {
    /// Send the file.
    Proceed,
    /// The client has it already: 304.
    NotModified,
    /// The file is another version than the client refers to: 412.
    Failed,
}

impl Validators {
    /// Makes the validators of a file. Where another version could have the same identity, the tag is one of this very
    /// moment, and holds only for what was opened in it.
    ///
    /// A time that lies ahead of `now` is reported as `now`: a server must not claim to know of a modification in the
    /// future (§8.8.2.1).
    pub fn new(identity: &Identity, certainty: Certainty, now: SystemTime) -> Validators {
        let mut digest = DefaultHasher::new();
        // Devices are numbered anew when a machine starts.
        (identity.inode, identity.length, identity.modified, identity.changed).hash(&mut digest);
        if certainty == Certainty::Uncertain {
            since_1970(now).hash(&mut digest);
        }
        let modified = u64::try_from(identity.modified.0).unwrap_or(0);
        Validators {
            etag: format!("\"{:016x}-{:x}\"", digest.finish(), identity.length),
            modified: modified.min(since_1970(now).as_secs()),
            original: None,
        }
    }

    /// Turns the validators of a file into those of one of its codings. The tag of one with a dictionary begins with
    /// that of the file, and goes on after a dot: clients that have another dictionary by now, most likely this very
    /// version, are sent another form the next time, and it has to show that they know the version.
    #[must_use]
    pub fn of_coding(self, original: String, has_dictionary: bool) -> Validators {
        let etag = match has_dictionary {
            true => format!("{}.{}", original.trim_end_matches('"'), self.etag.trim_start_matches('"')),
            false => self.etag,
        };
        Validators { etag, original: Some(original), ..self }
    }

    /// Returns the tag by which a client knows this version: its own, or that of a coding with a dictionary.
    pub fn known_as<'a>(&'a self, fields: Fields<'a>) -> &'a [u8] {
        let is_own = || self.is_listed(fields, "If-None-Match", Comparison::Weak);
        self.known_with_dictionary(fields).filter(|_| !is_own()).unwrap_or(self.etag.as_bytes())
    }

    /// The tag of this version, coded with a dictionary, in If-None-Match.
    fn known_with_dictionary<'f>(&self, fields: Fields<'f>) -> Option<&'f [u8]> {
        let version = self.original.as_ref().unwrap_or(&self.etag).trim_end_matches('"').as_bytes();
        let mut tags = fields.all("If-None-Match").flat_map(entity_tags);
        tags.find(|tag| tag.strip_prefix(version).is_some_and(|rest| rest.starts_with(b".")))
    }

    /// Evaluates the preconditions of a GET or HEAD in the order of §13.2.2.
    pub fn evaluate(&self, fields: Fields<'_>) -> Evaluation {
        if fields.get("If-Match").is_some() {
            if !self.is_listed(fields, "If-Match", Comparison::Strong) {
                return Evaluation::Failed;
            }
        } else if self.is_modified_since(fields, "If-Unmodified-Since") == Some(true) {
            return Evaluation::Failed;
        }
        let is_current = if fields.get("If-None-Match").is_some() {
            self.is_listed(fields, "If-None-Match", Comparison::Weak)
                || self.known_with_dictionary(fields).is_some()
        } else {
            self.is_modified_since(fields, "If-Modified-Since") == Some(false)
        };
        if is_current { Evaluation::NotModified } else { Evaluation::Proceed }
    }

    /// Whether a Range may be obeyed: there is no If-Range, or it names this version (§13.1.5). A date never does,
    /// in whatever form: a file may change twice in a second, and then the client would put two versions together
    /// (§8.8.2.2).
    pub fn allows_range(&self, fields: Fields<'_>) -> bool {
        fields.all("If-Range").all(|tag| tag == self.etag.as_bytes())
    }

    /// Evaluates If-Modified-Since. None if it is no date or there are several, which is ignored (§13.1.3,
    /// §13.1.4).
    fn is_modified_since(&self, fields: Fields<'_>, name: &str) -> Option<bool> {
        let mut dates = fields.all(name);
        let (date, None) = (dates.next()?, dates.next()) else { return None };
        let now = since_1970(SystemTime::now()).as_secs();
        HttpDate::parse(date, now).map(|date| self.modified > date)
    }

    /// Whether a list of entity tags contains this version's, or is `*`.
    fn is_listed(&self, fields: Fields<'_>, name: &str, comparison: Comparison) -> bool {
        fields.all(name).any(|value| {
            value.trim_ascii() == b"*"
                || entity_tags(value).any(|tag| match (comparison, tag.strip_prefix(b"W/")) {
                    (Comparison::Strong, _) | (Comparison::Weak, None) => tag == self.etag.as_bytes(),
                    (Comparison::Weak, Some(opaque)) => opaque == self.etag.as_bytes(),
                })
        })
    }
}

/// The two ways of comparing entity tags (§8.8.3.2).
#[derive(Clone, Copy)]
enum Comparison {
    /// The tags are equal, and neither is weak.
    Strong,
    /// The tags are equal but for the `W/`.
    Weak,
}

/// Yields the members of a list of entity tags. A comma inside a tag's quotes is part of it, and a backslash
/// means nothing there (§8.8.3).
fn entity_tags(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    list.split(move |&byte| {
        is_quoted ^= byte == b'"';
        byte == b',' && !is_quoted
    })
    .map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const DAY_BEFORE: &str = "Sat, 05 Nov 1994 08:49:37 GMT";
    const DAY_AFTER: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

    fn identity() -> Identity {
        let modified = (784_111_777, 5);
        Identity { device: 1, inode: 2, length: 0x1f, modified, changed: (784_111_778, 6) }
    }

    #[test]
    fn open_file_has_the_identity_that_its_path_has() {
        let path = std::env::current_exe().unwrap();
        let of_path = Identity::of(&std::fs::metadata(&path).unwrap());
        assert_eq!(Identity::of_open(&File::open(path).unwrap()).unwrap(), of_path);
    }

    fn of(identity: &Identity) -> Validators {
        Validators::new(identity, Certainty::Certain, SystemTime::now())
    }

    fn validators() -> Validators {
        of(&identity())
    }

    fn lines(fields: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        fields.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
    }

    fn check(fields: &[(&str, &str)], expected: Evaluation) {
        let verdict = validators().evaluate(Fields::new(&lines(fields)));
        assert_eq!(verdict, expected, "{fields:?}");
    }

    fn check_range(if_range: &str, expected: bool) {
        let lines = lines(&[("If-Range", if_range)]);
        assert_eq!(validators().allows_range(Fields::new(&lines)), expected, "{if_range}");
    }

    #[test]
    fn a_request_without_preconditions_proceeds() {
        check(&[], Evaluation::Proceed);
        check(&[("If-Range", "\"x\"")], Evaluation::Proceed);
    }

    #[test]
    fn if_none_match_compares_weakly_and_overrules_the_date() {
        let tag = validators().etag;
        for list in [tag.clone(), format!("W/{tag}"), format!("\"a,b\", {tag}"), "*".to_string()] {
            check(&[("If-None-Match", &list)], Evaluation::NotModified);
        }
        check(&[("If-None-Match", "\"x\""), ("If-None-Match", &tag)], Evaluation::NotModified);
        for list in ["", "\"x\"", tag.trim_matches('"'), "W/*"] {
            check(&[("If-None-Match", list), ("If-Modified-Since", DAY)], Evaluation::Proceed);
        }
        check(&[("If-None-Match", &format!("\"a, {tag}"))], Evaluation::Proceed);
    }

    #[test]
    fn version_is_known_by_the_tag_of_any_coding_with_a_dictionary() {
        let other = of(&Identity { inode: 7, ..identity() });
        let original = validators().etag;
        let with_dictionary = other.clone().of_coding(original.clone(), true);
        assert_eq!(with_dictionary.etag.matches('"').count(), 2);
        let lines = lines(&[("If-None-Match", &format!("\"x\", {}", with_dictionary.etag))]);
        let fields = Fields::new(&lines);
        let if_range = vec![("If-Range".to_string(), with_dictionary.etag.clone().into_bytes())];
        let another = of(&Identity { inode: 8, ..identity() });
        for form in [
            with_dictionary.clone(),
            validators(),
            other.clone().of_coding(original.clone(), false),
            another.clone().of_coding(original, true),
        ] {
            assert_eq!(form.evaluate(fields), Evaluation::NotModified, "{form:?}");
            assert_eq!(form.known_as(fields), with_dictionary.etag.as_bytes());
            // Bytes of one coding never go on in another.
            assert_eq!(form.allows_range(Fields::new(&if_range)), form == with_dictionary);
        }
        let others = another.etag.clone();
        for form in [another, other.of_coding(others, true)] {
            assert_eq!(form.evaluate(fields), Evaluation::Proceed, "{form:?}");
        }
    }

    #[test]
    fn if_modified_since_compares_seconds() {
        check(&[("If-Modified-Since", DAY)], Evaluation::NotModified);
        check(&[("If-Modified-Since", DAY_AFTER)], Evaluation::NotModified);
        check(&[("If-Modified-Since", DAY_BEFORE)], Evaluation::Proceed);
        check(&[("If-Modified-Since", "yesterday")], Evaluation::Proceed);
        for date in ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            check(&[("If-Modified-Since", date)], Evaluation::NotModified);
            check(&[("If-Unmodified-Since", date)], Evaluation::Proceed);
            check_range(date, false);
        }
        for date in ["Saturday, 05-Nov-94 08:49:37 GMT", "Sat Nov  5 08:49:37 1994"] {
            check(&[("If-Modified-Since", date)], Evaluation::Proceed);
            check(&[("If-Unmodified-Since", date)], Evaluation::Failed);
        }
        check(&[("If-Modified-Since", DAY), ("If-Modified-Since", DAY)], Evaluation::Proceed);
    }

    #[test]
    fn if_match_compares_strongly_and_overrules_the_date() {
        let tag = validators().etag;
        check(&[("If-Match", &tag)], Evaluation::Proceed);
        check(&[("If-Match", "*"), ("If-Unmodified-Since", DAY_BEFORE)], Evaluation::Proceed);
        check(&[("If-Match", &format!("W/{tag}"))], Evaluation::Failed);
        check(&[("If-Match", "\"x\"")], Evaluation::Failed);
        check(&[("If-Unmodified-Since", DAY)], Evaluation::Proceed);
        check(&[("If-Unmodified-Since", DAY_BEFORE)], Evaluation::Failed);
        check(&[("If-Unmodified-Since", DAY_BEFORE), ("If-Unmodified-Since", DAY)], Evaluation::Proceed);
    }

    #[test]
    fn if_range_wants_the_very_same_version() {
        let tag = validators().etag;
        check_range(&tag, true);
        // It may have changed again in the same second.
        check_range(DAY, false);
        check_range(&format!("W/{tag}"), false);
        check_range("\"x\"", false);
        check_range(DAY_AFTER, false);
        check_range("", false);
    }

    #[test]
    fn a_modification_in_the_future_is_reported_as_of_now() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let at = |seconds| {
            let identity = Identity { modified: (seconds, 0), ..identity() };
            Validators::new(&identity, Certainty::Certain, now).modified
        };
        assert_eq!((at(1_500), at(999), at(-1)), (1_000, 999, 0));
    }

    #[test]
    fn tag_changes_with_all_that_tells_versions_apart() {
        let others = [
            Identity { inode: 3, ..identity() },
            Identity { length: 0x20, ..identity() },
            Identity { modified: (784_111_777, 6), ..identity() },
            // An edit of equal length, after which the time of modification was set back.
            Identity { changed: (784_111_778, 7), ..identity() },
        ];
        for other in others {
            assert_ne!(of(&other).etag, validators().etag, "{other:?}");
        }
        // The same disk after the machine has started again.
        assert_eq!(of(&Identity { device: 9, ..identity() }).etag, validators().etag);
    }

    #[test]
    fn file_that_has_just_changed_may_change_again_unseen() {
        let changed = SystemTime::UNIX_EPOCH + Duration::new(784_111_778, 6);
        let after = |millis| identity().certainty(changed + Duration::from_millis(millis));
        assert_eq!((after(0), after(19), after(21)), {
            (Certainty::Uncertain, Certainty::Uncertain, Certainty::Certain)
        });
        // A clock that was set back, or of another machine.
        let before = changed - Duration::from_secs(60);
        assert_eq!(identity().certainty(before), Certainty::Certain);
        let seconds = Identity { changed: (784_111_778, 0), ..identity() };
        assert_eq!(seconds.certainty(changed + Duration::from_millis(1_900)), Certainty::Uncertain);
        let tag = |now| Validators::new(&identity(), Certainty::Uncertain, now).etag;
        assert_ne!(tag(changed), tag(changed + Duration::from_nanos(1)));
    }
}
