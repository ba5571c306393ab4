"""SMTP and LMTP with independent clients: smtplib, swaks, curl, and raw sockets for what they cannot say."""
import re
import shutil
import smtplib
import socket
import ssl
import subprocess
import time

import pytest

from conftest import DOMAIN, SLOW

MAIL = "From: a@elsewhere.test\r\nTo: b\r\nSubject: hello\r\n\r\nbody\r\n"


def inbox(server, user, password="secret"):
    import imaplib
    with imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=30 * SLOW) as imap:
        imap.login(user, password)
        imap.select("INBOX", readonly=True)
        status, rows = imap.fetch("1:*", "(BODY.PEEK[])")
        return [row[1] for row in rows if isinstance(row, tuple)]


def connect(server, service="smtp", family="127.0.0.1"):
    s = socket.create_connection((family, server.port(service)), 20 * SLOW)
    return s, s.makefile("rb")


def reply(wire):
    lines = []
    while True:
        line = wire.readline().decode()
        lines.append(line.rstrip("\r\n"))
        if len(line) < 4 or line[3] != "-":
            return lines


@pytest.mark.threads
def test_send_and_read(server, user):
    with smtplib.SMTP("127.0.0.1", server.port("smtp"), "client.test", timeout=20 * SLOW) as client:
        client.sendmail("a@elsewhere.test", [user], MAIL)
    (message,) = inbox(server, user)
    assert message.startswith(b"Return-Path: <a@elsewhere.test>\r\nReceived: from client.test (")
    assert message.endswith(MAIL.encode())
    received = re.search(rb"Received: .*?\r\n(?![ \t])", message, re.S).group(0)
    assert b"with ESMTP id " in received and f"for <{user}>".encode() in received


def test_ipv6_and_starttls(server, user):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP("::1", server.port("smtp"), timeout=20 * SLOW) as client:
        client.starttls(context=context)
        client.ehlo()
        assert not client.has_extn("starttls")
        client.sendmail("a@elsewhere.test", [user], MAIL)
    (message,) = inbox(server, user)
    assert b"with ESMTPS id" in message and b"TLSv1.3" in message


def tls_in_memory(s):
    """A TLS client's handshake on s; what it returns sends a record for each of its arguments, all at once
    (with cut: in two pieces, parted there), and reads what comes back."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)

    def until(step):
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                s.sendall(outgoing.read())
                incoming.write(s.recv(65536))

    def say(*records, cut=None):
        for record in records:
            tls.write(record)
        sealed = outgoing.read()
        for piece in (sealed[:cut], sealed[cut:] if cut else b""):
            s.sendall(piece)
            if cut:
                time.sleep(0.2)
        return until(lambda: tls.read(65536))

    until(tls.do_handshake)
    s.sendall(outgoing.read())
    return say


@pytest.mark.parametrize("cut", (None, -10), ids=("at once", "the last one in two pieces"))
@pytest.mark.parametrize("command", ("DATA", "BDAT"))
def test_message_in_several_tls_records(server, user, command, cut):
    """What the server reads at once may hold more records than it decrypts at once, and part of one."""
    s, wire = connect(server)
    with s:
        reply(wire)
        for command_before in (b"EHLO x.test\r\n", b"STARTTLS\r\n"):
            s.sendall(command_before)
            reply(wire)
        say = tls_in_memory(s)
        say(b"EHLO x.test\r\n")
        say(b"MAIL FROM:<a@elsewhere.test>\r\n")
        assert say(b"RCPT TO:<" + user.encode() + b">\r\n").startswith(b"250")
        if command == "DATA":
            say(b"DATA\r\n")
            assert say(MAIL.encode(), b".\r\n", cut=cut).startswith(b"250")
        else:
            half = len(MAIL) // 2
            assert say(b"BDAT %d LAST\r\n" % len(MAIL), MAIL[:half].encode(), MAIL[half:].encode(), cut=cut).startswith(b"250")
    (message,) = inbox(server, user)
    assert message.endswith(MAIL.encode())


def test_relaying_is_refused(server):
    with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=20 * SLOW) as client:
        client.ehlo()
        client.mail("a@elsewhere.test")
        code, text = client.rcpt("someone@gmail.test")
        assert code == 550 and text.startswith(b"5.7.1"), (code, text)
        code, text = client.rcpt(f"nobody-here@{DOMAIN}")
        assert code == 550 and text.startswith(b"5.1.1"), (code, text)
        code, text = client.rcpt(f"postmaster@{DOMAIN}")
        assert code == 250, (code, text)
        code, text = client.rcpt("postmaster")
        assert code == 250, (code, text)


def test_several_recipients_through_the_queue(server):
    users = [server.add_account() for _ in range(3)]
    with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=20 * SLOW) as client:
        client.sendmail("a@elsewhere.test", users, MAIL)
    import time
    for user in users:
        for _ in range(100):
            if inbox(server, user):
                break
            time.sleep(0.1)
        assert len(inbox(server, user)) == 1


def test_alias_and_subaddress(server):
    one, two = server.add_account(), server.add_account()
    server.command("alias", "add", f"both@{DOMAIN}", one, two)
    with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=20 * SLOW) as client:
        client.sendmail("a@elsewhere.test", [f"both@{DOMAIN}"], MAIL)
        client.sendmail("a@elsewhere.test", [one.replace("@", "+news@")], MAIL)
    import time
    for _ in range(100):
        if len(inbox(server, one)) == 2 and len(inbox(server, two)) == 1:
            break
        time.sleep(0.1)
    assert len(inbox(server, one)) == 2 and len(inbox(server, two)) == 1


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\n.\r", b"\r.\r\n"])
def test_only_crlf_dot_crlf_ends_a_message(server, user, end):
    """SMTP smuggling: whatever stands for the end in other servers, what follows stays in the message."""
    s, wire = connect(server)
    with s:
        reply(wire)
        for line in (b"EHLO x.test", b"MAIL FROM:<a@elsewhere.test>", b"RCPT TO:<" + user.encode() + b">", b"DATA"):
            s.sendall(line + b"\r\n")
            assert reply(wire)[-1][0] in "23"
        s.sendall(b"Subject: one\r\n\r\nbody" + end + b"MAIL FROM:<evil@elsewhere.test>\r\nRCPT TO:<" + user.encode() +
                  b">\r\nDATA\r\nSubject: two\r\n\r\nsmuggled\r\n.\r\n")
        answer = reply(wire)[-1]
        assert answer.startswith(("550 5.", "554 5.")), answer
        s.sendall(b"NOOP\r\n")
        assert reply(wire)[-1].startswith("250")
    assert inbox(server, user) == []


def test_injection_before_starttls(server, user):
    s, wire = connect(server)
    with s:
        reply(wire)
        s.sendall(b"EHLO x.test\r\n")
        reply(wire)
        s.sendall(b"STARTTLS\r\nMAIL FROM:<evil@elsewhere.test>\r\nRCPT TO:<" + user.encode() + b">\r\n")
        assert wire.readline().startswith(b"220")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(s) as tls:
            tls.sendall(b"EHLO x.test\r\nRCPT TO:<" + user.encode() + b">\r\n")
            text = b""
            while b"503" not in text:
                more = tls.recv(4096)
                assert more, text
                text += more
            assert text.count(b"250 ") == 1, text


def test_chunking(server, user):
    s, wire = connect(server)
    with s:
        reply(wire)
        s.sendall(b"EHLO x.test\r\n")
        assert any("CHUNKING" in line for line in reply(wire))
        s.sendall(b"MAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<" + user.encode() + b">\r\n"
                  b"BDAT 17\r\nSubject: bdat\r\n\r\nBDAT 8 LAST\r\n.dot\r\n\r\n")
        for _ in range(4):
            assert reply(wire)[-1].startswith("250")
    (message,) = inbox(server, user)
    assert message.endswith(b"Subject: bdat\r\n\r\n.dot\r\n\r\n")


def test_size_limits(server, user):
    with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=20 * SLOW) as client:
        client.ehlo()
        limit = int(client.esmtp_features["size"])
        code, text = client.mail("a@elsewhere.test", [f"SIZE={limit + 1}"])
        assert code == 552 and text.startswith(b"5.3.4"), (code, text)


def test_swaks(server, user):
    if not shutil.which("swaks"):
        pytest.skip("swaks is absent")
    for extra in ([], ["--tls"], ["--pipeline"]):
        done = subprocess.run(["swaks", "--server", "127.0.0.1", "--port", str(server.port("smtp")), "--to", user,
                               "--from", "swaks@elsewhere.test", *extra], capture_output=True, text=True, timeout=60 * SLOW)
        assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run(["swaks", "--protocol", "LMTP", "--server", "127.0.0.1", "--port", str(server.port("lmtp")), "--to", user,
                           "--from", "swaks@elsewhere.test"], capture_output=True, text=True, timeout=60 * SLOW)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(inbox(server, user)) == 4


def test_curl(server, user, scratch):
    (scratch / "mail").write_bytes(MAIL.encode())
    subprocess.run(["curl", "-sS", f"smtp://127.0.0.1:{server.port('smtp')}/client.test", "--mail-from", "curl@elsewhere.test",
                    "--mail-rcpt", user, "-T", str(scratch / "mail")], check=True, timeout=30 * SLOW)
    (message,) = inbox(server, user)
    assert message.endswith(MAIL.encode())


def test_lmtp_replies_for_each_recipient(server):
    good = server.add_account()
    disabled = server.add_account()
    s, wire = connect(server, "lmtp")
    with s:
        reply(wire)
        for line in (b"LHLO x.test", b"MAIL FROM:<a@elsewhere.test>", b"RCPT TO:<" + good.encode() + b">",
                     b"RCPT TO:<" + disabled.encode() + b">", b"DATA"):
            s.sendall(line + b"\r\n")
            assert reply(wire)[-1][0] in "23"
        s.sendall(MAIL.encode() + b".\r\n")
        assert reply(wire)[-1].startswith("250 2.") and reply(wire)[-1].startswith("250 2.")
    assert len(inbox(server, good)) == 1 and len(inbox(server, disabled)) == 1


def test_who_is_named_twice_gets_one_copy(server):
    for service, client in (("lmtp", smtplib.LMTP), ("smtp", smtplib.SMTP)):
        user = server.add_account()
        with client("127.0.0.1", server.port(service), timeout=30 * SLOW) as wire:
            wire.ehlo_or_helo_if_needed()
            assert wire.mail("a@elsewhere.test")[0] == 250
            assert [wire.rcpt(address)[0] for address in (user, user.upper(), user)] == [250] * 3
            assert wire.docmd("DATA")[0] == 354
            wire.send(MAIL.encode() + b".\r\n")
            assert [wire.getreply()[0] for _ in range(3 if service == "lmtp" else 1)] == [250] * (3 if service == "lmtp" else 1)
        assert len(inbox(server, user)) == 1


def test_smtputf8(server):
    user = server.add_account("grün@" + DOMAIN)
    with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=20 * SLOW) as client:
        client.ehlo()
        assert client.has_extn("smtputf8")
        client.sendmail("ä@elsewhere.test", [user], MAIL.encode(), mail_options=["SMTPUTF8"])
        client.command_encoding = "utf-8"
        code, text = client.docmd("MAIL", "FROM:<ä@elsewhere.test>")
        assert code in (550, 553) and b"5.6.7" in text, (code, text)


def test_quota(server):
    user = server.add_account(quota="50K")
    big = MAIL + "x" * 70 + "\r\n"
    big = big[:-2] + ("\r\n" + "y" * 70) * 400 + "\r\n"
    with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=20 * SLOW) as client:
        client.sendmail("a@elsewhere.test", [user], big)  # may exceed it by one message
        with pytest.raises(smtplib.SMTPException) as caught:
            for _ in range(3):
                client.sendmail("a@elsewhere.test", [user], big)
    assert "4.2.2" in str(caught.value) or "5.2.2" in str(caught.value)
    assert len(inbox(server, user)) in (1, 2)  # the figure that RCPT goes by is a moment old
