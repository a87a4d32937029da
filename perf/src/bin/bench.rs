// SPDX-License-Identifier: MIT OR Apache-2.0
fn main() {
    use lb::service::ForwardMode::*;
    let mut stand = perf::stand::Stand::new().unwrap();
    let eal = stand.eal.clone();
    let t = eal
        .spawn("bench", None, move |_| {
            let hz = stand.eal.tsc_hz();
            for n in [1000, 100_000] {
                for mode in [Masquerade, FullNat, Direct, Tunnel] {
                    let plan = perf::plan::Plan::new(wire::FamilyId::V4, mode, n);
                    let mut e =
                        perf::established::Established::new(&mut stand, &plan, &[60]).unwrap();
                    for way in perf::established::Way::of(&plan) {
                        let row = e
                            .row(
                                *way,
                                perf::cost::Effort {
                                    windows: 5,
                                    span: perf::cost::Span::Nanoseconds(30_000_000),
                                },
                                hz,
                            )
                            .unwrap();
                        println!(
                            "{mode:?} {n} {:?} cycles {:.0} ref {:.0} ratio {:.2} {:?}",
                            way,
                            row.cycles.unwrap().median,
                            row.reference_cycles.unwrap().median,
                            row.ratio.unwrap(),
                            row.latency
                        );
                    }
                }
            }
        })
        .unwrap();
    t.join().unwrap();
}
