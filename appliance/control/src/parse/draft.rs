// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the options said so far.

use std::net::{IpAddr, Ipv4Addr};

use lb::network::Prefix;
use lb::service::family;
use wire::FamilyId;

use super::{ParseError, seconds};
use crate::command::{
    ConnFilter, DaemonRole, Forward, Mss, Netmask, RealServer, SchedFlags, ServerSpec, ServiceSpec,
    Transport, Tunnel, TunnelChecksum, VirtualService,
};
use crate::names::Names;
use crate::options::{Given, Opt, TUNNEL_OPTIONS, TUNNELS, Token};
use crate::sched_flags::{self, Unknown};
use crate::sysctl::Request;
use crate::values;

/// The longest message of the synchronisation daemon in bytes: what fits a UDP packet.
const SYNC_MESSAGE_MAX: i64 = 65_535 - 20 - 8;

/// A command in the making.
pub(super) struct Draft<'a> {
    names: &'a dyn Names,
    pub(super) given: Given,
    transport: Option<Transport>,
    vip: Option<IpAddr>,
    vport: u16,
    mark: Option<u32>,
    family: FamilyId,
    netmask: Option<Netmask>,
    scheduler: &'a str,
    flags_text: &'a str,
    flags: SchedFlags,
    persistence_s: Option<u32>,
    engine: Option<&'a str>,
    mss: Option<Mss>,
    pub(super) server: Option<RealServer>,
    forward: Option<Token>,
    weight: u32,
    upper: u32,
    lower: u32,
    tunnel_type: usize,
    tunnel_port: u16,
    pub(super) local: Option<IpAddr>,
    pub(super) sysctl: Request,
    pub(super) connections: ConnFilter,
    pub(super) role: DaemonRole,
    pub(super) sync_id: u8,
    pub(super) mcast_interface: Option<&'a str>,
    pub(super) mcast_group: Option<IpAddr>,
    pub(super) mcast_port: Option<u16>,
    pub(super) mcast_ttl: Option<u8>,
    pub(super) message_max: Option<u16>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(names: &'a dyn Names) -> Self {
        Self {
            names,
            given: Given::default(),
            transport: None,
            vip: None,
            vport: 0,
            mark: None,
            family: FamilyId::V4,
            netmask: None,
            scheduler: "",
            flags_text: "",
            flags: SchedFlags::default(),
            persistence_s: None,
            engine: None,
            mss: None,
            server: None,
            forward: None,
            weight: 1,
            upper: 0,
            lower: 0,
            tunnel_type: 0,
            tunnel_port: 0,
            local: None,
            sysctl: Request::ShowAll,
            connections: ConnFilter::default(),
            role: DaemonRole::Master,
            sync_id: 0,
            mcast_interface: None,
            mcast_group: None,
            mcast_port: None,
            mcast_ttl: None,
            message_max: None,
        }
    }

    /// Takes one option.
    pub(super) fn take(&mut self, token: Token, value: Option<&'a str>) -> Result<(), ParseError> {
        if let Some(option) = token.option() {
            if self.given.contains(option) {
                return Err(ParseError::Repeated(option.name()));
            }
            self.given.insert(option);
        }
        let text = value.unwrap_or_default();
        match token {
            Token::Tcp => self.take_service(Transport::Tcp, text),
            Token::Udp => self.take_service(Transport::Udp, text),
            Token::Sctp => self.take_service(Transport::Sctp, text),
            Token::Mark => self.take_mark(text),
            Token::Ipv6 => self.take_ipv6(),
            Token::Masquerade | Token::FullNat | Token::Direct | Token::Tunnel => {
                self.forward = Some(token);
                Ok(())
            }
            Token::Option(Opt::Persistent) => self.take_persistence(value),
            Token::Option(option) => self.take_value(option, text),
            Token::Verb(_) | Token::Sort => Ok(()),
        }
    }

    fn take_value(&mut self, option: Opt, text: &'a str) -> Result<(), ParseError> {
        match option {
            Opt::Netmask => self.take_netmask(text)?,
            Opt::Scheduler => self.scheduler = text,
            Opt::SchedulerFlags => self.flags_text = text,
            Opt::Engine => self.engine = Some(text).filter(|name| !name.is_empty()),
            Opt::Client => self.connections.client = Some(client(text)?),
            Opt::Vip => {
                let found = values::endpoint(text, None, self.names).ok_or(ParseError::Vip)?;
                self.connections.vip = Some(found.address);
                self.connections.vport = found.port.filter(|port| *port != 0);
            }
            Opt::OfMark => self.connections.mark = Some(mark(text)?),
            Opt::OfServer => {
                let found = values::endpoint(text, None, self.names);
                let found = found.ok_or(ParseError::OfServer)?;
                self.connections.server = Some(found.address);
                self.connections.server_port = found.port.filter(|port| *port != 0);
            }
            Opt::Mss => self.mss = Some(mss(text)?),
            Opt::Server => self.take_server(text)?,
            Opt::Weight => self.weight = count(text, ParseError::Weight)?,
            Opt::UpperThreshold => self.upper = count(text, ParseError::UpperThreshold)?,
            Opt::LowerThreshold => self.lower = count(text, ParseError::LowerThreshold)?,
            Opt::TunnelType => {
                let found = TUNNELS.iter().position(|tunnel| tunnel.name == text);
                self.tunnel_type = found.ok_or(ParseError::TunnelType)?;
            }
            Opt::TunnelPort => self.tunnel_port = within(text, 1, ParseError::TunnelPort)?,
            Opt::LocalAddress => {
                self.local = Some(local(text, self.names).ok_or(ParseError::Local)?);
            }
            Opt::SyncId => self.sync_id = within(text, 0, ParseError::SyncId)?,
            Opt::McastInterface => self.mcast_interface = Some(text),
            Opt::McastGroup => self.mcast_group = Some(mcast_group(text)?),
            Opt::McastPort => self.mcast_port = Some(within(text, 1, ParseError::McastPort)?),
            Opt::McastTtl => self.mcast_ttl = Some(within(text, 1, ParseError::McastTtl)?),
            Opt::SyncMaxLen => {
                let length = values::number(text, 1, SYNC_MESSAGE_MAX);
                let length = length.and_then(|length| u16::try_from(length).ok());
                self.message_max = Some(length.ok_or(ParseError::SyncMaxLen)?);
            }
            _ => {}
        }
        Ok(())
    }

    fn take_service(&mut self, transport: Transport, text: &str) -> Result<(), ParseError> {
        self.transport = Some(transport);
        let found = values::endpoint(text, Some(transport), self.names);
        let endpoint = found.ok_or(ParseError::Service)?;
        self.vip = Some(endpoint.address);
        self.vport = endpoint.port.unwrap_or(0);
        self.family = family(endpoint.address);
        if self.family == FamilyId::V6 {
            self.netmask = None;
        }
        Ok(())
    }

    fn take_mark(&mut self, text: &str) -> Result<(), ParseError> {
        self.mark = Some(mark(text)?);
        self.transport = Some(Transport::Tcp);
        self.family = FamilyId::V4;
        Ok(())
    }

    fn take_ipv6(&mut self) -> Result<(), ParseError> {
        if self.mark.is_none() {
            return Err(ParseError::Ipv6BeforeMark);
        }
        self.family = FamilyId::V6;
        self.netmask = None;
        Ok(())
    }

    fn take_persistence(&mut self, value: Option<&str>) -> Result<(), ParseError> {
        self.persistence_s = Some(match value {
            None => ServiceSpec::DEFAULT_PERSISTENCE_S,
            Some(text) => seconds(text, 1)?,
        });
        Ok(())
    }

    fn take_netmask(&mut self, text: &str) -> Result<(), ParseError> {
        if self.family == FamilyId::V6 {
            let length = u8::try_from(values::leading_number(text)).unwrap_or(0);
            if !(1..=128).contains(&length) {
                return Err(ParseError::Netmask6);
            }
            self.netmask = (length < 128).then_some(Netmask::V6(length));
            return Ok(());
        }
        let mask = values::ipv4(text).or_else(|| self.names.address(text));
        let mask = mask.ok_or(ParseError::Netmask)?;
        self.netmask = (mask != Ipv4Addr::BROADCAST).then_some(Netmask::V4(mask));
        Ok(())
    }

    fn take_server(&mut self, text: &str) -> Result<(), ParseError> {
        let found = values::endpoint(text, self.transport, self.names);
        let endpoint = found.ok_or(ParseError::Server)?;
        let port = endpoint.port.unwrap_or(self.vport);
        self.server = Some(RealServer { address: endpoint.address, port });
        Ok(())
    }

    /// Reads the flags of `-b`, whose names depend on a scheduler that may have come later.
    pub(super) fn read_scheduler_flags(&mut self) -> Result<(), ParseError> {
        let scheduler = self.scheduler();
        for name in self.flags_text.split(',').filter(|name| !name.is_empty()) {
            let number = sched_flags::number(scheduler, name).map_err(|unknown| match unknown {
                Unknown::Nowhere => ParseError::SchedulerFlag(name.to_owned()),
                Unknown::OfAnother => ParseError::ForeignSchedulerFlag(name.to_owned()),
            })?;
            self.flags = self.flags.with(number);
        }
        Ok(())
    }

    /// The service that was named, if one was.
    pub(super) fn service(&self) -> Option<VirtualService> {
        if let Some(mark) = self.mark {
            return Some(VirtualService::Mark { mark, family: self.family });
        }
        let (transport, address) = (self.transport?, self.vip?);
        Some(VirtualService::Address { transport, address, port: self.vport })
    }

    /// The options of the service, as `-A` and `-E` take them.
    pub(super) fn service_spec(&self, service: VirtualService) -> Result<ServiceSpec, ParseError> {
        let one_packet = self.given.contains(Opt::OnePacket);
        if let VirtualService::Address { transport, port, .. } = service {
            if port == 0 && self.persistence_s.is_none() {
                return Err(ParseError::ZeroPort);
            }
            if one_packet && transport != Transport::Udp {
                return Err(ParseError::OnePacket);
            }
        }
        Ok(ServiceSpec {
            scheduler: self.scheduler().to_owned(),
            flags: self.flags,
            persistence_s: self.persistence_s,
            netmask: self.netmask,
            engine: self.engine.map(str::to_owned),
            one_packet,
            mss: self.mss,
        })
    }

    /// The server and its options, as `-a` and `-e` take them.
    pub(super) fn server_spec(
        &self,
        service: VirtualService,
        mut server: RealServer,
    ) -> Result<(RealServer, ServerSpec), ParseError> {
        let by_address = matches!(service, VirtualService::Address { .. });
        let forward = self.forward.unwrap_or(Token::Direct);
        if by_address && matches!(forward, Token::Direct | Token::Tunnel) {
            server.port = service.port();
        }
        if forward != Token::Tunnel {
            if family(server.address) != service.family() {
                return Err(ParseError::FamilyMismatch);
            }
            if self.given.contains(Opt::TunnelType) || self.given.any(&TUNNEL_OPTIONS) {
                return Err(ParseError::NoTunnel);
            }
        }
        let forward = match forward {
            Token::Masquerade => Forward::Masquerade,
            Token::FullNat => Forward::FullNat,
            Token::Tunnel => Forward::Tunnel(self.tunnel()?),
            _ => Forward::Direct,
        };
        let Self { weight, upper, lower, .. } = *self;
        Ok((server, ServerSpec { forward, weight, upper, lower }))
    }

    fn scheduler(&self) -> &'a str {
        if self.scheduler.is_empty() { ServiceSpec::DEFAULT_SCHEDULER } else { self.scheduler }
    }

    fn tunnel(&self) -> Result<Tunnel, ParseError> {
        let legality = TUNNELS.get(self.tunnel_type).ok_or(ParseError::TunnelType)?;
        let tunnel = legality.name;
        let mut exclusive = None;
        for option in TUNNEL_OPTIONS {
            let name = option.name();
            if !self.given.contains(option) {
                if legality.needs.contains(&option) {
                    return Err(ParseError::TunnelMissing { option: name, tunnel });
                }
            } else if legality.one_of.contains(&option) {
                if let Some(with) = exclusive {
                    return Err(ParseError::TunnelConflict { option: name, with, tunnel });
                }
                exclusive = Some(name);
            } else if !legality.needs.contains(&option) {
                return Err(ParseError::TunnelIllegal { option: name, tunnel });
            }
        }
        let checksum = if self.given.contains(Opt::TunnelCsum) {
            TunnelChecksum::Plain
        } else if self.given.contains(Opt::TunnelRemCsum) {
            TunnelChecksum::Remote
        } else {
            TunnelChecksum::None
        };
        Ok(match tunnel {
            "gue" => Tunnel::Gue { port: self.tunnel_port, checksum },
            "gre" => Tunnel::Gre { checksum },
            _ => Tunnel::Ipip,
        })
    }
}

/// Reads a number that the kernel keeps in an `int`.
fn count(text: &str, error: ParseError) -> Result<u32, ParseError> {
    let value = values::number(text, 0, i32::MAX.into());
    value.and_then(|value| u32::try_from(value).ok()).ok_or(error)
}

/// Reads a number of at least `min` that fits `T`.
fn within<T: TryFrom<i64>>(text: &str, min: i64, error: ParseError) -> Result<T, ParseError> {
    let value = values::number(text, min, i64::MAX);
    value.and_then(|value| T::try_from(value).ok()).ok_or(error)
}

/// The smallest MSS that a host must take, in bytes (RFC 9293, section 3.7.1).
const MSS_MIN: i64 = 536;

fn mss(text: &str) -> Result<Mss, ParseError> {
    if text == "auto" {
        return Ok(Mss::Auto);
    }
    within(text, MSS_MIN, ParseError::Mss).map(Mss::Bytes)
}

/// Reads an address without port; IPv6 also in brackets.
fn local(text: &str, names: &dyn Names) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let found = values::endpoint(bare.unwrap_or(text), None, names);
    found.filter(|endpoint| endpoint.port.is_none()).map(|endpoint| endpoint.address)
}

fn mark(text: &str) -> Result<u32, ParseError> {
    let mark = values::number(text, 1, u32::MAX.into()).and_then(|n| u32::try_from(n).ok());
    mark.ok_or_else(|| ParseError::Mark(text.to_owned()))
}

/// Reads `ADDRESS` or `ADDRESS/LENGTH`.
fn client(text: &str) -> Result<Prefix, ParseError> {
    let (address, len) = match text.split_once('/') {
        Some((address, len)) => (address, Some(len)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| ParseError::Client)?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let len = match len {
        Some(len) => len.parse().ok().filter(|len| *len <= width).ok_or(ParseError::Client)?,
        None => width,
    };
    Ok(Prefix { address, len })
}

fn mcast_group(text: &str) -> Result<IpAddr, ParseError> {
    if text.contains(':') {
        let group = text.parse::<IpAddr>().ok().filter(IpAddr::is_multicast);
        return group.ok_or_else(|| ParseError::McastGroup6(text.to_owned()));
    }
    let group = text.parse::<Ipv4Addr>().ok().filter(Ipv4Addr::is_multicast);
    group.map(IpAddr::V4).ok_or_else(|| ParseError::McastGroup4(text.to_owned()))
}
