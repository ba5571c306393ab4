"""The messages of ../shared/mail: in by SMTP and LMTP, out by IMAP and POP3 byte for byte, but for the
trace headers that are added; those that the protocol forbids are refused with the right reply."""
import imaplib
import io
import poplib
import re
import smtplib
import tarfile

import pytest

from conftest import SHARED, SLOW

ARCHIVES = ("easy_ham", "hard_ham", "spam")
SHARE = 1 if SLOW == 1 else 20  # every how many messages

pytestmark = pytest.mark.skipif(not (SHARED / "mail").is_dir(), reason="../shared/mail is absent: 3,250 messages not tried")


def messages(name):
    with tarfile.open(SHARED / "mail" / f"{name}.tar.gz") as archive:
        # In the archive's order: to seek in a compressed file is to read it again.
        members = (m for m in archive if m.isfile() and "cmds" not in m.name)
        for number, member in enumerate(members):
            if number % SHARE:
                continue
            data = archive.extractfile(member).read()
            if data.startswith(b"From "):
                data = data.split(b"\n", 1)[1]
            yield member.name, re.sub(rb"\r?\n", b"\r\n", data)


def raw_send(client, recipient, data):
    """DATA as it is, dots stuffed and nothing else changed; the reply."""
    for command in (b"MAIL FROM:<sender@elsewhere.test>\r\n", b"RCPT TO:<" + recipient.encode() + b">\r\n", b"DATA\r\n"):
        client.sock.sendall(command)
        code, text = client.getreply()
        assert code in (250, 354), (code, text)
    if not data.endswith(b"\r\n"):
        data += b"\r\n"
    client.sock.sendall(re.sub(rb"(?m)^\.", b"..", data) + b".\r\n")
    return client.getreply()


def forbidden(data):
    return b"\0" in data or re.search(rb"\r(?!\n)|(?<!\r)\n", data)


def strip_trace(stored):
    """Without the Return-Path and the Received line in front."""
    match = re.match(rb"Return-Path: <[^\r\n]*>\r\nReceived: [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", stored)
    assert match, stored[:300]
    return stored[match.end():]


@pytest.mark.parametrize("name", ARCHIVES)
def test_archive_comes_out_as_it_went_in(server, name):
    user = server.add_account()
    sent, refused = [], 0
    with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=30 * SLOW) as client:
        client.ehlo("elsewhere.test")
        for member, data in messages(name):
            code, text = raw_send(client, user, data)
            if forbidden(data):
                assert code in (550, 554), (member, code, text)
                refused += 1
            else:
                assert code == 250, (member, code, text)
                sent.append((member, data if data.endswith(b"\r\n") else data + b"\r\n"))
    print(f"{name}: {len(sent)} accepted, {refused} refused as the protocol demands")
    assert sent

    with imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=60 * SLOW) as imap:
        imap._MAXLINE = 100_000_000
        imap.login(user, "secret")
        status, count = imap.select("INBOX", readonly=True)
        assert status == "OK" and int(count[0]) == len(sent)
        for start in range(1, len(sent) + 1, 100):
            end = min(start + 99, len(sent))
            status, rows = imap.fetch(f"{start}:{end}", "(RFC822.SIZE BODY.PEEK[])")
            assert status == "OK"
            bodies = [row for row in rows if isinstance(row, tuple)]
            assert len(bodies) == end - start + 1
            for (head, body), (member, data) in zip(bodies, sent[start - 1:end]):
                assert strip_trace(body) == data, member
                assert f"RFC822.SIZE {len(body)} ".encode() in head, (member, head)
        # Everything FETCH can say of every odd message can be parsed: imaplib would fail otherwise.
        status, rows = imap.fetch("1:*", "(UID FLAGS INTERNALDATE ENVELOPE BODYSTRUCTURE)")
        assert status == "OK"

    pop = poplib.POP3("127.0.0.1", server.port("pop3"), timeout=60 * SLOW)
    poplib._MAXLINE = 100_000_000
    pop.user(user)
    pop.pass_("secret")
    assert pop.stat()[0] == len(sent)
    for number, (member, data) in enumerate(sent, 1):
        _, lines, _ = pop.retr(number)
        assert strip_trace(b"".join(line + b"\r\n" for line in lines)) == data, member
    pop.quit()
