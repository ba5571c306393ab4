#!/bin/sh
# packages.sh GROUP... - installs the Debian packages that a job needs, if any is missing.
# Groups: build, test, lint, fuzz, bench.
set -eu

build="gcc libc6-dev meson ninja-build pkg-config libssl-dev libsqlite3-dev libidn2-dev
libunistring-dev zlib1g-dev libzstd-dev libcrypt-dev libargon2-dev libseccomp-dev libjansson-dev"
test="libcmocka-dev python3 python3-pytest curl swaks libnet-ssleay-perl isync neomutt fetchmail
getmail6 openssl strace gdb iproute2 procps"
lint="clang-format clang-tidy cppcheck"
fuzz="clang libclang-rt-14-dev"
bench="make gcc libc6-dev libssl-dev python3 openssl util-linux"

wanted=""
for group in "$@"; do
    case $group in
    build) wanted="$wanted $build" ;;
    test) wanted="$wanted $test" ;;
    lint) wanted="$wanted $lint" ;;
    fuzz) wanted="$wanted $fuzz" ;;
    bench) wanted="$wanted $bench" ;;
    *) echo "packages.sh: no group '$group' (build, test, lint, fuzz, bench)" >&2; exit 2 ;;
    esac
done

missing=""
for package in $wanted; do
    case "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" in
    "install ok installed") ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

sudo=""
if [ "$(id -u)" != 0 ]; then
    sudo=$(command -v sudo) || {
        echo "These Debian packages are missing, and without root or sudo they cannot be installed:" >&2
        echo " $missing" >&2
        echo "As root: apt-get install$missing" >&2
        exit 1
    }
fi
echo "Installing:$missing"
$sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq
# shellcheck disable=SC2086 # a list of words on purpose
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
