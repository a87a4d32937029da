// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files that hold text.

/// The bytes as text; without it, the line of the first byte that is none, counted from 1.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, usize> {
    str::from_utf8(bytes).map_err(|error| {
        let before = bytes.iter().take(error.valid_up_to());
        1 + before.filter(|byte| **byte == b'\n').count()
    })
}
