// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which worker will own a flow, and how many frames change workers for it.

use control::config::{Config, Owner};

use super::Finding;

/// What the configuration alone decides.
pub(super) fn wiring(config: &Config) -> Finding {
    let workers = config.workers.count;
    if workers == 1 {
        return Finding::ok("steering: one worker owns every flow");
    }
    let queues = config.nics.iter().map(|nic| match nic.queues {
        1 => format!("{} has 1 receive queue", nic.name),
        queues => format!("{} has {queues} receive queues", nic.name),
    });
    let queues: String = queues.map(|queues| format!("; {queues}")).collect();
    Finding::ok(match config.workers.owner {
        Owner::Hash => {
            let percent = 100 * (u32::from(workers) - 1) / u32::from(workers);
            format!(
                "steering: {workers} workers own flows by a hash of the client's address and port; \
                 about {percent}% of the frames change workers by a ring{queues}"
            )
        }
        Owner::Landing => format!(
            "steering: of {workers} workers the one that receives a request owns its flow; NAT \
             servers (-m) are refused{queues}"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(text: &str) -> String {
        let nic = "[[nic]]\nname = \"wan\"\ndevice = \"net_null0\"\nqueues = 1\n";
        wiring(&Config::parse(&format!("{text}{nic}"), "x").expect("right")).what
    }

    #[test]
    fn the_share_of_frames_that_change_workers_grows_with_them() {
        assert_eq!(what(""), "steering: one worker owns every flow");
        assert!(what("[workers]\ncount = 2\n").contains("about 50%"));
        let four = what("[workers]\ncount = 4\n");
        assert!(four.contains("about 75%") && four.ends_with("; wan has 1 receive queue"));
    }

    #[test]
    fn landing_says_what_it_costs() {
        assert!(what("[workers]\ncount = 2\nowner = \"landing\"\n").contains("(-m) are refused"));
    }
}
