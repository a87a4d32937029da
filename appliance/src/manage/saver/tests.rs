// SPDX-License-Identifier: MIT OR Apache-2.0
//! A rules file in a folder of the test's own.

use std::cell::RefCell;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::rc::Rc;

use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("pointsman-saver-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(act: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, act);
}

async fn within(time: Duration, happened: impl Fn() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < time, "it did not happen within {time:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_save_that_failed_is_tried_again_until_it_succeeds() {
    let folder = Folder::new("again");
    let below = folder.path("later");
    let file = below.join("saved.rules");
    run(async {
        let saver = Rc::new(Saver::new(file.clone()));
        let other = Rc::clone(&saver);
        spawn_local(async move { other.run(|| "rules\n".to_owned()).await });
        saver.note_change();
        sleep(Duration::from_millis(100)).await;
        assert!(saver.unsaved.get());
        fs::create_dir(&below).unwrap();
        within(2 * TRY_AGAIN, || fs::read_to_string(&file).is_ok_and(|text| text == "rules\n"))
            .await;
    });
}

#[test]
fn changes_during_a_save_are_saved_by_the_next_one() {
    let folder = Folder::new("next");
    let file = folder.path("saved.rules");
    run(async {
        let saver = Rc::new(Saver::new(file.clone()));
        let text = Rc::new(RefCell::new(String::new()));
        let (other, given) = (Rc::clone(&saver), Rc::clone(&text));
        spawn_local(async move { other.run(|| given.borrow().clone()).await });
        for number in 0..50 {
            *text.borrow_mut() = format!("{number}\n");
            saver.note_change();
            sleep(Duration::from_millis(2)).await;
        }
        within(Duration::from_secs(5), || fs::read_to_string(&file).is_ok_and(|t| t == "49\n"))
            .await;
    });
}

#[test]
fn nothing_is_written_when_nothing_changed() {
    let folder = Folder::new("nothing");
    let saver = Saver::new(folder.path("saved.rules"));
    run(async { saver.save(|| unreachable!("nobody asked")).await.unwrap() });
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
}

#[test]
fn a_file_is_replaced_where_its_link_points_and_keeps_its_mode() {
    let folder = Folder::new("link");
    let (file, link) = (folder.path("real.rules"), folder.path("saved.rules"));
    symlink("real.rules", &link).unwrap();
    replace(&link, "first\n").unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "first\n", "a link to what is not there yet");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    replace(&link, "second\n").unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "second\n");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn the_file_beside_is_nobodys_link() {
    let folder = Folder::new("beside");
    let (file, beside) = (folder.path("saved.rules"), folder.path("saved.rules.new"));
    let victim = folder.path("victim");
    fs::write(&victim, "mine\n").unwrap();
    symlink(&victim, &beside).unwrap();
    replace(&file, "rules\n").unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine\n");
    assert_eq!(fs::read_to_string(&file).unwrap(), "rules\n");
    assert!(!beside.exists());
}
