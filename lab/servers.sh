#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Real servers in a lab that is up: set up for all four modes at once, each with its own nginx
# and UDP echo. They end with the lab (lab/net.sh down PREFIX).
#
#   lab/servers.sh up PREFIX
#
# GET / (ports 80 and 8080) answers "NAME CLIENT:PORT SERVER:PORT", as the server sees them;
# GET /big is BIG_MB (default 100) megabytes of noise; PUT /upload/FILE keeps FILE; UDP port 7
# echoes. Set-up is by configs/real-server/, the scripts that operators use.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=topology.sh
. "$here/topology.sh"
scripts=$here/../configs/real-server

compile_decap() {
    clang -O2 -g -Wall -Werror -target bpf "-I/usr/include/$(uname -m)-linux-gnu" \
        -c "$scripts/decap.bpf.c" -o "$STATE/decap.bpf.o"
}

make_data() {
    data=$(mktemp -d /tmp/pointsman-lab.XXXXXX)
    ln -s "$data" "$STATE/data"
    chmod 755 "$data"
    head -c "${BIG_MB:-100}M" /dev/urandom > "$data/big"
    sha256sum "$data/big" | cut -d' ' -f1 > "$data/big.sha256"
}

# in_server INDEX COMMAND...
in_server() {
    local index=$1
    shift
    ip netns exec "${RS_NS[index]}" env STATE_DIR="$STATE/rs$((index + 1))" \
        DECAP="$STATE/decap.bpf.o" GATEWAY="$ROUTER_LAN" GATEWAY6="$ROUTER6_LAN" "$@"
}

# Every server serves all modes; in the service with mixed modes each has one.
set_up() {
    in_server "$1" "$scripts/nat.sh" up "$DIRECTOR_LAN" "$DIRECTOR6_LAN"
    in_server "$1" "$scripts/fullnat.sh" up "${LOCALS[@]}" "${LOCALS6[@]}"
    in_server "$1" "$scripts/dr.sh" up "$VIP_DR" "$VIP6_DR"
    in_server "$1" "$scripts/tun.sh" up "$VIP_TUN" "$VIP6_TUN" "$VIP_CROSS" "$VIP6_CROSS"
    case $1 in
        1) in_server 1 "$scripts/dr.sh" up "$VIP_MIXED" "$VIP6_MIXED" ;;
        2) in_server 2 "$scripts/tun.sh" up "$VIP_MIXED" "$VIP6_MIXED" ;;
    esac
}

nginx_conf() {
    local name=$1 dir=$2
    cat <<CONF
user www-data;
worker_processes 1;
pid $dir/nginx.pid;
error_log $dir/error.log warn;
events { worker_connections 1024; }
http {
    log_format seen '\$remote_addr \$remote_port \$server_addr \$server_port "\$request" \$status';
    access_log $dir/access.log seen;
    client_body_temp_path $dir/body;
    proxy_temp_path $dir/proxy;
    fastcgi_temp_path $dir/fastcgi;
    uwsgi_temp_path $dir/uwsgi;
    scgi_temp_path $dir/scgi;
    client_max_body_size 0;
    keepalive_timeout 0;
    server {
        listen 80 backlog=1024;
        listen 8080 backlog=1024;
        listen [::]:80 backlog=1024;
        listen [::]:8080 backlog=1024;
        default_type text/plain;
        location = / {
            return 200 "$name \$remote_addr:\$remote_port \$server_addr:\$server_port\n";
        }
        location = /hold {
            keepalive_timeout 300;
            return 200 "$name \$remote_addr:\$remote_port \$server_addr:\$server_port\n";
        }
        location = /big { alias $data/big; }
        location /upload/ { root $dir; dav_methods PUT DELETE; create_full_put_path on; }
    }
}
CONF
}

serve() {
    local index=$1 name=rs$(($1 + 1))
    local dir=$data/$name
    mkdir "$dir" "$dir/upload"
    chown www-data "$dir/upload"
    nginx_conf "$name" "$dir" > "$dir/nginx.conf"
    in_server "$index" nginx -e "$dir/error.log" -c "$dir/nginx.conf"
    in_server "$index" "$here/echo.py" "$name" 7 </dev/null >"$dir/echo.log" 2>&1 &
    await_echo "$index" "$dir"
}

await_echo() {
    local tries
    for tries in $(seq 100); do
        if [[ -n $(in_server "$1" ss -6Hlun sport = :7) ]]; then
            return
        fi
        sleep 0.05
    done
    echo "no UDP echo in ${RS_NS[$1]} after $((tries / 20)) s:" >&2
    cat "$2/echo.log" >&2
    return 1
}

if [[ ${1-} != up || $# -ne 2 ]]; then
    sed -n '6s/^# *//p' "$0" >&2
    exit 2
fi
use_lab "$2"
compile_decap
make_data
for index in "${!RS_NS[@]}"; do
    set_up "$index"
    serve "$index"
done
