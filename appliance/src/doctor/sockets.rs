// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the director will listen, the rules that it will load, and whether one runs already.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use control::config::Config;
use control::rules::{self, RulesFileError};
use rustix::fs::{Access, access};

use super::{Director, Finding};

pub(super) fn examine(config: &Config) -> (Vec<Finding>, Director) {
    let path = config.control.socket.as_path();
    let place = Place::look(path);
    let director =
        if matches!(place, Place::Answers) { Director::Runs } else { Director::IsAbsent };
    let mut findings = vec![socket(path, &place)];
    if let Some(address) = config.metrics
        && director == Director::IsAbsent
    {
        findings.push(metrics(address, TcpListener::bind(address).map(drop)));
    }
    findings.extend(start_rules(config));
    (findings, director)
}

/// What is where a socket is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Nothing, or a socket that nobody listens on, in a folder that can be written.
    Free,
    /// A process listens.
    Answers,
    /// A file that is no socket.
    Taken,
    /// The folder cannot be written.
    Closed,
}

impl Place {
    fn look(path: &Path) -> Self {
        let found = fs::symlink_metadata(path);
        if found.as_ref().is_ok_and(|found| !found.file_type().is_socket()) {
            return Self::Taken;
        }
        let refused = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        match UnixStream::connect(path) {
            Ok(_) => Self::Answers,
            Err(error) if refused(&error) || !can_be_written(path) => Self::Closed,
            Err(_) => Self::Free,
        }
    }
}

/// Whether a file can be made here; the nearest folder above that is there decides.
fn can_be_written(path: &Path) -> bool {
    let named = |folder: &Path| !folder.as_os_str().is_empty();
    let mut folders = path.ancestors().skip(1).filter(|folder| named(folder));
    let nearest = folders.find(|folder| folder.exists()).unwrap_or(Path::new("."));
    nearest.is_dir() && access(nearest, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

fn socket(path: &Path, place: &Place) -> Finding {
    let (name, path) = ("control socket", path.display());
    match place {
        Place::Free => Finding::ok(format!("{name}: {path} is free")),
        Place::Answers => Finding::warn(
            format!("{name}: a director answers at {path}; a second start is refused"),
            "stop it before the start, or set [control] socket to another path",
        ),
        Place::Taken => Finding::fail(
            format!("{name}: {path} is there and is no socket"),
            "move it away, or set another path in [control]",
        ),
        Place::Closed => Finding::fail(
            format!("{name}: {path} cannot be made"),
            "run as root, give its folder to this user, or set another path in [control]",
        ),
    }
}

fn metrics(address: SocketAddr, bound: io::Result<()>) -> Finding {
    match bound {
        Ok(()) => Finding::ok(format!("metrics: {address} is free")),
        Err(error) => Finding::fail(
            format!("metrics: {address}: {error}"),
            "set [metrics] listen to an address of this machine and a port that is free",
        ),
    }
}

fn start_rules(config: &Config) -> Option<Finding> {
    let path = config.rules.file.as_deref()?;
    if config.rules.persist && !can_be_written(path) {
        return Some(Finding::fail(
            format!("rules: nothing can be saved in the folder of {}", path.display()),
            "give the folder to this user, or set [rules] persist = false",
        ));
    }
    Some(match rules::rehearse(config) {
        Ok(_) if !path.exists() => {
            Finding::ok(format!("rules: {} is made after the first change", path.display()))
        }
        Ok(rules) => Finding::ok(format!("rules: {} in {}", rules.len(), path.display())),
        Err(error @ RulesFileError::Missing(_)) => {
            Finding::fail(format!("rules: {} is not there", path.display()), error.to_string())
        }
        Err(error) => Finding::fail(format!("rules: {error}"), "correct that line"),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::super::Level;
    use super::*;

    #[test]
    fn a_place_is_what_is_there() {
        let folder = std::env::temp_dir().join(format!("pointsman-place-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("control.sock");
        assert_eq!(Place::look(&path), Place::Free);
        assert_eq!(Place::look(&folder.join("run/deep/control.sock")), Place::Free);
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(Place::look(&path), Place::Answers);
        drop(listener);
        assert_eq!(Place::look(&path), Place::Free);
        let file = folder.join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(Place::look(&file), Place::Taken);
        assert_eq!(Place::look(&file.join("control.sock")), Place::Closed);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn only_what_hinders_a_start_fails() {
        let level = |place| socket(Path::new("/x"), &place).level;
        assert_eq!(level(Place::Free), Level::Ok);
        assert_eq!(level(Place::Answers), Level::Warn);
        assert_eq!(level(Place::Taken), Level::Fail);
        assert_eq!(level(Place::Closed), Level::Fail);
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let finding = metrics(address, TcpListener::bind(address).map(drop));
        assert_eq!(finding.level, Level::Fail);
    }

    #[test]
    fn a_wrong_rule_is_named_by_its_line() {
        let name = format!("pointsman-doctor-{}.rules", std::process::id());
        let path = std::env::temp_dir().join(name);
        let text = format!("[rules]\nfile = \"{}\"\n{}", path.display(), super::super::DEFAULTS);
        let config = Config::parse(&text, "test.toml").unwrap();
        let found = |rules: &str| {
            fs::write(&path, rules).unwrap();
            start_rules(&config).unwrap()
        };
        let finding = found("# a comment\n-A -t bogus\n");
        assert_eq!(finding.level, Level::Fail);
        let place = format!("rules: {}:2: ", path.display());
        assert!(finding.what.starts_with(&place), "{finding}");
        let finding = found("-A -t 192.0.2.1:80 -s rr\n");
        assert_eq!(finding.what, format!("rules: 1 in {}", path.display()));
        fs::remove_file(&path).unwrap();
        assert_eq!(start_rules(&config).unwrap().level, Level::Fail);
    }
}
