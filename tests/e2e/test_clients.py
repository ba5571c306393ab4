"""Real mail programs do their work: mbsync both ways, neomutt in batch, fetchmail, getmail6."""
import imaplib
import os
import shutil
import smtplib
import subprocess

import pytest

from conftest import SLOW

MAIL = "From: Ann <ann@elsewhere.test>\r\nSubject: {0}\r\nMessage-ID: <{0}@elsewhere.test>\r\n\r\nThe body of {0}.\r\n"


def need(program):
    if not shutil.which(program):
        pytest.skip(f"{program} is absent")


def deliver(server, user, *subjects):
    with smtplib.LMTP("127.0.0.1", server.port("lmtp"), timeout=20 * SLOW) as client:
        for subject in subjects:
            client.sendmail("ann@elsewhere.test", [user], MAIL.format(subject))


def imap_state(server, user):
    """mailbox -> set of (subject, flags) as the server has them."""
    state = {}
    with imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=20 * SLOW) as imap:
        imap.login(user, "secret")
        for line in imap.list()[1]:
            name = line.decode().rsplit(' "/" ', 1)[1].strip('"')
            imap.select(f'"{name}"', readonly=True)
            state[name] = set()
            status, rows = imap.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            for row in rows:
                if isinstance(row, tuple):
                    flags = frozenset(imaplib.ParseFlags(row[0])) - {b"\\Recent"}
                    state[name].add((row[1].decode().split(":", 1)[1].strip(), flags))
    return state


def run(command, scratch, expect=(0,), **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120 * SLOW, env={**os.environ, "HOME": str(scratch)}, **options)
    assert done.returncode in expect, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def maildir_files(folder):
    return sorted(p for sub in ("cur", "new") for p in (folder / sub).glob("*"))


def test_mbsync_both_ways(server, user, scratch):
    need("mbsync")
    deliver(server, user, "one", "two", "three")
    (scratch / "mail").mkdir()
    (scratch / "mbsyncrc").write_text(f"""
IMAPAccount it
Host 127.0.0.1
Port {server.port("imap")}
User {user}
Pass secret
SSLType None
AuthMechs LOGIN

IMAPStore far
Account it

MaildirStore near
Path {scratch}/mail/
Inbox {scratch}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
""")
    sync = lambda: run(["mbsync", "-c", str(scratch / "mbsyncrc"), "-a"], scratch)
    done = sync()
    said = done.stderr.lower().replace("*** imap warning *** password is being sent in the clear", "")
    assert "warn" not in said and "error" not in said, done.stderr
    inbox = scratch / "mail/INBOX"
    assert len(maildir_files(inbox)) == 3
    # Near: flag one, delete one, write a new one, make a folder.
    files = {p.read_text().split("Subject: ")[1].split("\n")[0]: p for p in maildir_files(inbox)}
    files["one"].rename(inbox / "cur" / (files["one"].name.split(":")[0] + ":2,FS"))
    files["two"].rename(inbox / "cur" / (files["two"].name.split(":")[0] + ":2,ST"))
    (inbox / "new/1700000000.M1.host").write_text("From: me@example.test\nSubject: written here\n\nhello\n")
    for sub in ("cur", "new", "tmp"):
        (scratch / "mail/Project" / sub).mkdir(parents=True)
    (scratch / "mail/Project/new/1700000001.M2.host").write_text("From: me@example.test\nSubject: in the folder\n\nhello\n")
    sync()
    state = imap_state(server, user)
    assert {s for s, _ in state["INBOX"]} == {"one", "three", "written here"}
    assert dict(state["INBOX"])["one"] == frozenset({b"\\Seen", b"\\Flagged"})
    assert {s for s, _ in state["Project"]} == {"in the folder"}
    # Far: another delivery, a flag, an expunge; then both sides are equal and a further run does nothing.
    deliver(server, user, "four")
    with imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=20 * SLOW) as imap:
        imap.login(user, "secret")
        imap.select()
        number = imap.search(None, "SUBJECT", "three")[1][0].decode()
        imap.store(number, "+FLAGS", "(\\Answered \\Deleted)")
        imap.expunge()
    sync()
    near = {p.read_text().split("Subject: ")[1].split("\n")[0].strip() for p in maildir_files(inbox)}
    assert near == {"one", "written here", "four"}
    before = [p.name for p in maildir_files(inbox)]
    sync()
    assert [p.name for p in maildir_files(inbox)] == before


def test_mbsync_with_tls(server, user, scratch):
    need("mbsync")
    deliver(server, user, "over tls")
    (scratch / "mail").mkdir()
    (scratch / "mbsyncrc").write_text(f"""
IMAPStore far
Host localhost
Port {server.port("imaps")}
User {user}
Pass secret
SSLType IMAPS
CertificateFile {server.directory}/certificate.pem

MaildirStore near
Path {scratch}/mail/
Inbox {scratch}/mail/INBOX

Channel all
Far :far:
Near :near:
Create Near
""")
    run(["mbsync", "-c", str(scratch / "mbsyncrc"), "all"], scratch)
    assert len(maildir_files(scratch / "mail/INBOX")) == 1


def test_neomutt(server, user, scratch):
    need("neomutt")
    deliver(server, user, "for mutt", "keep")
    (scratch / "muttrc").write_text(f"""
set imap_user = "{user}"
set imap_pass = "secret"
set ssl_starttls = no
set ssl_force_tls = no
set folder = "imap://127.0.0.1:{server.port('imap')}/"
set spoolfile = "+INBOX"
set header_cache = "{scratch}/cache"
set confirmcreate = no
set confirmappend = no
set delete = yes
set move = no
set mbox_type = mbox
""")
    push = "push '<tag-pattern>~s mutt<enter><tag-prefix><copy-message>+Archive<enter><tag-pattern>~s mutt<enter><tag-prefix><flag-message><quit>'"
    script = f"""exec neomutt -F {scratch}/muttrc -f +INBOX -e "{push}" """
    run(["script", "-qec", script, "/dev/null"], scratch, stdin=subprocess.DEVNULL)
    state = imap_state(server, user)
    assert {s for s, _ in state["Archive"]} == {"for mutt"}
    assert b"\\Flagged" in dict(state["INBOX"])["for mutt"]


def test_fetchmail(server, user, scratch):
    need("fetchmail")
    deliver(server, user, "fetched one", "fetched two")
    config = scratch / "fetchmailrc"
    for protocol, service in (("pop3", "pop3"), ("imap", "imap")):
        config.write_text(f"""poll 127.0.0.1 service {server.port(service)} protocol {protocol} uidl
  user "{user}" password "secret" sslproto "" keep mda "cat >> {scratch}/{protocol}.mbox"
""" if protocol == "pop3" else f"""poll 127.0.0.1 service {server.port(service)} protocol {protocol}
  user "{user}" password "secret" sslproto "" keep fetchall mda "cat >> {scratch}/{protocol}.mbox"
""")
        config.chmod(0o600)
        run(["fetchmail", "-f", str(config), "--nodetach", "--nosyslog", "-i", str(scratch / "ids"),
             "--pidfile", str(scratch / "fetchmail.pid")], scratch)
        text = (scratch / f"{protocol}.mbox").read_text()
        assert "Subject: fetched one" in text and "Subject: fetched two" in text


def test_getmail(server, user, scratch):
    need("getmail")
    deliver(server, user, "got one", "got two")
    for kind, port in (("SimplePOP3Retriever", "pop3"), ("SimpleIMAPRetriever", "imap")):
        box = scratch / f"{kind}.mbox"
        (scratch / f"{kind}.rc").write_text(f"""
[retriever]
type = {kind}
server = 127.0.0.1
port = {server.port(port)}
username = {user}
password = secret
[destination]
type = MDA_external
path = /usr/bin/tee
arguments = ("-a", "{box}")
allow_root_commands = true
[options]
read_all = true
delete = {"true" if port == "imap" else "false"}
""")
        run(["getmail", "--getmaildir", str(scratch), "--rcfile", f"{kind}.rc"], scratch)
        assert box.read_text().count("Subject: got ") == 2
    assert imap_state(server, user)["INBOX"] == set()
