#!/bin/sh
# peer-namespace.sh COMMAND... - a command that finds parts of the unpacked peers in /usr/bin and /etc.
#
# The harness unpacks the peers without installing them and runs each where its own directories are
# mounted; but Dovecot executes /usr/bin/doveconf by that name, and Postfix looks for /etc/postfix.
# Here they find them, and nothing of the machine is changed.
set -eu
packages=/tmp/bench-peers/pkg
mounts=""

# lend PATH DIRECTORY PACKAGE: where PATH is missing, DIRECTORY gets what the package has there as well
lend() {
    if [ ! -e "$1" ] && [ -e "$packages/$3$1" ]; then
        mounts="${mounts}mount -t overlay overlay -o lowerdir=$packages/$3$2:$2 $2 && "
    fi
}

lend /usr/bin/doveconf /usr/bin dovecot
lend /etc/postfix /etc postfix
if [ -z "$mounts" ]; then
    exec "$@"
fi
exec unshare -m sh -c "${mounts}"'exec "$@"' sh "$@"
