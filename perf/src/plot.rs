// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cost against number of connections, as SVG.
//!
//! The cost is the ratio to 5tswap on the same machine, so that systems which were measured
//! elsewhere can stand beside ours. Lines of others are dashed; README.md says where they come
//! from.

use std::fmt::Write;

use crate::row::Row;

/// DPVS 1.10.2, one worker, over the 64 cycles that 5tswap took on that machine with the same
/// source: connections in random order, and the ratio.
const OTHERS: [(&str, &[(f64, f64)]); 3] = [
    ("DPVS NAT", &[(256.0, 8.8), (4096.0, 11.1), (1e6, 40.2)]),
    ("DPVS DR", &[(256.0, 8.5), (4096.0, 9.6), (1e6, 34.9)]),
    ("DPVS FULLNAT", &[(256.0, 9.0), (4096.0, 10.6), (1e6, 36.6)]),
];
const COLOURS: [&str; 4] = ["#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad"];
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
/// Powers of ten of the axis of connections.
const CONNECTIONS: (f64, f64) = (2.0, 7.0);
/// Powers of two of the axis of ratios.
const RATIOS: (f64, f64) = (0.0, 6.0);

/// The drawing.
pub fn svg(rows: &[Row]) -> String {
    let mut svg = Drawing::new();
    svg.axes();
    let mut labels = Vec::new();
    for (mode, colour) in ["NAT", "FULLNAT", "DR", "TUN"].into_iter().zip(COLOURS) {
        let mut points: Vec<(f64, f64)> = rows
            .iter()
            .filter(|row| {
                row.group == "established"
                    && row.name == "request"
                    && row.family == Some(4)
                    && row.mode == Some(mode)
            })
            .filter_map(|row| Some((f64::from(row.connections?), row.ratio?)))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        svg.line(&points, colour, "");
        labels.extend(points.last().map(|last| (*last, format!("Pointsman {mode}"), colour)));
    }
    svg.line(&[(100.0, 1.0), (1e7, 1.0)], "#222222", "");
    labels.push(((1e7, 1.0), "5tswap".to_owned(), "#222222"));
    for (name, points) in OTHERS {
        svg.line(points, "#777777", "6 4");
        labels.extend(points.last().map(|last| (*last, name.to_owned(), "#777777")));
    }
    svg.labels(labels);
    svg.finish()
}

struct Drawing(String);

impl Drawing {
    fn new() -> Self {
        let mut drawing = Self(String::new());
        drawing.put(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">Cost of an established packet, as a \
             multiple of 5tswap on the same machine</text>\n"
        ));
        drawing
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        let written = self.0.write_fmt(text);
        debug_assert!(written.is_ok(), "a String takes everything");
    }

    fn axes(&mut self) {
        for power in CONNECTIONS.0 as i32..=CONNECTIONS.1 as i32 {
            let count = 10_f64.powi(power);
            let (x, bottom) = (x(count), HEIGHT - BOTTOM);
            let label = ["100", "1 k", "10 k", "100 k", "1 M", "10 M"][power as usize - 2];
            self.put(format_args!(
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" \
                 stroke=\"#e4e4e4\"/>\n<text x=\"{x:.1}\" y=\"{:.1}\" \
                 text-anchor=\"middle\">{label}</text>\n",
                bottom + 18.0
            ));
        }
        for power in RATIOS.0 as i32..=RATIOS.1 as i32 {
            let ratio = 2_f64.powi(power);
            let (y, right) = (y(ratio), WIDTH - RIGHT);
            self.put(format_args!(
                "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" \
                 stroke=\"#e4e4e4\"/>\n<text x=\"{:.1}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{ratio:.0} x</text>\n",
                LEFT - 8.0,
                y + 4.0
            ));
        }
        self.put(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">connections, packets in random \
             order</text>\n",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 12.0
        ));
    }

    fn line(&mut self, points: &[(f64, f64)], colour: &str, dashes: &str) {
        let place = |(count, ratio): &(f64, f64)| format!("{:.1},{:.1}", x(*count), y(*ratio));
        let places: Vec<String> = points.iter().map(place).collect();
        self.put(format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" \
             stroke-dasharray=\"{dashes}\"/>\n",
            places.join(" ")
        ));
        for (count, ratio) in points {
            let (x, y) = (x(*count), y(*ratio));
            self.put(format_args!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>\n"
            ));
        }
    }

    /// Labels beside the ends of lines, moved apart.
    fn labels(&mut self, mut labels: Vec<((f64, f64), String, &str)>) {
        labels.sort_by(|a, b| b.0.1.total_cmp(&a.0.1));
        let mut lowest = 0.0_f64;
        for ((_, ratio), text, colour) in labels {
            let place = (y(ratio) + 4.0).max(lowest + 14.0);
            lowest = place;
            let right = WIDTH - RIGHT + 10.0;
            self.put(format_args!(
                "<text x=\"{right}\" y=\"{place:.1}\" fill=\"{colour}\">{text}</text>\n"
            ));
        }
    }

    fn finish(mut self) -> String {
        self.0 += "</svg>\n";
        self.0
    }
}

fn x(count: f64) -> f64 {
    let share = (count.log10() - CONNECTIONS.0) / (CONNECTIONS.1 - CONNECTIONS.0);
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

fn y(ratio: f64) -> f64 {
    let share = (ratio.max(1.0).log2() - RATIOS.0) / (RATIOS.1 - RATIOS.0);
    HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
}
