// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line of `pointsman-blast`, and what must agree in it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use clap::Parser;
use wire::{FamilyId, L4, Mac};

use super::flows::{Addresses, Ends, Flows, FlowsError, Ports};
use super::frames::Sizes;
use super::rate::Rate;
use crate::stand::Pages;

/// Sends load to a director from NICs that DPDK drives, and says what came of it.
///
/// One way, two NICs:   --wan DEV --lan DEV --vip 192.0.2.1 --rate 1Mpps --seconds 10
/// Both ways (NAT, FULLNAT): the same with --reflect, where --lan plays the servers.
/// DR and TUN with one NIC: --wan DEV, which also plays the servers.
/// Servers alone, on another machine: --lan DEV --reflect --seconds 60.
#[derive(Clone, Debug, Parser)]
#[command(name = "pointsman-blast", version, verbatim_doc_comment)]
pub struct Options {
    /// The NIC that plays clients: a PCI address, or a virtual device such as net_tap0,iface=b0
    #[arg(long, value_name = "DEVICE", help_heading = "NICs")]
    pub wan: Option<String>,
    /// The NIC that plays servers; what comes by it is counted, or answered with --reflect
    #[arg(long, value_name = "DEVICE", help_heading = "NICs")]
    pub lan: Option<String>,
    /// Send what comes by --lan back as a server would; count what comes back by --wan
    #[arg(long, requires = "lan", help_heading = "NICs")]
    pub reflect: bool,
    /// The director's MAC address on the clients' side; without it, who has the VIP is asked
    #[arg(long, value_name = "MAC", help_heading = "NICs")]
    pub dst_mac: Option<Mac>,
    /// The clients' router as the director knows it: ARP and ND for it are answered
    #[arg(long, value_name = "ADDRESS", help_heading = "NICs")]
    pub router: Option<IpAddr>,
    /// The servers' addresses: ARP and ND for them are answered
    #[arg(long, value_name = "ADDRESSES", help_heading = "NICs")]
    pub server: Vec<Addresses>,
    /// The pages under packet buffers; huge ones must be reserved (sysctl vm.nr_hugepages=128)
    #[arg(long, value_enum, default_value = "normal", help_heading = "NICs")]
    pub pages: Pages,
    /// The CPUs of the threads of --wan and --lan, in this order
    #[arg(long, value_name = "CPU", value_delimiter = ',', help_heading = "NICs")]
    pub cpus: Vec<u16>,
    /// Microseconds that a thread without work sleeps; 0: it spins, as real NICs want it
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 0, help_heading = "NICs")]
    pub idle_us: u64,
    /// A further argument of DPDK's EAL
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true, help_heading = "NICs")]
    pub eal: Vec<String>,

    /// Where flows go: an address or a range of them
    #[arg(long, value_name = "ADDRESSES", help_heading = "Traffic")]
    pub vip: Option<Addresses>,
    /// The VIPs' port or range of ports
    #[arg(long, value_name = "PORTS", default_value = "80", help_heading = "Traffic")]
    pub vport: Ports,
    /// Where flows come from [default: 198.18.0.1-198.18.0.250, or 2001:2::1-2001:2::fa]
    #[arg(long, value_name = "ADDRESSES", help_heading = "Traffic")]
    pub client: Option<Addresses>,
    /// The clients' ports
    #[arg(long, value_name = "PORTS", default_value = "1024-65535", help_heading = "Traffic")]
    pub cport: Ports,
    /// Number of flows, in an order far from that of their addresses
    #[arg(long, value_name = "N", default_value_t = 1000, help_heading = "Traffic")]
    pub flows: u32,
    /// udp; syn: nothing but SYNs; tcp: connections are opened first, then data is sent
    #[arg(long, value_enum, default_value = "udp", help_heading = "Traffic")]
    pub protocol: Protocol,
    /// Bytes of a frame, FCS included: 64 to 1518, or imix (7 x 64, 4 x 570, 1 x 1518)
    #[arg(long, value_name = "BYTES", default_value = "64", help_heading = "Traffic")]
    pub size: Sizes,
    /// How fast: 200kpps, 1.5Mpps, 10Gbit (on the wire); with --rfc2544 the highest to try
    #[arg(long, value_name = "RATE", help_heading = "Traffic")]
    pub rate: Option<Rate>,
    /// How fast connections are opened before (tcp), and flows before an RFC 2544 search
    #[arg(long, value_name = "RATE", default_value = "50kpps", help_heading = "Traffic")]
    pub open_rate: Rate,

    /// Send for so many seconds
    #[arg(long, value_name = "SECONDS", group = "end", help_heading = "End")]
    pub seconds: Option<f64>,
    /// Send so many frames
    #[arg(long, value_name = "N", group = "end", help_heading = "End")]
    pub packets: Option<u64>,
    /// Search the highest rate without loss, by halving (RFC 2544 section 26.1)
    #[arg(long, group = "end", help_heading = "End")]
    pub rfc2544: bool,
    /// Seconds of each trial of the search
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, help_heading = "End")]
    pub trial: f64,
    /// Percent of --rate that the search ends at
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0, help_heading = "End")]
    pub resolution: f64,
    /// Seconds without an arrival after which late frames are given up
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, help_heading = "End")]
    pub settle: f64,

    /// Exit with 1 if a frame was lost, doubled or spoilt
    #[arg(long, help_heading = "Result")]
    pub no_loss: bool,
    /// Compute the checksums of one in so many frames anew
    #[arg(long, value_name = "N", default_value_t = 64, help_heading = "Result")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub verify: u64,
    /// Write the result as JSON, too
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub json: Option<PathBuf>,
    /// Print no line per second
    #[arg(long, help_heading = "Result")]
    pub quiet: bool,
}

/// What flows are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// Datagrams.
    Udp,
    /// SYNs alone.
    Syn,
    /// Segments of opened connections.
    Tcp,
}

impl Protocol {
    /// The transport protocol.
    #[must_use]
    pub const fn l4(self) -> L4 {
        match self {
            Self::Udp => L4::Udp,
            Self::Syn | Self::Tcp => L4::Tcp,
        }
    }
}

/// Options that do not go together.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OptionsError {
    /// It would never end.
    #[error("say when to end: --seconds S, --packets N or --rfc2544; load without end is none")]
    NoEnd,
    /// Nothing to do.
    #[error("name a NIC to send from with --wan, or one that answers with --lan and --reflect")]
    NoNic,
    /// Nowhere to send.
    #[error("--wan sends to a VIP: name it with --vip 192.0.2.1")]
    NoVip,
    /// No rate.
    #[error("--wan sends at a rate: name it with --rate, such as 100kpps or 1Gbit")]
    NoRate,
    /// A number of seconds or percent that cannot be.
    #[error("{option} {value} cannot be; more than 0 and at most {most} can")]
    Range {
        /// Which.
        option: &'static str,
        /// What was given.
        value: f64,
        /// The most.
        most: f64,
    },
    /// Servers alone end by time.
    #[error("--lan alone plays servers for a time: name it with --seconds")]
    ServersEnd,
    /// Flows that cannot be.
    #[error("{0}")]
    Flows(#[from] FlowsError),
}

/// Where load comes from and goes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// The flows.
    pub flows: Flows,
    /// The clients.
    pub clients: Addresses,
    /// The VIPs.
    pub vips: Addresses,
    /// How fast, at most.
    pub rate: Rate,
}

impl Options {
    /// What is sent; none if this is servers alone.
    ///
    /// # Errors
    /// Options that do not go together, and how they would.
    pub fn target(&self) -> Result<Option<Target>, OptionsError> {
        if self.seconds.is_none() && self.packets.is_none() && !self.rfc2544 {
            return Err(OptionsError::NoEnd);
        }
        for (option, value, most) in [
            ("--seconds", self.seconds.unwrap_or(1.0), 86_400.0),
            ("--trial", self.trial, 86_400.0),
            ("--resolution", self.resolution, 50.0),
            ("--settle", self.settle, 60.0),
        ] {
            if !(value > 0.0 && value <= most) {
                return Err(OptionsError::Range { option, value, most });
            }
        }
        if self.wan.is_none() {
            return match (self.reflect, self.seconds) {
                (true, Some(_)) => Ok(None),
                (true, None) => Err(OptionsError::ServersEnd),
                (false, _) => Err(OptionsError::NoNic),
            };
        }
        let vips = self.vip.ok_or(OptionsError::NoVip)?;
        let rate = self.rate.ok_or(OptionsError::NoRate)?;
        let clients = self.client.unwrap_or_else(|| benchmark_clients(vips.family()));
        let (client_ports, vip_ports) = (self.cport, self.vport);
        let flows = Flows::new(Ends { clients, client_ports, vips, vip_ports }, self.flows)?;
        Ok(Some(Target { flows, clients, vips, rate }))
    }
}

/// 250 addresses that are set apart for benchmarks: RFC 2544 appendix C.2.2, RFC 5180 section 8.
fn benchmark_clients(family: FamilyId) -> Addresses {
    match family {
        FamilyId::V4 => Addresses::new(Ipv4Addr::new(198, 18, 0, 1).into(), 250),
        FamilyId::V6 => Addresses::new(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 1).into(), 250),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Options {
        Options::try_parse_from(line.split_whitespace()).unwrap()
    }

    fn refused(line: &str) -> String {
        read(line).target().unwrap_err().to_string()
    }

    #[test]
    fn load_without_end_is_refused() {
        let line = "blast --wan net_ring0 --vip 192.0.2.1 --rate 1kpps";
        assert!(refused(line).contains("--seconds"));
        for end in ["--seconds 1", "--packets 5", "--rfc2544"] {
            assert!(read(&format!("{line} {end}")).target().is_ok());
        }
        let both = format!("{line} --seconds 1 --packets 5");
        assert!(Options::try_parse_from(both.split_whitespace()).is_err());
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(refused("blast --seconds 1").contains("--wan"));
        assert!(refused("blast --seconds 1 --wan net_ring0").contains("--vip"));
        assert!(refused("blast --seconds 1 --wan net_ring0 --vip 192.0.2.1").contains("--rate"));
        assert!(refused("blast --rfc2544 --lan net_ring0 --reflect").contains("--seconds"));
        assert!(refused("blast --seconds 0 --wan net_ring0").contains("86400"));
        assert_eq!(read("blast --seconds 9 --lan net_ring0 --reflect").target(), Ok(None));
    }

    #[test]
    fn clients_are_of_the_vips_family() {
        for (vip, client) in
            [("192.0.2.1", "198.18.0.1-198.18.0.250"), ("2001:db8::1", "2001:2::1-2001:2::fa")]
        {
            let line = format!("blast --wan net_ring0 --vip {vip} --rate 1kpps --seconds 1");
            let target = read(&line).target().unwrap().unwrap();
            assert_eq!(target.clients.to_string(), client);
        }
    }
}
