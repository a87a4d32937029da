// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines and what they mean: a canonical line, or ipvsadm's error.

#[allow(dead_code, reason = "each test binary uses its part")]
mod harness;

use control::render;
use harness::command;

/// `line` means what `canonical` means, and that is how it is written.
#[track_caller]
fn ok(line: &str, canonical: &str) {
    let found = command(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    assert_eq!(render::line(&found), canonical, "{line}");
    assert_eq!(command(canonical).as_ref(), Ok(&found), "{canonical}");
}

/// `line` is answered with an exit status and a sentence.
#[track_caller]
fn no(line: &str, status: u8, sentence: &str) {
    let error = command(line).expect_err(line);
    assert_eq!((error.status(), error.to_string().as_str()), (status, sentence), "{line}");
}

#[rustfmt::skip]
#[test]
fn services() {
    ok("-A -t 192.0.2.1:80",                    "-A -t 192.0.2.1:80 -s wlc");
    ok("-At 192.0.2.1:80 -srr",                 "-A -t 192.0.2.1:80 -s rr");
    ok("-A -t=192.0.2.1:80 -s=rr",              "-A -t 192.0.2.1:80 -s rr");
    ok("--add-service --udp-service=[2001:db8::1]:53 --scheduler wrr", "-A -u [2001:db8::1]:53 -s wrr");
    ok("-A -t 192.0.2.1:80 -s ''",              "-A -t 192.0.2.1:80 -s ''");
    ok("-A -t 192.0.2.1:80 -s \"\"",            "-A -t 192.0.2.1:80 -s wlc");
    ok("-A -t 192.0.2.1:80 -s \"a b\"",         "-A -t 192.0.2.1:80 -s \"a b\"");
    ok("-E -t 192.0.2.1:80",                    "-E -t 192.0.2.1:80 -s wlc");
    ok("-D -t 192.0.2.1:80",                    "-D -t 192.0.2.1:80");
    ok("-A -t 192.0.2.1 -p",                    "-A -t 192.0.2.1:0 -s wlc -p 360");
    ok("-A -p -s rr -t 192.0.2.1:80",           "-A -t 192.0.2.1:80 -s rr -p 360");
    ok("-A -t 192.0.2.1:80 -M 24",              "-A -t 192.0.2.1:80 -s wlc -M 0.0.0.24");
    ok("-A -t [2001:db8::1]:80 -M 64",          "-A -t [2001:db8::1]:80 -s wlc -M 64");
    ok("-A -M 64 -t [2001:db8::1]:80",          "-A -t [2001:db8::1]:80 -s wlc");
    ok("-A -f 5 -6 -p 9 -M 64",                 "-A -f 5 -6 -s wlc -p 9 -M 64");
    ok("-A -f 4294967295",                      "-A -f 4294967295 -s wlc");
    ok("-A -u 192.0.2.1:53 -o --pe sip -p 60",  "-A -u 192.0.2.1:53 -s wlc -p 60 --pe sip -o");
    ok("-A -t 192.0.2.1:80 -b mh-port -s mh",   "-A -t 192.0.2.1:80 -s mh -b mh-port");
    ok("-A -t 192.0.2.1:80 -b ,",               "-A -t 192.0.2.1:80 -s wlc");
    ok("-A --sctp-service 192.0.2.1:80",        "-A --sctp-service 192.0.2.1:80 -s wlc");
    ok("-A -t 192.0.2.1:80 --mss auto",         "-A -t 192.0.2.1:80 -s wlc --mss auto");
    ok("-A -t 192.0.2.1:80 --mss=1400",         "-A -t 192.0.2.1:80 -s wlc --mss 1400");
    no("-A -t 192.0.2.1:80 --mss 535", 2, "illegal mss specified; auto, or 536 to 65535 bytes");
    no("-A", 2, "You need to supply the 'service-address' option for the 'add-service' command");
    no("-A -n", 2, "Illegal 'numeric' option with the 'add-service' command");
    no("-D -t 192.0.2.1:80 -s rr", 2, "Illegal 'scheduler' option with the 'delete-service' command");
    no("-A -t 192.0.2.1:80 --fullnat", 2, "Illegal 'forwarding-method' option with the 'add-service' command");
    no("-A -t 192.0.2.1:80 -b", 255, "-b: missing argument");
    no("-A -t 192.0.2.1:80 -z 10.0.0.1", 2, "Illegal 'local-address' option with the 'add-service' command");
    no("-A -t 192.0.2.1", 2, "Zero port specified for non-persistent service");
    no("-A -t vip.example:80", 2, "illegal virtual server address[:port] specified");
    no("-A -t 192.0.2.1:http", 2, "illegal virtual server address[:port] specified");
    no("-A -6 -f 5", 2, "-6 used before -f\n");
    no("-A -D -t 192.0.2.1:80", 2, "invalid option `-D'");
    no("-A -t 192.0.2.1:80 -u 192.0.2.1:80", 2, "multiple 'service-address' options specified");
}

#[rustfmt::skip]
#[test]
fn servers() {
    ok("-a -t 192.0.2.1:80 -r 10.0.0.11",             "-a -t 192.0.2.1:80 -r 10.0.0.11:80 -g -w 1");
    ok("-a -t 192.0.2.1:80 -r 10.0.0.11:8080 -b",     "-a -t 192.0.2.1:80 -r 10.0.0.11:8080 -b -w 1");
    ok("-a -t 192.0.2.1:80 -r 10.0.0.11 --fullnat",   "-a -t 192.0.2.1:80 -r 10.0.0.11:80 -b -w 1");
    ok("-abt 192.0.2.1:80 -r 10.0.0.11 -w7",          "-a -t 192.0.2.1:80 -r 10.0.0.11:80 -b -w 7");
    ok("-a -t 192.0.2.1:80 -r 10.0.0.11:8080 -g",     "-a -t 192.0.2.1:80 -r 10.0.0.11:80 -g -w 1");
    ok("-a -r 10.0.0.11 -t 192.0.2.1:80 -m",          "-a -t 192.0.2.1:80 -r 10.0.0.11:0 -m -w 1");
    ok("-e -t 192.0.2.1:80 -r 10.0.0.11 -i",          "-e -t 192.0.2.1:80 -r 10.0.0.11:80 -i -w 1 --tun-type ipip");
    ok("-a -t 192.0.2.1:80 -r 10.0.0.11 -i --tun-type gue --tun-port 6080 --tun-csum", "-a -t 192.0.2.1:80 -r 10.0.0.11:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum");
    ok("-a -t 192.0.2.1:80 -r [2001:db8::9]:80 -i",   "-a -t 192.0.2.1:80 -r [2001:db8::9]:80 -i -w 1 --tun-type ipip");
    ok("-a -t 192.0.2.1:80 -r 10.0.0.11 -m -x 9 -y 4","-a -t 192.0.2.1:80 -r 10.0.0.11:80 -m -w 1 -x 9 -y 4");
    ok("-d -t 192.0.2.1:80 -r 10.0.0.11",             "-d -t 192.0.2.1:80 -r 10.0.0.11:80");
    no("-a -t 192.0.2.1:80", 2, "You need to supply the 'real-server' option for the 'add-server' command");
    no("-a -t 192.0.2.1:80 -r 10.0.0.11 -m -b", 2, "multiple 'forwarding-method' options specified");
    no("-a -t 192.0.2.1:80 -r 10.0.0.11 --sched-flags x", 2, "invalid scheduler flag `x'");
    no("-a -t 192.0.2.1:80 -r 10.0.0.11 --sched-flags flag-1", 2, "Illegal 'sched-flags' option with the 'add-server' command");
    no("-d -t 192.0.2.1:80 -r 10.0.0.11 -m", 2, "Illegal 'forwarding-method' option with the 'delete-server' command");
    no("-a -t 192.0.2.1:80 -r 10.0.0.11 -w 2147483648", 2, "illegal weight specified");
    no("-a -t 192.0.2.1:80 -r [2001:db8::9]:80 -b", 2, "Different address family is allowed only for tunneling servers");
}

#[rustfmt::skip]
#[test]
fn local_addresses() {
    ok("-P -t 192.0.2.1:80 -z 10.0.0.2",              "-P -t 192.0.2.1:80 -z 10.0.0.2");
    ok("--add-laddr -t 192.0.2.1:80 --laddr 10.0.0.2 -F dpdk0", "-P -t 192.0.2.1:80 -z 10.0.0.2");
    ok("-Q -u [2001:db8::1]:53 -z 2001:db8::2",       "-Q -u [2001:db8::1]:53 -z 2001:db8::2");
    ok("--del-laddr -t 192.0.2.1:80 -z 10.0.0.2",     "-Q -t 192.0.2.1:80 -z 10.0.0.2");
    ok("-G",                                          "-G");
    ok("--get-laddr -t 192.0.2.1:80",                 "-G -t 192.0.2.1:80");
    no("-P -t 192.0.2.1:80", 2, "You need to supply the 'local-address' option for the 'add-laddr' command");
    no("-P -z 10.0.0.2", 2, "You need to supply the 'service-address' option for the 'add-laddr' command");
    ok("-P -t [2001:db8::1]:80 -z [2001:db8::2]",     "-P -t [2001:db8::1]:80 -z 2001:db8::2");
    no("-P -t 192.0.2.1:80 -z 80", 2, "illegal local address specified; an address without port");
    no("-P -t 192.0.2.1:80 -z 10.0.0.2:80", 2, "illegal local address specified; an address without port");
    no("-G -z 10.0.0.2", 2, "Illegal 'local-address' option with the 'get-laddr' command");
}

#[rustfmt::skip]
#[test]
fn listings() {
    ok("",                                "-L");
    ok("-ln",                             "-L -n");
    ok("--list --numeric --stats --rate", "-L -n --stats");
    ok("-LnX --nosort --sort -t 192.0.2.1:80", "-L -t 192.0.2.1:80 -n --exact --nosort");
    ok("-Lnc",                            "-L -c -n");
    ok("-L --timeout",                    "-L --timeout");
    ok("-L --daemon",                     "-L --daemon");
    ok("-L --tun-info --thresholds",      "-L --thresholds");
    ok("-Sn",                             "-S -n");
    ok("-Z",                              "-Z");
    ok("-Z -t 192.0.2.1:80",              "-Z -t 192.0.2.1:80");
    ok("--drops",                         "--drops");
    ok("--drops no_server",               "--drops no_server");
    ok("--drops -- -L",                   "--drops -- -L");
    ok("--capture drops x.pcapng",        "--capture drops x.pcapng --count 1000 --seconds 60");
    ok("--capture wan - --count 5",       "--capture wan - --count 5 --seconds 60");
    ok("--capture -t 192.0.2.1:80 x --seconds 3", "--capture -t 192.0.2.1:80 x --count 1000 --seconds 3");
    no("--capture", 2, "--capture needs a NIC's name, drops, or a service (-t HOST:PORT), then a file");
    ok("--drops no_route",                "--drops no_route");
    ok("--drops nic_missed/wan",          "--drops nic_missed/wan");
    no("--drops no_route too_big", 2, "unexpected argument too_big");
    ok("-h whatever",                     "-h");
    ok("-v",                              "-v");
    no("-L -c -t 192.0.2.1:80", 2, "The option 'service-address' conflicts with the 'connection' option in the 'list' command");
    no("-L -c --stats", 2, "options conflicts in the list command");
    no("-L extra", 2, "unexpected argument extra");
    no("-n", 255, "Try `ipvsadm -h' or 'ipvsadm --help' for more information.");
    no("-S --nosort", 2, "Illegal 'nosort' option with the 'save' command");
    no("--drops -n", 2, "Illegal 'numeric' option with the 'drops' command");
}

#[rustfmt::skip]
#[test]
fn timeouts_and_daemons() {
    ok("--set 900 0 300",                 "--set 900 0 300");
    ok("--start-daemon master",           "--start-daemon master --mcast-interface eth0 --syncid 0");
    ok("--start-daemon=backup --mcast-interface eth1 --syncid 7 --mcast-group ff02::1 --mcast-port 9 --mcast-ttl 3 --sync-maxlen 1000",
       "--start-daemon backup --mcast-interface eth1 --syncid 7 --mcast-group ff02::1 --mcast-port 9 --mcast-ttl 3 --sync-maxlen 1000");
    ok("--stop-daemon backup",            "--stop-daemon backup --syncid 0");
    no("--set 1 2", 2, "--set option requires 3 timeout values");
    no("--set 1 2 3 4", 2, "unexpected argument 4");
    no("--set 1 2 x", 2, "invalid timeout value `x' specified");
    no("--set 1 2 2678401", 2, "invalid timeout value `2678401' specified");
    no("--start-daemon slave", 2, "illegal start-daemon parameter specified");
    no("--stop-daemon slave", 2, "illegal start_daemon specified");
    no("--start-daemon", 255, "Try `ipvsadm -h' or 'ipvsadm --help' for more information.");
    no("--start-daemon master --mcast-group 10.0.0.1", 2, "invalid IPv4 mcast-group `10.0.0.1'");
    no("--start-daemon master --mcast-ttl 256", 2, "illegal mcast-ttl specified");
}

#[rustfmt::skip]
#[test]
fn settings_of_the_kernel() {
    ok("--sysctl",                                  "--sysctl");
    ok("--sysctl sloppy_tcp",                       "--sysctl sloppy_tcp");
    ok("--sysctl net.ipv4.vs.sloppy_tcp=1",         "--sysctl sloppy_tcp=1");
    ok("--sysctl=net/ipv4/vs/sync_threshold",       "--sysctl sync_threshold");
    no("--sysctl sloppy_tcp -n", 2, "Illegal 'numeric' option with the 'sysctl' command");
    no("--sysctl conntrack=1", 255, "net.ipv4.vs.conntrack is always 0 in this release");
}
