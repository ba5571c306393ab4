#!/bin/sh
# server.sh start|stop|restart|pid DIR [PROGRAM] - a Posthouse to be measured, all of it under DIR.
#
# It listens on 127.0.0.1 only, at PORT_BASE (environment, default 12000) + the standard ports, with
# LMTP at DIR/lmtp as well; it has the domain bench.test and a self-signed certificate. All limits
# are the defaults, but that loopback is exempt from those per address, where all load comes from.
# SETTINGS (environment) names a file that is appended to the configuration.
set -eu

action=${1:?start, stop, restart or pid}
dir=${2:?the directory}
program=${3:-$(dirname "$0")/../build-release/posthouse}
base=${PORT_BASE:-12000}
host=bench.test

config_write() {
    mkdir -p "$dir"
    chmod 755 "$dir"
    [ -s "$dir/key.pem" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -days 3650 -subj /CN=$host -keyout "$dir/key.pem" -out "$dir/certificate.pem" 2>/dev/null
    {
        printf '[server]\nhost-name = %s\ndata-directory = %s/data\nrun-directory = %s/run\n' \
            "$host" "$dir" "$dir"
        printf '[certificate bench]\nchain-file = %s/certificate.pem\nkey-file = %s/key.pem\n' \
            "$dir" "$dir"
        listener smtp smtp 127.0.0.1:$((base + 25)) starttls
        listener lmtp lmtp "127.0.0.1:$((base + 24)), $dir/lmtp" off
        listener imap imap 127.0.0.1:$((base + 143)) starttls
        listener imaps imap 127.0.0.1:$((base + 993)) implicit
        listener pop3 pop3 127.0.0.1:$((base + 110)) starttls
        [ -z "${SETTINGS:-}" ] || cat "$SETTINGS"
    } >"$dir/posthouse.conf"
}

# listener NAME PROTOCOL ADDRESS TLS
listener() {
    printf '[listener %s]\nprotocol = %s\naddress = %s\ntls = %s\ntrusted-networks = 127.0.0.0/8\n' "$@"
    case $2 in imap | pop3) echo 'plaintext-login = yes' ;; esac
}

pid() { cat "$dir/pid" 2>/dev/null || true; }

alive() { [ -n "$(pid)" ] && kill -0 "$(pid)" 2>/dev/null; }

start() {
    config_write
    if alive; then
        echo "server.sh: it runs already, pid $(pid)" >&2
        exit 1
    fi
    ulimit -n "$(ulimit -H -n)"
    "$program" serve --config "$dir/posthouse.conf" </dev/null >>"$dir/log" 2>&1 &
    echo $! >"$dir/pid"
    tries=0
    until "$program" status --config "$dir/posthouse.conf" >/dev/null 2>&1; do
        tries=$((tries + 1))
        if ! alive || [ $tries -gt 300 ]; then
            echo "server.sh: it did not start:" >&2
            tail -5 "$dir/log" >&2
            stop
            exit 1
        fi
        sleep 0.1
    done
}

stop() {
    if alive; then
        kill "$(pid)"
        tries=0
        while kill -0 "$(pid)" 2>/dev/null; do
            tries=$((tries + 1))
            if [ $tries = 600 ]; then
                echo "server.sh: it does not stop; ending it with kill -9" >&2
                kill -9 "$(pid)"
            fi
            sleep 0.1
        done
    fi
    rm -f "$dir/pid"
}

case $action in
start) start ;;
stop) stop ;;
restart) stop && start ;;
pid) pid ;;
*) sed -n '2,7s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
