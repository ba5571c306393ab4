#!/bin/sh
# after-install.sh - what `make install` does besides copying files: the service user, a first configuration,
# systemd's knowledge of the unit. With DESTDIR (a package is being made) it does nothing.
set -eu
[ -z "${DESTDIR:-}" ] || exit 0
share=${1:-/usr/share/posthouse}

if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers posthouse.conf
else
    getent group posthouse-admin >/dev/null || groupadd --system posthouse-admin
    getent passwd posthouse >/dev/null ||
        useradd --system --home-dir /var/lib/posthouse --shell /usr/sbin/nologin posthouse
fi
if [ ! -e /etc/posthouse/posthouse.conf ]; then
    mkdir -p /etc/posthouse
    sed "s/@HOSTNAME@/$(hostname -f 2>/dev/null || hostname)/" "$share/posthouse.conf.in" >/etc/posthouse/posthouse.conf
    echo "A first configuration was written: /etc/posthouse/posthouse.conf"
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
cat <<'EOF'
Installed. Next:
  1. Look at /etc/posthouse/posthouse.conf: the host name, and where the certificate is.
  2. posthouse config check
  3. systemctl enable --now posthouse      (or: posthouse serve)
  4. posthouse domain add example.org
     posthouse account add you@example.org
  5. man posthouse
EOF
