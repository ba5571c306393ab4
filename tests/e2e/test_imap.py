"""IMAP with imaplib and curl: what the base commands do, seen by clients that are not ours."""
import contextlib
import email.mime.text
import imaplib
import os
import smtplib
import socket
import sqlite3
import ssl
import subprocess
import threading
import time

import pytest

from conftest import DOMAIN, SLOW

MAIL = "From: Ann <ann@elsewhere.test>\r\nTo: b@example.test\r\nSubject: {}\r\n\r\nThe body of {}.\r\n"


def deliver(server, user, *subjects):
    with smtplib.LMTP("127.0.0.1", server.port("lmtp"), timeout=20 * SLOW) as client:
        for subject in subjects:
            client.sendmail("ann@elsewhere.test", [user], MAIL.format(subject, subject))


def login(server, user, tls=False):
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        imap = imaplib.IMAP4_SSL("127.0.0.1", server.port("imaps"), ssl_context=context, timeout=20 * SLOW)
    else:
        imap = imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=20 * SLOW)
    imap.login(user, "secret")
    return imap


def ok(result):
    status, data = result
    assert status == "OK", data
    return data


@pytest.mark.threads
@pytest.mark.parametrize("tls", [False, True])
def test_flags_search_expunge(server, user, tls):
    deliver(server, user, "one", "two", "three")
    with login(server, user, tls) as imap:
        assert ok(imap.select()) == [b"3"]
        assert ok(imap.search(None, "SUBJECT", "two")) == [b"2"]
        assert ok(imap.search(None, "BODY", '"BODY OF THR"')) == [b"3"]
        assert ok(imap.search(None, "UNSEEN")) == [b"1 2 3"]
        ok(imap.fetch("1", "(BODY[TEXT])"))
        assert ok(imap.search(None, "UNSEEN")) == [b"2 3"]
        ok(imap.store("2", "+FLAGS", "(\\Deleted $Important)"))
        assert b"$Important" in ok(imap.fetch("2", "FLAGS"))[0]
        assert ok(imap.expunge()) == [b"2"]
        assert ok(imap.search(None, "ALL")) == [b"1 2"]


def indexed(server):
    """How far each search index goes, by its file's name."""
    found = {}
    for path in (server.directory / "data/accounts").glob("*/*.search"):
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            with contextlib.suppress(sqlite3.OperationalError):
                found[path.stem] = db.execute("SELECT indexed FROM state").fetchone()[0]
    return found


def searchable(number, charset, subtype="plain"):
    text = f"Nummer{number} Grüße an München, Straße {number % 7}; ein Wort-im-Satz." + " Füllwort" * 20
    if subtype == "html":
        text = f"<html><body><p>{text}</p></body></html>"
    message = email.mime.text.MIMEText(text, subtype, charset)
    message["Subject"] = "found by its header only" if number == 5 else "nothing"
    return message.as_bytes().replace(b"\n", b"\r\n")


@pytest.mark.threads
def test_search_before_and_after_indexing(fresh_server):
    """The answers are the same, whether a message is in the index or not."""
    server, user = fresh_server, fresh_server.add_account()
    forms = [("utf-8", "plain"), ("iso-8859-1", "plain"), ("utf-8", "html"), ("windows-1252", "html")]

    def add(first, last):
        with smtplib.LMTP("127.0.0.1", server.port("lmtp"), timeout=20 * SLOW) as client:
            for number in range(first, last + 1):
                client.sendmail("ann@elsewhere.test", [user], searchable(number, *forms[number % 4]))

    def search(imap, key, needle):
        imap.literal = needle.encode()
        return [int(n) for n in ok(imap.search("UTF-8", key))[0].split()]

    def compare(imap, count):
        everything = list(range(1, count + 1))
        assert search(imap, "BODY", "MÜNCHEN") == everything
        assert search(imap, "BODY", "ünch") == everything
        assert search(imap, "BODY", "strasse 3") == [n for n in everything if n % 7 == 3]
        assert search(imap, "BODY", "nummer1") == [n for n in everything if str(n).startswith("1")]
        assert search(imap, "BODY", "Wort-im-S") == everything
        assert search(imap, "BODY", "wortim") == []
        assert search(imap, "BODY", "header only") == []
        assert search(imap, "TEXT", "header only") == [5]
        assert search(imap, "NOT BODY", "nummer2") == [n for n in everything if not str(n).startswith("2")]

    add(1, 30)
    with login(server, user) as imap:
        ok(imap.select())
        compare(imap, 30)
        end = time.monotonic() + 30 * SLOW
        while 30 not in indexed(server).values():
            assert time.monotonic() < end, indexed(server)
            time.sleep(0.2)
        compare(imap, 30)
        add(31, 35)
        ok(imap.noop())
        compare(imap, 35)
        # What is expunged is found no more; what is moved is still found.
        ok(imap.store("1:9", "+FLAGS", "(\\Deleted)"))
        ok(imap.expunge())
        assert search(imap, "BODY", "nummer1") == list(range(1, 11))
        ok(imap.create("other"))
        ok(imap.copy("1", "other"))
        ok(imap.select("other"))
        assert search(imap, "BODY", "nummer10") == [1]
        assert search(imap, "BODY", "nummer11") == []


def test_starttls(server, user):
    imap = imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=20 * SLOW)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    ok(imap.starttls(context))
    imap.login(user, "secret")
    ok(imap.select())
    imap.logout()


def test_append_copy_move(server, user):
    with login(server, user) as imap:
        ok(imap.append("Drafts", "(\\Draft \\Seen)", '"05-Jun-2020 12:00:00 +0200"', MAIL.format("draft", "x").encode()))
        ok(imap.select("Drafts"))
        row = ok(imap.fetch("1", "(FLAGS INTERNALDATE)"))[0]
        assert b"\\Draft" in row and b"05-Jun-2020 1" in row
        ok(imap.create("Work/Projekt-&AOQ-"))
        ok(imap.copy("1", "Work/Projekt-&AOQ-"))
        ok(imap._simple_command("MOVE", "1", "Archive"))
        assert ok(imap.select("Drafts")) == [b"0"]
        assert ok(imap.select("Archive")) == [b"1"]
        assert ok(imap.select("Work/Projekt-&AOQ-")) == [b"1"]
        status, data = imap.copy("1", "Nowhere")
        assert status == "NO" and b"TRYCREATE" in data[0]


def test_mailboxes(server, user):
    with login(server, user) as imap:
        names = b" ".join(ok(imap.list()))
        for use in (b"\\Drafts", b"\\Sent", b"\\Archive", b"\\Junk", b"\\Trash"):
            assert use in names
        ok(imap.create("a/b/c"))
        ok(imap.rename("a", "z"))
        assert b"z/b/c" in b" ".join(ok(imap.list('""', 'z/*')))
        ok(imap.delete("z/b/c"))
        assert imap.delete("INBOX")[0] == "NO"
        ok(imap.subscribe("z/b"))
        assert b"z/b" in b" ".join(ok(imap.lsub()))
        assert b"MESSAGES 0" in ok(imap.status("z/b", "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)"))[0]


@pytest.mark.threads
def test_idle_is_told_at_once(server, user):
    with login(server, user) as watcher, login(server, user) as other:
        ok(watcher.select())
        watcher.send(b"x1 IDLE\r\n")
        assert watcher.readline().startswith(b"+ ")
        started = time.monotonic()
        threading.Timer(0.2, deliver, (server, user, "pushed")).start()
        line = watcher.readline()
        while b"EXISTS" not in line:
            line = watcher.readline()
        assert line == b"* 1 EXISTS\r\n" and time.monotonic() - started < 5 * SLOW
        ok(other.select())
        ok(other.store("1", "+FLAGS", "\\Flagged"))
        line = watcher.readline()
        while b"FETCH" not in line:
            line = watcher.readline()
        assert b"\\Flagged" in line
        watcher.send(b"DONE\r\n")
        while not watcher.readline().startswith(b"x1 OK"):
            pass


def test_two_sessions_agree(server, user):
    deliver(server, user, "a", "b", "c", "d")
    with login(server, user) as one, login(server, user) as two:
        ok(one.select())
        ok(two.select())
        ok(one.store("2:3", "+FLAGS", "\\Deleted"))
        ok(one.expunge())
        # Sequence numbers stay valid for FETCH until two hears of the expunge.
        rows = ok(two.fetch("4", "(UID)"))
        assert b"UID 4" in rows[0]
        ok(two.noop())
        assert ok(two.search(None, "ALL")) == [b"1 2"]


def test_wrong_passwords(server, user):
    imap = imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=30 * SLOW)
    started = time.monotonic()
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        imap.login(user, "wrong")
    assert time.monotonic() - started > 0.5
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        imap.login(f"nobody@{DOMAIN}", "wrong")
    imap.login(user, "secret")
    imap.logout()


def test_no_plaintext_login_is_offered_after_logindisabled(server, user):
    """On loopback the demo allows it: the capability says so."""
    imap = imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=20 * SLOW)
    assert "LOGINDISABLED" not in imap.capabilities and "STARTTLS" in imap.capabilities
    imap.shutdown()


def test_password_change_ends_sessions(server, user):
    imap = login(server, user)
    ok(imap.select())
    server.command("password", "set", user, "--password-stdin", stdin="other\n")
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        for _ in range(100):
            imap.noop()
            time.sleep(0.05)
    fresh = imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=20 * SLOW)
    fresh.login(user, "other")
    fresh.logout()


def test_curl(server, user):
    deliver(server, user, "by curl")
    base = f"127.0.0.1:{server.port('imap')}"
    run = lambda *a: subprocess.run(["curl", "-sS", "-u", f"{user}:secret", *a], capture_output=True, text=True, timeout=30 * SLOW, check=True).stdout
    assert "Subject: by curl" in run(f"imap://{base}/INBOX;MAILINDEX=1")
    assert "\\Drafts" in run(f"imap://{base}/")
    assert "Subject: by curl" in run("-k", "--ssl-reqd", f"imap://{base}/INBOX;MAILINDEX=1")
    for mechanism in ("PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-1"):
        if mechanism.startswith("SCRAM") and "SCRAM" not in subprocess.run(["curl", "-V"], capture_output=True, text=True).stdout and "gsasl" not in subprocess.run(["curl", "-V"], capture_output=True, text=True).stdout:
            continue
        assert "Subject" in run("--login-options", f"AUTH={mechanism}", f"imap://{base}/INBOX;MAILINDEX=1")


def test_literals_over_the_limit(server, user):
    with socket.create_connection(("127.0.0.1", server.port("imap")), 20 * SLOW) as s:
        wire = s.makefile("rb")
        wire.readline()
        s.sendall(f"a LOGIN {user} secret\r\n".encode())
        while not wire.readline().startswith(b"a OK"):
            pass
        s.sendall(b"b APPEND INBOX {99999999999}\r\n")
        line = wire.readline()
        assert line.startswith((b"b NO [TOOBIG]", b"b BAD", b"* BYE")), line


def pages_of(path, table, kind):
    """The numbers of a table's pages of one kind, by SQLite's own statistics."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return [row[0] for row in db.execute("SELECT pageno FROM dbstat WHERE name=? AND pagetype=?", (table, kind))]


def test_repair_of_a_file_that_sqlite_cannot_read(fresh_server):
    """Pages of a mailbox are overwritten while the server is down; a repair brings all of it back."""
    server, user = fresh_server, fresh_server.add_account()
    texts = [MAIL.format(f"number {n}", "x" * 50 * n) for n in range(60)]
    with smtplib.LMTP("127.0.0.1", server.port("lmtp"), timeout=20 * SLOW) as client:
        for text in texts:
            client.sendmail("ann@elsewhere.test", [user], text)
    server.stop()
    path = max((server.directory / "data/accounts").glob("*/*.db"), key=lambda p: p.stat().st_size)
    pages = pages_of(path, "email", "leaf") + pages_of(path, "header", "internal") + pages_of(path, "placement", "internal")
    with open(path, "r+b") as file:
        for page in pages[::2] + [1]:
            file.seek((page - 1) * 4096)
            file.write(os.urandom(4096))
    server.start()
    assert server.command("account", "verify", "--all", check=False).returncode == 1
    with pytest.raises(imaplib.IMAP4.error), login(server, user) as imap:
        ok(imap.select())
        ok(imap.fetch("1:*", "(ENVELOPE)"))
        raise imaplib.IMAP4.error("it could be read")
    report = server.command("account", "repair", user).stdout
    assert "damaged-1" in report and "put together again" in report
    assert server.command("account", "verify", "--all").stdout.count(": fine") == 3
    with login(server, user) as imap:
        assert ok(imap.select()) == [b"60"]
        found = ok(imap.fetch("1:*", "(ENVELOPE BODY.PEEK[TEXT])"))
        bodies = [part[1].decode() for part in found if isinstance(part, tuple)]
        assert bodies == [text.split("\r\n\r\n", 1)[1] for text in texts]
        assert all(f'"number {n}"'.encode() in part[0] for n, part in enumerate(p for p in found if isinstance(p, tuple)))
    with smtplib.LMTP("127.0.0.1", server.port("lmtp"), timeout=20 * SLOW) as client:
        client.sendmail("ann@elsewhere.test", [user], texts[0])
    with login(server, user) as imap:
        assert ok(imap.select()) == [b"61"]
