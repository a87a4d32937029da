// SPDX-License-Identifier: MIT OR Apache-2.0
//! SCTP's state tables, as IPVS has them (`ip_vs_proto_sctp.c`), found by sending the kernel every
//! chunk in every state that can be reached.
//!
//! The director sees an association (RFC 9260) from the middle and takes the first chunk of a
//! packet for all of it. Timeouts and names are in [`crate::conn::tcp_state`].

use wire::SctpEvent;

use crate::conn::tcp_state::{Sender, State};

use State::{
    SctpClosed as CL, SctpCookie as CO, SctpCookieEchoed as CE, SctpCookieReplied as CR,
    SctpCookieSent as CS, SctpCookieWait as CW, SctpEstablished as ES, SctpInit as IN,
    SctpInit1 as I1, SctpRejected as RJ, SctpShutdownAckSent as SA, SctpShutdownReceived as SR,
    SctpShutdownSent as SS,
};

/// States of SCTP, a column each.
const STATES: usize = 14;

type Table = [[State; STATES]; SctpEvent::COUNT];

/// The state after a packet that means this.
pub fn next(state: State, sender: Sender, event: SctpEvent) -> State {
    let table = match sender {
        Sender::Client => &FROM_CLIENT,
        Sender::Server => &FROM_SERVER,
        Sender::ClientOnly => &FROM_CLIENT_ONLY,
    };
    let column = (state as usize).saturating_sub(State::SctpNone as usize);
    let row: Option<&[State; STATES]> = table.get(event as usize);
    row.and_then(|row| row.get(column)).copied().unwrap_or(CL)
}

#[rustfmt::skip]
const FROM_CLIENT: Table = [
    //                  None Ini1 Init CSnt CRep CWai Cook CEch Estb SSnt SRcv SAck Rejd Clos
    /* data          */ [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    /* init          */ [I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, IN, IN],
    /* init ack      */ [CW, CW, CW, CS, CR, CO, CO, CE, ES, SS, SR, SA, RJ, CL],
    /* cookie echo   */ [CR, IN, IN, CR, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    /* cookie ack    */ [ES, I1, IN, CS, CR, CW, CO, ES, ES, SS, SR, SA, RJ, CL],
    /* shutdown      */ [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL],
    /* shutdown ack  */ [CL, IN, IN, CS, CR, CW, CO, CE, ES, CL, SR, CL, RJ, CL],
    /* shutdown done */ [CL, CL, CL, CS, CR, CW, CO, CE, ES, SS, SR, CL, RJ, CL],
    /* error         */ [CL, I1, IN, CS, CR, CW, CO, CL, ES, SS, SR, SA, RJ, CL],
    /* abort         */ [CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL],
];

#[rustfmt::skip]
const FROM_SERVER: Table = [
    //                  None Ini1 Init CSnt CRep CWai Cook CEch Estb SSnt SRcv SAck Rejd Clos
    /* data          */ [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    /* init          */ [CW, CW, CW, CW, CW, CW, CW, CW, ES, CW, CW, CW, CW, CW],
    /* init ack      */ [CS, CS, CS, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    /* cookie echo   */ [CE, CE, CE, CE, CE, CE, CE, CE, ES, SS, SR, SA, RJ, CL],
    /* cookie ack    */ [ES, ES, ES, ES, ES, ES, ES, ES, ES, SS, SR, SA, RJ, CL],
    /* shutdown      */ [SS, SS, SS, SS, SS, SS, SS, SS, SS, SS, SR, SA, RJ, CL],
    /* shutdown ack  */ [SA, SA, SA, SA, SA, CW, CO, CE, ES, SA, SA, SA, RJ, CL],
    /* shutdown done */ [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    /* error         */ [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    /* abort         */ [CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL],
];

#[rustfmt::skip]
const FROM_CLIENT_ONLY: Table = [
    //                  None Ini1 Init CSnt CRep CWai Cook CEch Estb SSnt SRcv SAck Rejd Clos
    /* data          */ [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    /* init          */ [I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, IN, IN],
    /* init ack      */ [CE, CE, CE, CE, CE, CE, CE, CE, ES, SS, SR, SA, RJ, CL],
    /* cookie echo   */ [ES, ES, ES, ES, ES, ES, ES, CE, ES, SS, SR, SA, RJ, CL],
    /* cookie ack    */ [ES, I1, IN, ES, ES, CW, CO, ES, ES, SS, SR, SA, RJ, CL],
    /* shutdown      */ [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL],
    /* shutdown ack  */ [CL, IN, IN, CS, CR, CW, CO, CE, CL, CL, SR, CL, RJ, CL],
    /* shutdown done */ [CL, CL, CL, CS, CR, CW, CO, CE, ES, SS, CL, CL, RJ, CL],
    /* error         */ [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    /* abort         */ [CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL],
];
