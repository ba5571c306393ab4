#!/bin/sh
# run.sh [options] - builds an optimised Posthouse and measures it: see README.md, or --help.
set -eu
cd "$(dirname "$0")/.."

case " $* " in
*" --help "* | *" -h "* | *" --program "* | *" --program="*) ;;
*)
    test -f build-release/build.ninja ||
        meson setup build-release --buildtype=release -Dtests=disabled >/dev/null
    ninja --quiet -C build-release posthouse
    ;;
esac
exec /usr/bin/python3 bench/run.py "$@"
