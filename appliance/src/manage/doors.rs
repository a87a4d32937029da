// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where management is reached: claimed before anything else is touched, served at the end of the
//! start. Clients that come in between wait.

use std::io;
use std::net::{SocketAddr, TcpListener};

use control::config::Config;

use crate::listen::{ClaimedSocket, SocketError, claim_socket};

/// Why a door cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The control socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The metrics port.
    #[error(
        "[metrics] listen = \"{0}\": {1}; set it to an address of this machine and a port that is \
         free"
    )]
    Metrics(SocketAddr, io::Error),
}

/// The control socket and the metrics port.
#[derive(Debug)]
pub struct Doors {
    pub(super) socket: ClaimedSocket,
    pub(super) metrics: Option<TcpListener>,
}

impl Doors {
    /// Claims the doors that the configuration names.
    ///
    /// # Errors
    /// As [`DoorError`] says.
    pub fn claim(config: &Config) -> Result<Self, DoorError> {
        let socket = claim_socket(&config.control.socket)?;
        let bind = |address: SocketAddr| {
            let bound = TcpListener::bind(address).and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(listener)
            });
            bound.map_err(|error| DoorError::Metrics(address, error))
        };
        Ok(Self { socket, metrics: config.metrics.map(bind).transpose()? })
    }
}
