// SPDX-License-Identifier: MIT OR Apache-2.0
//! Room for the descriptors of all clients (getrlimit(2), `RLIMIT_NOFILE`).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Descriptors that everything but clients of the control socket may need: NICs, taps, logs,
/// metrics.
const OTHERS: u64 = 512;

/// Raises the limit on open files so that this many clients fit, as far as the system lets us;
/// clients beyond it wait until others leave.
pub fn make_room_for(clients: usize) {
    let wanted = clients as u64 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let current = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let raised = Rlimit { current: Some(current), maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_err() || current < wanted {
        warn!(
            "{clients} clients need {wanted} open files, of which the system allows {current}; \
             set LimitNOFILE= of the service, or `ulimit -Hn`"
        );
    }
}
