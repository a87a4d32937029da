// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connection states and their timeouts, and TCP's tables, as IPVS has them
//! (`ip_vs_proto_tcp.c`); SCTP's tables are in [`crate::conn::sctp_state`].
//!
//! The director sees a TCP connection from the middle, and in DR and TUN only one side of it, so
//! this is no RFC 9293 state machine: it guesses, by table, how long an entry is worth keeping.
//! A flag takes precedence in the order RST, SYN, FIN, ACK; a segment with none of them closes.

use wire::TcpFlags;

/// State of a connection, with the names of `-Lnc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// No segment was tracked yet.
    None,
    /// Both sides have spoken.
    Established,
    /// The server opened.
    SynSent,
    /// The client opened.
    SynRecv,
    /// One side has finished.
    FinWait,
    /// Both sides have finished.
    TimeWait,
    /// Reset.
    Close,
    /// The client has finished, the server not yet.
    CloseWait,
    /// The last FIN waits for its ACK.
    LastAck,
    /// Nobody speaks.
    Listen,
    /// The server's SYN+ACK waits for the client's ACK.
    SynAck,
    /// Not TCP: UDP has the one state.
    Udp,
    /// SCTP: no chunk was tracked yet.
    SctpNone,
    /// SCTP: the client's INIT came.
    SctpInit1,
    /// SCTP: INIT came again.
    SctpInit,
    /// SCTP: the server sent its cookie in INIT ACK.
    SctpCookieSent,
    /// SCTP: the client echoed the cookie.
    SctpCookieReplied,
    /// SCTP: the server opened.
    SctpCookieWait,
    /// SCTP: the client sent its cookie in INIT ACK.
    SctpCookie,
    /// SCTP: the server echoed the cookie.
    SctpCookieEchoed,
    /// SCTP: both sides have spoken.
    SctpEstablished,
    /// SCTP: the server asked to end.
    SctpShutdownSent,
    /// SCTP: the client asked to end.
    SctpShutdownReceived,
    /// SCTP: the server agreed to end.
    SctpShutdownAckSent,
    /// SCTP: the server aborted what it was asked to open.
    SctpRejected,
    /// SCTP: it is over.
    SctpClosed,
}

impl State {
    const ALL: [Self; 26] = [
        Self::None,
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::SynAck,
        Self::Udp,
        Self::SctpNone,
        Self::SctpInit1,
        Self::SctpInit,
        Self::SctpCookieSent,
        Self::SctpCookieReplied,
        Self::SctpCookieWait,
        Self::SctpCookie,
        Self::SctpCookieEchoed,
        Self::SctpEstablished,
        Self::SctpShutdownSent,
        Self::SctpShutdownReceived,
        Self::SctpShutdownAckSent,
        Self::SctpRejected,
        Self::SctpClosed,
    ];

    /// The name in `-Lnc`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None | Self::SctpNone => "NONE",
            Self::Established | Self::SctpEstablished => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::FinWait => "FIN_WAIT",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Listen => "LISTEN",
            Self::SynAck => "SYNACK",
            Self::Udp => "UDP",
            Self::SctpInit1 => "INIT1",
            Self::SctpInit => "INIT",
            Self::SctpCookieSent => "C-SENT",
            Self::SctpCookieReplied => "C-REPLIED",
            Self::SctpCookieWait => "C-WAIT",
            Self::SctpCookie => "COOKIE",
            Self::SctpCookieEchoed => "C-ECHOED",
            Self::SctpShutdownSent => "S-SENT",
            Self::SctpShutdownReceived => "S-RECEIVED",
            Self::SctpShutdownAckSent => "S-ACK-SENT",
            Self::SctpRejected => "REJECTED",
            Self::SctpClosed => "CLOSED",
        }
    }

    /// Whether listings count the connection as active; all UDP is inactive.
    #[inline]
    pub fn is_active(self) -> bool {
        let tcp = matches!(self, Self::Established | Self::SynSent | Self::SynRecv | Self::SynAck);
        tcp || self == Self::SctpEstablished
    }

    /// Whether the client has opened and neither side has confirmed that the other one is there.
    pub fn is_half_open(self) -> bool {
        matches!(
            self,
            Self::SynRecv
                | Self::SynAck
                | Self::SctpInit1
                | Self::SctpInit
                | Self::SctpCookieSent
                | Self::SctpCookieWait
        )
    }

    /// Whether the connection is over: a client may use its port for another one at once.
    pub fn is_over(self) -> bool {
        matches!(self, Self::TimeWait | Self::Close | Self::SctpClosed)
    }

    /// The state from a connection entry's byte.
    #[inline]
    pub fn from_byte(byte: u8) -> Self {
        Self::ALL.get(usize::from(byte)).copied().unwrap_or(Self::None)
    }
}

/// Who sent a segment, and whether the director sees the other side at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The client; the server's segments come this way too.
    Client,
    /// The server.
    Server,
    /// The client; the server's segments take another way (DR, TUN).
    ClientOnly,
}

/// TCP's three tables, by who sends.
#[derive(Debug)]
pub struct TcpTables {
    client: Table,
    server: Table,
    client_only: Table,
}

impl TcpTables {
    /// The tables without `secure_tcp`.
    pub const PLAIN: Self =
        Self { client: FROM_CLIENT, server: FROM_SERVER, client_only: FROM_CLIENT_ONLY };
    /// The tables with `secure_tcp`: the server must have confirmed before the client's word that a
    /// connection is established counts.
    pub const WARY: Self = Self {
        client: FROM_CLIENT_WARY,
        server: FROM_SERVER_WARY,
        client_only: FROM_CLIENT_ONLY_WARY,
    };
}

/// The state after a segment with these flags.
#[inline]
pub fn next(tables: &TcpTables, state: State, sender: Sender, flags: TcpFlags) -> State {
    let event = if flags.rst() {
        3
    } else if flags.syn() {
        0
    } else if flags.fin() {
        1
    } else if flags.ack() {
        2
    } else {
        return State::Close;
    };
    let table = match sender {
        Sender::Client => &tables.client,
        Sender::Server => &tables.server,
        Sender::ClientOnly => &tables.client_only,
    };
    let row: Option<&[State; 11]> = table.get(event);
    row.and_then(|row| row.get(state as usize)).copied().unwrap_or(State::Close)
}

/// Seconds that a connection lives in each state without a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts([u32; State::ALL.len()]);

impl Timeouts {
    /// The largest timeout in seconds: 31 days.
    pub const MAX_S: u32 = 2_678_400;

    /// The timeout of a state, in seconds.
    #[inline]
    pub fn of(&self, state: State) -> u32 {
        self.0.get(state as usize).copied().unwrap_or(Self::MAX_S)
    }

    /// Sets the timeout of a state, in seconds; larger values mean [`Self::MAX_S`].
    pub fn set(&mut self, state: State, seconds: u32) {
        if let Some(timeout) = self.0.get_mut(state as usize) {
            *timeout = seconds.min(Self::MAX_S);
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let mut timeouts = Self([0; State::ALL.len()]);
        for (state, seconds) in [
            (State::None, 2),
            (State::Established, 900),
            (State::SynSent, 120),
            (State::SynRecv, 60),
            (State::FinWait, 120),
            (State::TimeWait, 120),
            (State::Close, 10),
            (State::CloseWait, 60),
            (State::LastAck, 30),
            (State::Listen, 120),
            (State::SynAck, 120),
            (State::Udp, 300),
            (State::SctpNone, 2),
            (State::SctpInit1, 4),
            (State::SctpInit, 61),
            (State::SctpCookieSent, 61),
            (State::SctpCookieReplied, 61),
            (State::SctpCookieWait, 61),
            (State::SctpCookie, 61),
            (State::SctpCookieEchoed, 61),
            (State::SctpEstablished, 900),
            (State::SctpShutdownSent, 61),
            (State::SctpShutdownReceived, 61),
            (State::SctpShutdownAckSent, 61),
            (State::SctpRejected, 4),
            (State::SctpClosed, 61),
        ] {
            timeouts.set(state, seconds);
        }
        timeouts
    }
}

use State::{
    Close as CL, CloseWait as CW, Established as ES, FinWait as FW, LastAck as LA, Listen as LI,
    SynAck as SA, SynRecv as SR, SynSent as SS, TimeWait as TW,
};

type Table = [[State; 11]; 4];

#[rustfmt::skip]
const FROM_CLIENT: Table = [
    //        None Estb SynS SynR FinW TimW Clos ClsW LAck List SynA
    /* syn */ [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
    /* fin */ [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW],
    /* ack */ [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
    /* rst */ [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR],
];

#[rustfmt::skip]
const FROM_SERVER: Table = [
    //        None Estb SynS SynR FinW TimW Clos ClsW LAck List SynA
    /* syn */ [SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR],
    /* fin */ [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
    /* ack */ [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
    /* rst */ [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
];

#[rustfmt::skip]
const FROM_CLIENT_ONLY: Table = [
    //        None Estb SynS SynR FinW TimW Clos ClsW LAck List SynA
    /* syn */ [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
    /* fin */ [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
    /* ack */ [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
    /* rst */ [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
];

#[rustfmt::skip]
const FROM_CLIENT_WARY: Table = [
    //        None Estb SynS SynR FinW TimW Clos ClsW LAck List SynA
    /* syn */ [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SA],
    /* fin */ [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, SA],
    /* ack */ [ES, ES, SS, SR, FW, TW, CL, CW, CL, LI, SA],
    /* rst */ [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
];

#[rustfmt::skip]
const FROM_SERVER_WARY: Table = [
    //        None Estb SynS SynR FinW TimW Clos ClsW LAck List SynA
    /* syn */ [SS, ES, SS, SA, SS, SS, SS, SS, SS, LI, SA],
    /* fin */ [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
    /* ack */ [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
    /* rst */ [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
];

#[rustfmt::skip]
const FROM_CLIENT_ONLY_WARY: Table = [
    //        None Estb SynS SynR FinW TimW Clos ClsW LAck List SynA
    /* syn */ [SA, ES, ES, SA, SA, SA, SA, SA, SA, SA, SA],
    /* fin */ [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
    /* ack */ [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
    /* rst */ [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
];
