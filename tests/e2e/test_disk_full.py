"""A full disk: 4xx and NO, nothing corrupt, deleting works, and all works again when there is room."""
import imaplib
import os
import pathlib
import smtplib
import subprocess
import time

import pytest

from conftest import SLOW, Server, check_log


@pytest.fixture
def small_disk(tmp_path):
    """A tmpfs of 96 MB for the server's directory (needs root)."""
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "none", str(place)], capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)])


def test_full_disk(small_disk):
    server = Server(small_disk / "demo").start()
    server.stop()
    # Without the mark below which no mail is taken: the disk shall really become full.
    server.serve("\n[limits]\nfree-space = 1M\n")
    server.log_path = pathlib.Path(server.log_path)
    try:
        user = server.add_account()
        body = "Subject: big\r\n\r\n" + "".join(os.urandom(36).hex() + "\r\n" for _ in range(3000))

        def send():
            body = "Subject: big\r\n\r\n" + "".join(os.urandom(36).hex() + "\r\n" for _ in range(3000))
            with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=30 * SLOW) as client:
                client.sendmail("a@elsewhere.test", [user], body)

        send()
        filler = small_disk / "filler"
        accepted, refused = 1, 0
        with open(filler, "wb") as f:  # leave little room
            try:
                while os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize > 3_000_000:
                    f.write(b"x" * 500_000)
                    f.flush()
            except OSError:
                pass
        for _ in range(60):
            try:
                send()
                accepted += 1
            except smtplib.SMTPResponseException as error:
                assert 400 <= error.smtp_code < 500, error
                refused += 1
            except smtplib.SMTPRecipientsRefused as error:
                assert all(400 <= code < 500 for code, _ in error.recipients.values())
                refused += 1
        assert refused > 0
        with imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=30 * SLOW) as imap:
            imap.login(user, "secret")
            assert int(imap.select()[1][0]) == accepted
            status, text = imap.append("INBOX", None, None, body.encode() * 20)
            assert status == "NO", text
            status, text = imap.store("1", "+FLAGS", "\\Deleted")  # deleting works on a full disk
            assert status == "OK", text
            status, text = imap.expunge()
            assert status == "OK", text
        assert server.command("account", "verify", "--all", check=False).returncode == 0
        filler.unlink()
        end = time.monotonic() + 10 * SLOW
        while True:  # how full the disk is, is looked up once a second
            try:
                send()
                break
            except smtplib.SMTPException:
                assert time.monotonic() < end
                time.sleep(0.2)
        with imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=30 * SLOW) as imap:
            imap.login(user, "secret")
            assert int(imap.select()[1][0]) == accepted
        assert server.command("account", "verify", "--all", check=False).returncode == 0
        server.stop()
        check_log(server)
    finally:
        server.kill()
