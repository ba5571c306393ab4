"""Runs the dialogues of tests/transcripts against a server.

A transcript is a text file: lines are taken in order.

  # text                  a comment
  connect SERVICE         opens a connection (smtp, lmtp, imap, imaps, pop3, pop3s); `connect 2 SERVICE`
                          opens another one, whose lines begin with C2: and S2:
  starttls                the TLS handshake on this connection (`starttls 2` on the second)
  deliver FILE-LINES      ... until a line with a single dot: a message that is delivered to {user} by LMTP
  C: line                 sent with CRLF; {user} and {password} are replaced, \\r \\n \\0 \\xNN \\\\ work
  C! bytes                sent without CRLF
  S: pattern              the next line must match: * stands for anything, the rest is literal
  S~ expression           the next line must match the regular expression; groups (?P<name>) can be used
                          in later lines as {name}
  S... pattern            lines are skipped until one matches
  S? pattern              zero or more lines that match are skipped
  closed                  the server closes the connection
"""
import re
import smtplib
import socket
import ssl

import pytest

from conftest import ROOT, SLOW

TRANSCRIPTS = sorted((ROOT / "tests/transcripts").glob("*/*.txt"))


class Wire:
    def __init__(self, server, service):
        self.socket = socket.create_connection(("127.0.0.1", server.port(service)), 10 * SLOW)
        self.socket.settimeout(10 * SLOW)
        if service in ("imaps", "pop3s"):
            self.starttls()
        self.input = b""

    def starttls(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket)

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        while b"\n" not in self.input:
            more = self.socket.recv(65536)
            if not more:
                raise EOFError(f"the server closed the connection; unread: {self.input!r}")
            self.input += more
        line, self.input = self.input.split(b"\n", 1)
        return line.rstrip(b"\r").decode("utf-8", "backslashreplace")


def unescape(text):
    def one(match):
        word = match.group(1)
        return {"r": "\r", "n": "\n", "0": "\0", "\\": "\\"}.get(word) or chr(int(word[1:], 16))
    return re.sub(r"\\(r|n|0|\\|x[0-9a-fA-F]{2})", one, text)


def fill(text, names):
    return re.sub(r"\{(\w+)\}", lambda m: names.get(m.group(1), m.group(0)), text)


def glob(pattern):
    return ".*".join(re.escape(part) for part in pattern.split("*"))


def run(server, path, names):
    wires = {}
    lines = iter(enumerate(path.read_text().splitlines(), 1))
    for number, line in lines:
        where = f"{path.name}:{number}: {line}"
        if not line.strip() or line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        try:
            if word == "connect":
                key, _, service = rest.rpartition(" ")
                wires[key or "1"] = Wire(server, service)
                continue
            if word == "starttls":
                wires[rest or "1"].starttls()
                continue
            if word == "deliver":
                body = []
                for _, text in lines:
                    if text == ".":
                        break
                    body.append(unescape(fill(text, names)))
                with smtplib.LMTP("127.0.0.1", server.port("lmtp")) as client:
                    client.sendmail("sender@elsewhere.test", [names["user"]],
                                    "".join(t + "\r\n" for t in body).encode("latin-1" if "\\x" in path.read_text() else "utf-8"))
                continue
            kind = re.match(r"([CS])(\d?)(:|!|~|\.\.\.|\?)( |$)", line)
            if line.split()[0].startswith("closed"):
                wire = wires[line[6:].strip() or "1"]
                assert wire.input == b"" and wire.socket.recv(1) == b"", where
                continue
            assert kind, f"{where}: not understood"
            wire, text = wires[kind.group(2) or "1"], fill(line[kind.end():], names)
            if kind.group(1) == "C":
                data = unescape(text) + ("\r\n" if kind.group(3) == ":" else "")
                try:
                    wire.send(data.encode("latin-1"))
                except UnicodeEncodeError:
                    wire.send(data.encode("utf-8"))
                continue
            if kind.group(3) == "?":
                pending = wire.line()
                while re.fullmatch(glob(text), pending):
                    pending = wire.line()
                wire.input = pending.encode() + b"\r\n" + wire.input
                continue
            expression = text if kind.group(3) == "~" else glob(text)
            got = wire.line()
            while kind.group(3) == "..." and not re.fullmatch(expression, got):
                got = wire.line()
            match = re.fullmatch(expression, got)
            assert match, f"{where}\n  the server said: {got}"
            names.update({k: v for k, v in match.groupdict().items() if v is not None})
        except (OSError, EOFError) as error:
            raise AssertionError(f"{where}\n  {type(error).__name__}: {error}") from None


@pytest.mark.threads
@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_transcript(server, path):
    user = server.add_account(password="secret")
    run(server, path, {"user": user, "password": "secret", "local": user.split("@")[0]})
