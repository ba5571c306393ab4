"""Who may log in and how: SCRAM with and without channel binding, hashes that people bring along, app
passwords, account states, catch-all, quotas of domains, mail for other domains, the command line."""
import base64
import hashlib
import hmac
import imaplib
import json
import os
import poplib
import smtplib
import socket
import ssl
import struct
import subprocess
import time

import pytest

from conftest import DOMAIN, POSTHOUSE, SLOW


def imap_connect(server, tls=False):
    if not tls:
        return imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=30 * SLOW)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2 if tls == "1.2" else ssl.TLSVersion.MAXIMUM_SUPPORTED
    return imaplib.IMAP4_SSL("127.0.0.1", server.port("imaps"), ssl_context=context, timeout=30 * SLOW)


def send(server, to, subject="x", sender="a@elsewhere.test"):
    with smtplib.SMTP("127.0.0.1", server.port("smtp"), "client.test", timeout=30 * SLOW) as client:
        client.sendmail(sender, [to], f"Subject: {subject}\r\n\r\nbody\r\n")


def subjects(server, user, password="secret", mailbox="INBOX"):
    imap = imap_connect(server)
    imap.login(user, password)
    imap.select(mailbox, readonly=True)
    rows = imap.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    imap.logout()
    return [row[1].decode().split(": ", 1)[1].strip() for row in rows if isinstance(row, tuple)]


class Scram:
    """The client's side of RFC 5802."""

    def __init__(self, mechanism, user, password, binding=None, data=b"", authzid="", lie=False):
        self.hash = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}[mechanism.replace("-PLUS", "")]
        self.password, self.data, self.lie = password.encode(), data, lie
        self.gs2 = (f"p={binding}" if binding else "n") + "," + (f"a={authzid}" if authzid else "") + ","
        self.nonce = base64.b64encode(os.urandom(18)).decode()
        self.bare = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={self.nonce}"
        self.step = 0

    def __call__(self, challenge):
        self.step += 1
        if self.step == 1:
            return (self.gs2 + self.bare).encode()
        if self.step == 3:
            assert challenge == b"v=" + base64.b64encode(self.signature), "the server does not know the key"
            return b""
        server_first = challenge.decode()
        fields = dict(part.split("=", 1) for part in server_first.split(","))
        assert fields["r"].startswith(self.nonce) and len(fields["r"]) > len(self.nonce)
        binding = base64.b64encode(self.gs2.encode() + (b"wrong" if self.lie else self.data)).decode()
        final = f"c={binding},r={fields['r']}"
        message = f"{self.bare},{server_first},{final}".encode()
        salted = hashlib.pbkdf2_hmac(self.hash, self.password, base64.b64decode(fields["s"]), int(fields["i"]))
        client_key = hmac.digest(salted, b"Client Key", self.hash)
        proof = hmac.digest(hashlib.new(self.hash, client_key).digest(), message, self.hash)
        self.signature = hmac.digest(hmac.digest(salted, b"Server Key", self.hash), message, self.hash)
        return (final + ",p=" + base64.b64encode(bytes(a ^ b for a, b in zip(client_key, proof))).decode()).encode()


@pytest.mark.threads
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_scram(server, user, mechanism):
    imap = imap_connect(server)
    assert f"AUTH={mechanism}" in imap.capabilities
    assert f"AUTH={mechanism}-PLUS" not in imap.capabilities  # there is nothing to bind to
    imap.authenticate(mechanism, Scram(mechanism, user, "secret"))
    imap.select()
    imap.logout()
    for who, password in ((user, "wrong"), (f"nobody@{DOMAIN}", "secret")):
        imap = imap_connect(server)
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            imap.authenticate(mechanism, Scram(mechanism, who, password))
        imap.shutdown()


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"])
def test_scram_plus(server, user, mechanism):
    imap = imap_connect(server, tls="1.2")
    assert f"AUTH={mechanism}" in imap.capabilities
    unique = imap.sock.get_channel_binding("tls-unique")
    imap.authenticate(mechanism, Scram(mechanism, user, "secret", "tls-unique", unique))
    imap.logout()
    imap = imap_connect(server, tls=True)
    certificate = imap.sock.getpeercert(binary_form=True)
    imap.authenticate(mechanism, Scram(mechanism, user, "secret", "tls-server-end-point", hashlib.sha256(certificate).digest()))
    imap.logout()
    imap = imap_connect(server, tls=True)  # somebody in the middle
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        imap.authenticate(mechanism, Scram(mechanism, user, "secret", "tls-server-end-point", certificate, lie=True))


def test_unknown_users_have_stable_salts(server):
    """A stranger cannot tell by the salt whether an account is there."""
    salts = []
    for _ in range(2):
        imap = imap_connect(server)
        seen = []

        def first_only(challenge):
            if challenge:
                seen.append(challenge)
                return None
            return f"n,,n=unknown@{DOMAIN},r=abcdefghijkl".encode()
        with pytest.raises(imaplib.IMAP4.error):
            imap.authenticate("SCRAM-SHA-256", first_only)
        salts.append(seen[0].decode().split(",")[1:])
        imap.shutdown()
    assert salts[0] == salts[1] and salts[0][0].startswith("s=")


def test_pop3_and_imap_sasl(server, user):
    pop = poplib.POP3("127.0.0.1", server.port("pop3"), timeout=30 * SLOW)
    pop._putline(b"AUTH PLAIN " + base64.b64encode(b"\0" + user.encode() + b"\0secret"))
    assert pop._getresp().startswith(b"+OK")
    pop.quit()
    imap = imap_connect(server)
    imap.authenticate("PLAIN", lambda _: b"\0" + user.encode() + b"\0secret")
    imap.logout()
    imap = imap_connect(server)
    with pytest.raises(imaplib.IMAP4.error):  # another's identity is not given
        imap.authenticate("PLAIN", lambda _: b"alice@example.test\0" + user.encode() + b"\0secret")


@pytest.mark.parametrize("method, setting", [("{SHA512-CRYPT}", "$6$saltsalt"), ("{BLF-CRYPT}", "$2y$05$abcdefghijklmnopqrstuu"),
                                             ("{PLAIN}", None), ("{SSHA}", "")])
def test_brought_along_hashes_are_renewed(server, method, setting):
    if setting:
        crypt = pytest.importorskip("crypt")
        value = crypt.crypt("brought", setting)
    elif setting is None:
        value = "brought"
    else:
        value = base64.b64encode(hashlib.sha1(b"brought" + b"salt").digest() + b"salt").decode()
    address = f"old{abs(hash(method)) % 10000}@{DOMAIN}"
    server.command("account", "add", address, "--hash", method + value)
    before = server.json("password", "list", address)
    # Without keys for everybody SCRAM is not offered: it would tell who has none.
    end = time.monotonic() + 20 * SLOW  # what is offered is looked up now and then
    while "SCRAM" in str((imap := imap_connect(server)).capabilities):
        assert time.monotonic() < end
        imap.shutdown()
        time.sleep(0.2)
    imap.login(address, "brought")
    imap.logout()
    # The login made the keys.
    while "AUTH=SCRAM-SHA-256" not in (imap := imap_connect(server)).capabilities:
        assert time.monotonic() < end
        imap.shutdown()
        time.sleep(0.2)
    imap.authenticate("SCRAM-SHA-256", Scram("SCRAM-SHA-256", address, "brought"))
    imap.logout()
    assert before != server.json("password", "list", address)
    server.command("account", "remove", address)


def test_hashes_that_are_none_are_refused(server):
    for wrong in ("{NONSENSE}x", "no hash", "{BLF-CRYPT}$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"):
        done = server.command("account", "add", f"wrong@{DOMAIN}", "--hash", wrong, check=False)
        assert done.returncode == 1 and "hash" in done.stderr.lower(), done


def test_app_passwords(server, user):
    server.command("password", "add", user, "phone", "--password-stdin", stdin="phone-secret\n")
    assert {"phone"} <= {row["name"] for row in server.json("password", "list", user)}
    imap = imap_connect(server)
    imap.login(user, "phone-secret")
    other = imap_connect(server)
    other.login(user, "secret")
    end = time.monotonic() + 10 * SLOW
    while time.monotonic() < end:  # written in batches
        if [row for row in server.json("password", "list", user) if row["name"] == "phone"][0]["last-used"]:
            break
        time.sleep(0.2)
    else:
        pytest.fail(f"no last use: {server.json('password', 'list', user)}")
    server.command("password", "remove", user, "phone")
    with pytest.raises((imaplib.IMAP4.abort, OSError)):  # its sessions end
        for _ in range(100):
            imap.noop()
            time.sleep(0.05)
    imap = imap_connect(server)
    with pytest.raises(imaplib.IMAP4.error):
        imap.login(user, "phone-secret")


def test_states(server, user):
    imap = imap_connect(server)
    imap.login(user, "secret")
    server.command("account", "set", user, "--state", "disabled")
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        for _ in range(100):
            imap.noop()
            time.sleep(0.05)
    with pytest.raises(imaplib.IMAP4.error):
        imap_connect(server).login(user, "secret")
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(server, user)
    server.command("account", "set", user, "--state", "receive-only")
    send(server, user, "received")
    assert subjects(server, user) == ["received"]  # it may read; what it may not do is send
    server.command("account", "set", user, "--state", "send-only")
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(server, user)
    server.command("account", "set", user, "--state", "enabled")
    assert subjects(server, user) == ["received"]


def test_catch_all_and_postmaster(server, user):
    server.command("domain", "add", "caught.test")
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(server, "anybody@caught.test")
    server.command("domain", "set", "caught.test", "--catch-all", user)
    send(server, "anybody@caught.test", "caught")
    send(server, "postmaster@caught.test", "to the postmaster")
    send(server, "abuse@caught.test", "abuse")
    assert subjects(server, user) == ["caught"]
    # The postmaster is the first account, unless there is an account or alias of that name.
    assert {"abuse", "to the postmaster"} <= set(subjects(server, f"alice@{DOMAIN}", "alice"))
    server.command("domain", "set", "caught.test", "--catch-all", "none")
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(server, "anybody@caught.test")


def test_alias_to_another_domain_waits(server, user):
    server.command("alias", "add", f"both@{DOMAIN}", user, "friend@far-away.test")
    send(server, f"both@{DOMAIN}", "for both")
    end = time.monotonic() + 10 * SLOW
    while subjects(server, user) != ["for both"]:
        assert time.monotonic() < end
        time.sleep(0.1)
    waiting = json.dumps(server.json("queue", "list"))
    assert "friend@far-away.test" in waiting
    story = server.command("trace", "friend@far-away.test").stdout
    assert "friend@far-away.test" in story


def test_commands_say_what_is_wrong(server):
    for words, what in ((("account", "add", "no-domain", "--hash", "{PLAIN}x"), "address"),
                        (("account", "add", "x@unknown.test", "--hash", "{PLAIN}x"), "domain"),
                        (("account", "add", f"alice@{DOMAIN}", "--hash", "{PLAIN}x"), "already"),
                        (("account", "show", f"nobody@{DOMAIN}"), "no"),
                        (("alias", "add", f"loop@{DOMAIN}", f"loop@{DOMAIN}"), "loop"),
                        (("domain", "remove", DOMAIN), "account"),
                        (("account", "set", f"alice@{DOMAIN}", "--quota", "lots"), "size"),
                        (("account", "set", f"alice@{DOMAIN}", "--state", "asleep"), "state")):
        done = server.command(*words, check=False)
        assert done.returncode in (1, 2) and what in done.stderr.lower(), (words, done)
    done = server.command("password", "set", f"alice@{DOMAIN}", check=False)  # no terminal, no --password-stdin
    assert done.returncode == 2 and "--password-stdin" in done.stderr


def test_commands_without_a_server(server, tmp_path):
    config = tmp_path / "posthouse.conf"
    config.write_text(f"[server]\nhost-name = mail.example.test\ndata-directory = {tmp_path}/data\nrun-directory = {tmp_path}/run\n")

    def run(*words, stdin=None):
        return subprocess.run([POSTHOUSE, *words, "--config", str(config)], input=stdin, capture_output=True, text=True, timeout=60)
    assert run("domain", "add", "offline.test").returncode == 0
    assert run("account", "add", "me@offline.test", "--password-stdin", stdin="x\n").returncode == 0
    shown = json.loads(run("account", "list", "--json").stdout)
    assert [row["address"] for row in shown] == ["me@offline.test"]
    assert run("account", "verify", "--all").returncode == 0
    assert run("account", "remove", "me@offline.test").returncode == 0
    assert run("domain", "remove", "offline.test").returncode == 0
    done = run("status")
    assert done.returncode == 1 and "does not run" in done.stderr


def test_proxy_protocol(tmp_path_factory):
    from conftest import Server, check_log
    instance = Server(tmp_path_factory.mktemp("proxy") / "demo").start()
    instance.stop()
    text = instance.config.read_text().replace("protocol = smtp\n", "protocol = smtp\nproxy-networks = 127.0.0.1/32\n", 1)
    instance.config.write_text(text)
    log = open(instance.log_path, "ab")
    instance.process = subprocess.Popen([POSTHOUSE, "serve", "--config", str(instance.config)], stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=log, start_new_session=True)
    try:
        end = time.monotonic() + 20 * SLOW
        while True:
            try:
                wire = socket.create_connection(("127.0.0.1", instance.port("smtp")), 10)
                break
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.1)
        version2 = (b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H", 12) + socket.inet_aton("198.51.100.7") +
                    socket.inet_aton("127.0.0.1") + struct.pack(">HH", 4321, 25))
        wire.close()
        for header, address in ((b"PROXY TCP4 203.0.113.9 127.0.0.1 4321 25\r\n", "203.0.113.9"), (version2, "198.51.100.7")):
            wire = socket.create_connection(("127.0.0.1", instance.port("smtp")), 10)
            wire.settimeout(20 * SLOW)
            wire.sendall(header)
            assert wire.recv(1000).startswith(b"220 ")
            wire.sendall(b"QUIT\r\n")
            wire.recv(1000)
            wire.close()
            end = time.monotonic() + 10
            while f"peer={address}" not in instance.log():
                assert time.monotonic() < end, instance.log_tail()
                time.sleep(0.05)
        wire = socket.create_connection(("127.0.0.1", instance.port("smtp")), 10)  # without a header: closed
        wire.settimeout(20 * SLOW)
        wire.sendall(b"EHLO x\r\n")
        assert wire.recv(1000) == b""
        assert instance.stop() == 0
        check_log(instance)
    finally:
        instance.kill()


def test_reload_keeps_sessions_and_brings_certificates(tmp_path_factory):
    import signal
    from conftest import Server, check_log
    instance = Server(tmp_path_factory.mktemp("reload") / "demo").start()
    try:
        user = instance.add_account()
        imap = imap_connect(instance)
        imap.login(user, "secret")
        imap.select()
        secure = imap_connect(instance, tls=True)
        secure.login(user, "secret")
        before = secure.sock.getpeercert(binary_form=True)
        paths = [line.split("=", 1)[1].strip() for line in instance.config.read_text().splitlines() if line.split("=")[0].strip() in
                 ("chain-file", "key-file")]
        chain, key = paths[0], paths[1]
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=new.example.test", "-days", "2",
                        "-keyout", key, "-out", chain], check=True, capture_output=True)
        instance.config.write_text(instance.config.read_text() + "\n[limits]\nmessage-size = 3M\n")
        instance.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 20 * SLOW
        while True:
            fresh = imap_connect(instance, tls=True)
            after = fresh.sock.getpeercert(binary_form=True)
            fresh.shutdown()
            if after != before:
                break
            assert time.monotonic() < end
            time.sleep(0.1)
        with smtplib.SMTP("127.0.0.1", instance.port("smtp"), timeout=30) as client:
            client.ehlo()
            assert client.esmtp_features["size"] == str(3 * 1024 * 1024)
        assert imap.noop()[0] == "OK" and secure.noop()[0] == "OK"
        # A file with mistakes changes nothing, and the log says where they are.
        instance.config.write_text(instance.config.read_text() + "\nnonsense = 1\n")
        instance.process.send_signal(signal.SIGHUP)
        while "nonsense" not in instance.log():
            assert time.monotonic() < end
            time.sleep(0.1)
        assert imap.noop()[0] == "OK"
        send(instance, user)
        assert instance.stop() == 0
        check_log(instance)
    finally:
        instance.kill()
