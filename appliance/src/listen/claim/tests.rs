// SPDX-License-Identifier: MIT OR Apache-2.0
//! The place of a socket, in a folder of the test's own.

use std::os::unix::fs::symlink;

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("pointsman-claim-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn one_director_serves_a_path_and_leaves_nothing_there() {
    let folder = Folder::new("one");
    let claimed = claim_socket(&folder.socket()).unwrap();
    assert!(matches!(claim_socket(&folder.socket()), Err(SocketError::InUse(_))));
    drop(claimed);
    assert_eq!(folder.names(), Vec::<String>::new());
    drop(claim_socket(&folder.socket()).unwrap());
}

#[test]
fn the_lock_keeps_out_a_start_even_while_nobody_listens() {
    let folder = Folder::new("lock");
    let lock = Lock::take(&folder.socket()).unwrap().unwrap();
    assert!(matches!(claim_socket(&folder.socket()), Err(SocketError::InUse(_))));
    drop(lock);
    // What a crash leaves: a lock that nobody holds, and a socket that nobody serves.
    fs::write(folder.0.join("control.sock.lock"), "").unwrap();
    drop(BlockingListener::bind(folder.socket()).unwrap());
    assert!(claim_socket(&folder.socket()).is_ok());
}

#[test]
fn a_socket_of_somebody_else_in_our_place_is_not_removed() {
    let folder = Folder::new("else");
    let claimed = claim_socket(&folder.socket()).unwrap();
    fs::remove_file(folder.socket()).unwrap();
    let _other = BlockingListener::bind(folder.socket()).unwrap();
    drop(claimed);
    assert_eq!(folder.names(), ["control.sock"]);
}

#[test]
fn what_is_in_the_way_is_told_apart() {
    let folder = Folder::new("way");
    let said = |path: &Path| claim_socket(path).unwrap_err().to_string();
    fs::write(folder.0.join("file"), "").unwrap();
    let below = said(&folder.0.join("file/control.sock"));
    assert!(below.contains("its folder") && below.contains("cannot be made"), "{below}");
    assert!(said(&folder.0.join("file")).contains("a file that is no socket"));
    symlink("elsewhere", folder.socket()).unwrap();
    assert!(said(&folder.socket()).contains("a symbolic link; remove it"));
    assert_eq!(folder.names().len(), 2, "no lock is left");
}
