// SPDX-License-Identifier: MIT OR Apache-2.0
//! Directors that hang.

use std::os::unix::net::UnixListener;
use std::time::Instant;

use super::*;

const SHORT: Duration = Duration::from_millis(200);

fn is_silent(socket: &Path) -> bool {
    let begun = Instant::now();
    let outcome = converse(socket, &["-C".into()], SHORT);
    assert!(begun.elapsed() < 10 * SHORT);
    matches!(outcome, Err(CtlError::Silent))
}

#[test]
fn a_director_that_says_nothing_is_not_waited_for() {
    let path = std::env::temp_dir().join(format!("pointsman-silent-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    assert!(is_silent(&path), "it lets the client wait");
    // The client of before is still in the queue, which is full now.
    rustix::net::listen(&listener, 0).unwrap();
    assert!(is_silent(&path), "nobody else finds a place in its queue");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn help_and_version_need_no_director_and_other_commands_do() {
    let own = |words: &[&str]| own_answer(&words.iter().map(OsString::from).collect::<Vec<_>>());
    assert!(own(&["-h"]).is_some_and(|text| text.contains("--add-service")));
    assert_eq!(own(&["--version"]).as_deref(), help::answer(&Command::Version).as_deref());
    assert_eq!(own(&["-L"]), None);
    assert_eq!(own(&[]), None);
}
