// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connection states and their timeouts, as IPVS has them (`ip_vs_proto_tcp.c`).
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
}

impl State {
    const ALL: [Self; 12] = [
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
    ];

    /// The name in `-Lnc`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Established => "ESTABLISHED",
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
        }
    }

    /// Whether listings count the connection as active; all UDP is inactive.
    #[inline]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Established | Self::SynSent | Self::SynRecv | Self::SynAck)
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

/// The state after a segment with these flags.
#[inline]
pub fn next(state: State, sender: Sender, flags: TcpFlags) -> State {
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
        Sender::Client => &FROM_CLIENT,
        Sender::Server => &FROM_SERVER,
        Sender::ClientOnly => &FROM_CLIENT_ONLY,
    };
    let row: Option<&[State; 11]> = table.get(event);
    row.and_then(|row| row.get(state as usize)).copied().unwrap_or(State::Close)
}

/// Seconds that a connection lives in each state without a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts([u32; 12]);

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
        let mut timeouts = Self([0; 12]);
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
        ] {
            timeouts.set(state, seconds);
        }
        timeouts
    }
}

use State::{
    Close as CL, CloseWait as CW, Established as ES, FinWait as FW, LastAck as LA, Listen as LI,
    SynRecv as SR, SynSent as SS, TimeWait as TW,
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
