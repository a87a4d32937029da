// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line.
//!
//! Called through a link named `ipvsadm`, the program is `pointsman ctl`, and every argument is
//! ipvsadm's. The arguments of `ctl` are read by whoever answers them, never here: this file has
//! no opinion on what `-t` or `-h` mean there.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::builder::TypedValueParser;
use clap::{Args, Parser, Subcommand};
use lb::limits::WORKERS_MAX;

/// The name of the link that makes the program `ctl`.
const IPVSADM: &str = "ipvsadm";

/// What the program is to do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the director in the foreground; SIGTERM stops it, SIGHUP re-reads [timeouts], [ipvs]
    Run {
        /// The configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Say whether a configuration is right: exit status 0, or 1 with the line and key that is not
    Check {
        /// The configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Look at this machine before a start, and say how to mend what is in the way
    Doctor {
        /// The configuration that the machine is to run
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Carry out an ipvsadm command on the running director; `ctl -h` lists the commands
    #[command(disable_help_flag = true)]
    Ctl {
        /// The director's control socket [default: POINTSMAN_SOCKET in the environment, or
        /// /run/pointsman/control.sock]
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
        /// What ipvsadm would be given
        #[arg(
            value_name = "IPVSADM-ARGS",
            num_args = 0..,
            allow_hyphen_values = true,
            trailing_var_arg = true
        )]
        words: Vec<OsString>,
    },
    /// Balance the frames of capture files: no device, no root, the same output each time
    Replay(Replay),
    /// Print the version, and that of DPDK
    Version,
}

/// The arguments of `replay`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The configuration; its NICs are what NIC names
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Rules in the form of `ipvsadm -S -n`, in place of the configuration's
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Workers, in place of the configuration's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=WORKERS))]
    pub workers: Option<u16>,
    /// Tell of each frame what was decided, step by step, and why
    #[arg(long)]
    pub explain: bool,
    /// The capture file of the frames that a NIC receives
    #[arg(long = "in", value_name = "NIC=PCAP", num_args = 1.., required = true)]
    #[arg(value_parser = nic_file())]
    pub inputs: Vec<NicFile>,
    /// The capture file to write what a NIC sends to
    #[arg(long = "out", value_name = "NIC=PCAP", num_args = 1.., required = true)]
    #[arg(value_parser = nic_file())]
    pub outputs: Vec<NicFile>,
}

/// A capture file and the NIC whose frames it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NicFile {
    /// The NIC's name in the configuration.
    pub nic: String,
    /// The capture file.
    pub file: PathBuf,
}

/// Why an argument is no [`NicFile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a NIC, \"=\" and a file are right; for example: wan=in.pcap")]
pub struct NotANicFile;

impl Command {
    /// Reads the program's arguments, its own name first.
    ///
    /// # Errors
    /// What is wrong with them, or the text that `--help` and `--version` ask for;
    /// [`clap::Error::exit`] prints either.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut args = args.into_iter().peekable();
        if args.peek().is_some_and(|name| is_ipvsadm(name)) {
            let words = args.skip(1).collect();
            return Ok(Self::Ctl { socket: None, words });
        }
        Program::try_parse_from(args).map(|program| program.command)
    }
}

/// A layer-4 director on DPDK: what Linux Virtual Server does, driven by the same commands.
#[derive(Debug, Parser)]
#[command(name = "pointsman", version)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

fn is_ipvsadm(program: &OsStr) -> bool {
    Path::new(program).file_name() == Some(OsStr::new(IPVSADM))
}

fn nic_file() -> impl TypedValueParser<Value = NicFile> {
    clap::builder::NonEmptyStringValueParser::new().try_map(|text| match text.split_once('=') {
        Some((nic, file)) if !nic.is_empty() && !file.is_empty() => {
            Ok(NicFile { nic: nic.to_owned(), file: PathBuf::from(file) })
        }
        _ => Err(NotANicFile),
    })
}

/// [`WORKERS_MAX`] as clap's ranges want it.
const WORKERS: i64 = WORKERS_MAX as i64;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, clap::Error> {
        Command::read(line.split(' ').map(OsString::from))
    }

    fn ctl(line: &str) -> (Option<PathBuf>, Vec<OsString>) {
        match read(line) {
            Ok(Command::Ctl { socket, words }) => (socket, words),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_definition_holds_together() {
        <Program as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn every_argument_of_ctl_is_passed_on_as_it_is() {
        for line in [
            "-A -t 192.0.2.1:80 -s wrr",
            "-h",
            "--help",
            "-v",
            "--version",
            "-V",
            "--set 0 0 300",
            "-Lnc --socket x.sock",
            "-a -t=192.0.2.1:80 -- -r",
            "list",
        ] {
            let words: Vec<_> = line.split(' ').map(OsString::from).collect();
            assert_eq!(ctl(&format!("pointsman ctl {line}")), (None, words.clone()));
            assert_eq!(ctl(&format!("/usr/local/sbin/ipvsadm {line}")), (None, words.clone()));
            let path = Some(PathBuf::from("x.sock"));
            for option in ["--socket x.sock", "--socket=x.sock"] {
                let found = ctl(&format!("pointsman ctl {option} {line}"));
                assert_eq!(found, (path.clone(), words.clone()));
            }
        }
        assert_eq!(ctl("pointsman ctl"), (None, Vec::new()));
        assert_eq!(ctl("ipvsadm"), (None, Vec::new()));
        assert_eq!(ctl("ipvsadm -- -L").1, ["--", "-L"]);
    }

    #[test]
    fn only_a_link_of_exactly_that_name_is_ipvsadm() {
        assert!(read("ipvsadm-save -L").is_err());
        assert!(read("ipvsadm/pointsman -L").is_err());
    }

    #[test]
    fn replay_takes_captures_by_nic() {
        let line = "pointsman replay --config c --workers 4 --in wan=a lan=b --out wan=c=d";
        let Ok(Command::Replay(replay)) = read(line) else {
            panic!("{line}");
        };
        let file = |nic: &str, file: &str| NicFile { nic: nic.to_owned(), file: file.into() };
        assert_eq!(replay.inputs, [file("wan", "a"), file("lan", "b")]);
        assert_eq!(replay.outputs, [file("wan", "c=d")]);
        assert_eq!(replay.workers, Some(4));
        for wrong in ["--in wan --out wan=b", "--in =a --out wan=b", "--in wan=a --out wan="] {
            let error = read(&format!("pointsman replay --config c {wrong}")).unwrap_err();
            assert!(error.to_string().contains("for example: wan=in.pcap"), "{error}");
        }
        for workers in ["0", "65"] {
            let line = format!("{line} --workers {workers}");
            assert!(read(&line).is_err(), "{line}");
        }
    }
}
