// SPDX-License-Identifier: MIT OR Apache-2.0
//! x
fn main() {
    let stand = perf::stand::Stand::new().unwrap();
    let eal = stand.eal.clone();
    eal.spawn("instructions", None, move |_| perf::instructions::run_scenarios(stand))
        .unwrap()
        .join()
        .unwrap()
        .unwrap();
}
