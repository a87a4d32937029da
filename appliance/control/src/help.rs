// SPDX-License-Identifier: MIT OR Apache-2.0
//! `-h` and `-v`: answers that need no director.

use crate::command::Command;
use crate::listing;

/// What `-h` prints.
const TEXT: &str = "\
Commands; a long and a short form mean the same, and the command comes first:
  -A --add-service SERVICE [SERVICE OPTIONS]     add a virtual service
  -E --edit-service SERVICE [SERVICE OPTIONS]    replace its options by those given
  -D --delete-service SERVICE                    remove it with its servers
  -C --clear                                     remove all services
  -a --add-server SERVICE -r SERVER [SERVER OPTIONS]    add a real server
  -e --edit-server SERVICE -r SERVER [SERVER OPTIONS]   replace its options by those given
  -d --delete-server SERVICE -r SERVER           remove it; its connections stay until they expire
  -P --add-laddr SERVICE -z ADDRESS              add a local address for FULLNAT servers
  -Q --del-laddr SERVICE -z ADDRESS              remove it
  -G --get-laddr [SERVICE]                       list local addresses
  -L -l --list [SERVICE] [LIST OPTIONS]          list services and servers
  -Z --zero [SERVICE]                            set counters to zero
  -S --save [-n]                                 print the rules that restore the table
  -R --restore [--atomic]                        apply rules from standard input; with --atomic all
                                                 or none
  --set TCP TCPFIN UDP                           timeouts in seconds; 0 keeps the present one
  --start-daemon master|backup [DAEMON OPTIONS]  start connection synchronisation
  --stop-daemon master|backup [--syncid ID]      stop it
  --drops [REASON]                               what was dropped, why, and what to do about it
  --capture NIC|drops|SERVICE FILE [--count N] [--seconds N]
                                                 writes frames with their verdicts as pcapng
  --sysctl [KEY[=VALUE]]                         shows or changes net.ipv4.vs settings
  -h --help, -v --version

SERVICE is one of:
  -t --tcp-service HOST[:PORT], -u --udp-service HOST[:PORT], --sctp-service HOST[:PORT]
  -f --fwmark-service MARK [-6 --ipv6]           packets with a firewall mark; of IPv6 with -6
An IPv6 address with a port is written [ADDRESS]:PORT.

SERVICE OPTIONS:
  -s --scheduler NAME        rr, wrr, lc, wlc, sed, nq, fo, ovf, lblc, lblcr, dh, sh, mh, twos,
                             conhash or none (default wlc)
  -b --sched-flags FLAGS     flags of the scheduler, separated by commas
  -p --persistent [SECONDS]  a client stays with its server (default 360)
  -M --netmask MASK          how much of the client's address counts for -p
  --pe NAME                  persistence engine
  -o --ops                   each UDP packet is scheduled by itself
  --mss auto|BYTES           what MSS the ends of TCP connections may at most learn

SERVER OPTIONS:
  -g --gatewaying            direct routing (default)
  -m --masquerading          NAT; replies come back through here
  -b --fullnat               NAT of both ends; the server sees a local address
  -i --ipip                  tunnel
  -w --weight N              share of new connections, 0 for none (default 1)
  -x --u-threshold N         no new connections from N on
  -y --l-threshold N         new connections again below N
  --tun-type ipip|gue|gre, --tun-port PORT, --tun-nocsum, --tun-csum, --tun-remcsum

LIST OPTIONS:
  -n --numeric               numbers instead of names
  -c --connection            connections; only some of them with --client ADDRESS[/LENGTH],
                             --vip ADDRESS[:PORT], --mark MARK, --server ADDRESS[:PORT]
  --stats, --rate            counters; the same per second
  -X --exact                 large numbers in full
  --thresholds, --persistent-conn, --tun-info    other columns
  --timeout, --daemon        timeouts; synchronisation daemons
  --nosort                   in the order of the table

DAEMON OPTIONS:
  --syncid ID, --sync-maxlen BYTES, --mcast-interface NAME, --mcast-group ADDRESS,
  --mcast-port PORT, --mcast-ttl TTL
";

/// The answer to a command that asks about the commands themselves; none for any other.
pub fn answer(command: &Command) -> Option<String> {
    match command {
        Command::Help => Some(format!("{}{TEXT}", listing::VERSION)),
        Command::Version => Some(listing::VERSION.to_owned()),
        _ => None,
    }
}
