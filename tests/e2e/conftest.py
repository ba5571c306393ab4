"""What the end-to-end tests share: a demo server of their own, accounts made for each test, clients."""
import itertools
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
POSTHOUSE = os.environ.get("POSTHOUSE", str(ROOT / "build/posthouse"))
SHARED = pathlib.Path(os.environ.get("POSTHOUSE_SHARED", ROOT.parent / "shared"))
SLOW = 5 if "san" in POSTHOUSE else 1  # sanitizers slow everything down
DOMAIN = "example.test"

STANDARD = {"smtp": 25, "lmtp": 24, "pop3": 110, "pop3s": 995, "imap": 143, "imaps": 993}


def pytest_configure(config):
    config.addinivalue_line("markers", "threads: run under ThreadSanitizer too")


def free_port_base():
    """A base N so that N + each standard port is free on 127.0.0.1 and ::1."""
    for base in itertools.chain(range(20000, 60000, 1000)):
        base += os.getpid() % 400
        try:
            for port in STANDARD.values():
                for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                    with socket.socket(family) as s:
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        s.bind((address, base + port))
            return base
        except OSError:
            continue
    raise RuntimeError("no free ports")


class Server:
    """A `posthouse demo` of its own: start, stop, kill, commands, accounts."""

    def __init__(self, directory, base=None):
        self.directory = pathlib.Path(directory)
        self.base = base or free_port_base()
        self.log_path = self.directory.parent / (self.directory.name + ".log")
        self.config = self.directory / "posthouse.conf"
        self.process = None
        self.users = itertools.count(1)

    def port(self, service):
        return self.base + STANDARD[service]

    def start(self, timeout=30):
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [POSTHOUSE, "demo", "--dir", str(self.directory), "--port-base", str(self.base)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.wait_ready(timeout * SLOW)
        return self

    def serve(self, more_settings="", timeout=30):
        """The same data by `posthouse serve`, with more settings than the demo writes."""
        with open(self.config, "a") as config:
            config.write(more_settings)
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen([POSTHOUSE, "serve", "--config", str(self.config)], stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=log, start_new_session=True)
        self.wait_ready(timeout * SLOW)
        return self

    def wait_ready(self, timeout):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n" + self.log_tail())
            try:
                for service in ("imap", "smtp"):
                    with socket.create_connection(("127.0.0.1", self.port(service)), 5) as s:
                        s.settimeout(5)
                        if not s.recv(1):
                            raise OSError("closed")
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("the server did not come up:\n" + self.log_tail())

    def log(self):
        return self.log_path.read_text(errors="replace")

    def log_tail(self, lines=60):
        return "\n".join(self.log().splitlines()[-lines:])

    def stop(self, timeout=30):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout * SLOW)
            except subprocess.TimeoutExpired:
                self.kill()
                raise RuntimeError("the server did not stop:\n" + self.log_tail())
        status = self.process.returncode if self.process else 0
        self.process = None
        return status

    def kill(self):
        """kill -9 of the whole process group."""
        if self.process:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait(30)
            self.process = None

    def command(self, *arguments, stdin=None, check=True, timeout=60):
        done = subprocess.run([POSTHOUSE, *arguments, "--config", str(self.config)], input=stdin,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout * SLOW,
                              text=True, stdin=None if stdin is not None else subprocess.DEVNULL)
        if check and done.returncode:
            raise RuntimeError(f"{arguments}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def json(self, *arguments):
        return json.loads(self.command(*arguments, "--json").stdout)

    def status(self):
        return self.json("status")

    def add_account(self, name=None, password="secret", **options):
        address = name or f"u{next(self.users)}@{DOMAIN}"
        extra = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        self.command("account", "add", address, "--password-stdin", *extra, stdin=password + "\n")
        return address

    def pid_of(self, name):
        for process in self.status()["processes"]:
            if process["name"] == name:
                return process["pid"]
        raise KeyError(name)


def check_log(server):
    """A crash or a sanitizer's finding anywhere fails the tests, wherever it happened."""
    text = server.log()
    for bad in ("ERROR: AddressSanitizer", "runtime error:", "ERROR: LeakSanitizer",
                "WARNING: ThreadSanitizer", " panic at="):
        if bad in text:
            at = text.index(bad)
            raise AssertionError("the server's log has: " + text[max(0, at - 1500):at + 4000])


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One demo server for the tests of a file."""
    instance = Server(tmp_path_factory.mktemp("server") / "demo").start()
    yield instance
    status = instance.stop()
    check_log(instance)
    assert status == 0, "the server's exit status\n" + instance.log_tail()


@pytest.fixture
def fresh_server(tmp_path):
    """A server for one test that may kill it."""
    instance = Server(tmp_path / "demo").start()
    yield instance
    instance.kill()
    check_log(instance)


@pytest.fixture
def user(server):
    return server.add_account()


@pytest.fixture
def scratch():
    with tempfile.TemporaryDirectory() as directory:
        yield pathlib.Path(directory)
