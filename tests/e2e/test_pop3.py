"""POP3 with poplib and curl."""
import poplib
import smtplib
import ssl
import subprocess

import pytest

from conftest import SLOW

MAIL = "Subject: {}\r\n\r\nline one\r\n.dot line\r\n..two dots\r\nlast\r\n"


def deliver(server, user, *subjects):
    with smtplib.LMTP("127.0.0.1", server.port("lmtp"), timeout=20 * SLOW) as client:
        for subject in subjects:
            client.sendmail("ann@elsewhere.test", [user], MAIL.format(subject))


def login(server, user, tls=False):
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        pop = poplib.POP3_SSL("127.0.0.1", server.port("pop3s"), context=context, timeout=20 * SLOW)
    else:
        pop = poplib.POP3("127.0.0.1", server.port("pop3"), timeout=20 * SLOW)
    pop.user(user)
    pop.pass_("secret")
    return pop


@pytest.mark.threads
@pytest.mark.parametrize("tls", [False, True])
def test_all_commands(server, user, tls):
    deliver(server, user, "one", "two")
    pop = login(server, user, tls)
    count, size = pop.stat()
    assert count == 2
    sizes = [int(line.split()[1]) for line in pop.list()[1]]
    assert sum(sizes) == size
    lines = pop.retr(1)[1]
    assert sum(len(line) + 2 for line in lines) == sizes[0]
    assert lines[-4:] == [b"line one", b".dot line", b"..two dots", b"last"]
    top = pop.top(2, 1)[1]
    assert top[-2:] == [b"", b"line one"]
    assert pop.top(2, 0)[1][-1] == b""
    uids = [line.split()[1] for line in pop.uidl()[1]]
    assert len(set(uids)) == 2 and pop.uidl(2).split()[2] == uids[1]
    pop.dele(1)
    with pytest.raises(poplib.error_proto):
        pop.retr(1)
    pop.rset()
    assert pop.stat()[0] == 2
    pop.dele(1)
    pop.quit()
    pop = login(server, user, tls)
    assert [line.split()[1] for line in pop.uidl()[1]] == [uids[1]]
    pop.quit()


def test_a_dropped_connection_deletes_nothing(server, user):
    deliver(server, user, "kept")
    pop = login(server, user)
    pop.dele(1)
    pop.close()
    pop = login(server, user)
    assert pop.stat()[0] == 1
    pop.quit()


def test_two_sessions(server, user):
    deliver(server, user, "a", "b")
    one, two = login(server, user), login(server, user)
    one.dele(1)
    one.quit()
    with pytest.raises(poplib.error_proto):
        two.retr(1)
    assert two.retr(2)[1]
    two.dele(1)
    two.quit()
    pop = login(server, user)
    assert pop.stat()[0] == 1
    pop.quit()


def test_stls_and_capa(server, user):
    pop = poplib.POP3("127.0.0.1", server.port("pop3"), timeout=20 * SLOW)
    capabilities = pop.capa()
    assert "STLS" in capabilities and "UIDL" in capabilities and "PLAIN" in capabilities["SASL"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    pop.stls(context)
    assert "STLS" not in pop.capa()
    pop.user(user)
    pop.pass_("secret")
    after = pop.capa()  # RFC 2449 §5: what the login had is announced still
    assert "USER" in after and "PLAIN" in after["SASL"] and "STLS" not in after
    pop.quit()


def test_wrong_password(server, user):
    pop = poplib.POP3("127.0.0.1", server.port("pop3"), timeout=20 * SLOW)
    pop.user(user)
    with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
        pop.pass_("wrong")
    pop.user(user)
    pop.pass_("secret")
    pop.quit()


def test_curl(server, user):
    deliver(server, user, "by curl")
    url = f"pop3://127.0.0.1:{server.port('pop3')}/1"
    for extra in ([], ["-k", "--ssl-reqd"], ["--login-options", "AUTH=PLAIN"]):
        done = subprocess.run(["curl", "-sS", "-u", f"{user}:secret", *extra, url], capture_output=True, text=True, timeout=30 * SLOW)
        assert "Subject: by curl" in done.stdout, done.stderr
