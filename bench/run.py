"""Measures Posthouse, side by side with other servers, by the load tools of the benchmark harness.

For each suite, each server in turn is started, measured and stopped, so that no two of them share the
processors, yet their figures are minutes apart. At the end stands a Markdown table with ratios.
README.md says what the suites and rows are.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import table

ROOT = pathlib.Path(__file__).resolve().parent.parent
SUITES = ["mta", "lmtp", "fill", "imap", "login", "pop3", "idle", "disk"]
DOMAIN = "bench.test"
PASSWORD = "benchpass"
STANDARD = {"smtp": 25, "lmtp": 24, "pop3": 110, "imap": 143, "imaps": 993}
USERS_OF_LOADS = 100  # the loads of SMTP, LMTP and logins go to u1..u100
USERS_OF_STORE = 50  # ... those of STORE and COPY to u1..u50, which need 100 messages each
DISK_MESSAGES, DISK_USERS, DISK_MESSAGE_SIZE = 10000, 10, 4096
SETTLE_SECONDS = 15  # after which no server has anything in a log that it would still move
PEER_PORTS = {"smtp": 2525}
HARNESS_ADVICE = """The benchmark harness is not at {path}.
It is a folder of its own, with the load tools and the set-ups of other servers: bench.py, peers.sh,
run-peer.sh, *_load.c. Put it at ../shared/bench next to this project, or name its place:
  POSTHOUSE_BENCH_HARNESS=/path/of/the/harness bench/run.sh"""


class Failure(Exception):
    """Something the user must be told; the run ends."""


def run(command, **options):
    """A command that must succeed; its output is shown only when it does not."""
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        raise Failure(f"{shlex.join(map(str, command))}: exit {done.returncode}\n{done.stdout[-2000:]}")
    return done.stdout


def figures(text):
    """The key=value words of the tools' output."""
    found = {}
    for word in text.split():
        key, equals, value = word.partition("=")
        try:
            found[key] = float(value)
        except ValueError:
            continue
    return found


class Harness:
    """The folder of the load tools, and where they are built."""

    def __init__(self, path, output):
        self.path = path
        self.tools = output / "tools"
        run(["make", "-s", "-C", self.path, f"OUT={self.tools}"])

    def peers(self, *arguments, users=None):
        """peers.sh; with users, that many exist on the peer. By a file, since servers keep their output open."""
        environment = dict(os.environ, NS_EXEC=str(ROOT / "bench/peer-namespace.sh"), **({"USERS": str(users)} if users else {}))
        with tempfile.TemporaryFile("w+") as said:
            done = subprocess.run([self.path / "peers.sh", *arguments], cwd=self.path, env=environment, timeout=600,
                                  stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
            said.seek(0)
            text = said.read()
        if done.returncode:
            raise Failure(f"peers.sh {' '.join(arguments)}: exit {done.returncode}\n{text[-2000:]}")
        return text

    def memory(self, pids):
        return figures(run([self.tools / "procstat", "mem", ",".join(pids)]))


class Posthouse:
    """A Posthouse in a directory of its own, run by server.sh."""

    name = "posthouse"

    def __init__(self, harness, program, directory, base, settings):
        self.harness, self.program, self.directory, self.base = harness, program, directory, base
        self.environment = dict(os.environ, PORT_BASE=str(base), SETTINGS=settings or "")
        self.data = directory / "data"

    def port(self, service):
        return self.base + STANDARD[service]

    def script(self, action):
        return [str(ROOT / "bench/server.sh"), action, str(self.directory), str(self.program)]

    def command(self, *words, text=""):
        return run([self.program, *words, "--config", self.directory / "posthouse.conf"], input=text)

    def prepare(self, users):
        """The domain and the accounts, made through the running server as an administrator would."""
        self.start()
        self.command("domain", "add", DOMAIN)
        names = [f"u{i}" for i in range(1, users + 1)] + ["box10k", "box100k"]
        print(f"posthouse: making {len(names)} accounts", flush=True)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda name: self.command("account", "add", f"{name}@{DOMAIN}", "--password-stdin",
                                                    text=PASSWORD + "\n"), names))
        self.stop()

    def start(self):
        run(self.script("start"), env=self.environment)

    def stop(self):
        run(self.script("stop"), env=self.environment)

    def pids(self):
        return run(self.script("pid")).split()

    def smtp(self):
        return ["-H", "127.0.0.1", "-p", str(self.port("smtp"))]

    def lmtp(self):
        return ["-H", f"unix:{self.directory}/lmtp", "-P", "lmtp"]

    def imap_port(self):
        return self.port("imap")

    def bench(self):
        """bench.py with the addresses of this server."""
        restart = f"PORT_BASE={self.base} SETTINGS={shlex.quote(self.environment['SETTINGS'])} " + shlex.join(self.script("restart"))
        return [str(self.harness.path / "bench.py"), "--name", self.name,
                "--smtp-port", str(self.port("smtp")), "--lmtp", f"unix:{self.directory}/lmtp",
                "--imap-port", str(self.port("imap")), "--imaps-port", str(self.port("imaps")),
                "--pop3-port", str(self.port("pop3")), "--data", str(self.data),
                "--pid-cmd", shlex.join(self.script("pid")), "--cold-cmd", restart + drop_caches()]


class Peer:
    """Postfix with a mailbox server, as the harness sets them up."""

    def __init__(self, harness, name, mailbox):
        self.harness, self.name, self.mailbox, self.users = harness, name, mailbox, 0
        self.started = []
        self.data = pathlib.Path("/tmp/bench-peers/data") / mailbox

    def prepare(self, users):
        if not pathlib.Path("/tmp/bench-peers/pkg").is_dir():
            raise Failure(f"{self.name} is not there yet. As root: {self.harness.path}/peers.sh install\n"
                          "(or --alone measures Posthouse by itself)")
        self.users = users
        self.harness.peers("wipe", self.mailbox)

    def start(self):
        for part in (self.mailbox, "postfix"):
            self.harness.peers("start", part, users=self.users)  # fails when it ran already: then it is not ours
            self.started.append(part)

    def stop(self):
        while self.started:
            self.harness.peers("stop", self.started.pop())

    def pids(self):
        return [p for part in ("postfix", self.mailbox.split("-")[0]) for p in self.harness.peers("pids", part).split()]

    def smtp(self):
        return ["-H", "127.0.0.1", "-p", str(PEER_PORTS["smtp"])]

    def lmtp(self):
        return ["-H", "unix:/tmp/bench-peers/lmtp", "-P", "lmtp"]

    def imap_port(self):
        return 2143

    def bench(self):
        return [str(self.harness.path / "run-peer.sh"), self.mailbox, "--cold-cmd", "true" + drop_caches()]


def drop_caches():
    """The end of a shell command that makes the page cache cold, where that is allowed."""
    return "; sync; echo 3 > /proc/sys/vm/drop_caches" if os.geteuid() == 0 else "; sync"


# ------------------------------------------------------------------ rows that the harness does not have

def disk_use(path):
    return int(run(["du", "-s", "-k", path]).split()[0]) * 1024


def send(server, options, messages, users, size):
    """4 KB messages by LMTP to u1..uN, awaited; the tool's figures."""
    out = run([server.harness.tools / "smtp_load", *server.lmtp(), "-s", size, "-c", 10, "-n", messages, "-k", users,
               "-W", f"127.0.0.1:{server.imap_port()}", "-w", PASSWORD], timeout=options.timeout)
    return figures(out)


def suite_disk(server, options, results):
    """What mail of 4 KB takes on disk once the server has settled: read after a while at rest, stopped."""
    if options.only:
        return
    server.stop()
    before = disk_use(server.data)
    server.start()
    messages = max(1000, int(DISK_MESSAGES * options.scale))
    sent = send(server, options, messages, DISK_USERS, DISK_MESSAGE_SIZE)
    time.sleep(SETTLE_SECONDS)
    server.stop()
    after = disk_use(server.data)
    server.start()
    size = sent.get("accepted", messages) * DISK_MESSAGE_SIZE
    results["disk 4KB settled"] = {"median": {"disk_per_byte": (after - before) / size}, "messages": messages}


def memory_note(server, name, results):
    memory = server.harness.memory(server.pids())
    results.setdefault(name, {"median": {k: memory[k] / 1024 for k in ("pss_kb", "rss_kb", "private_kb")}, "processes": memory["procs"]})


# ------------------------------------------------------------------ the run

def measure(server, suite, options, output):
    """One suite against one server."""
    print(f"\n## {suite}: {server.name}", flush=True)
    extra = output / f"{server.name}-extra.json"
    results = json.loads(extra.read_text()) if extra.exists() else {}
    try:
        server.start()
        time.sleep(2)
        memory_note(server, "memory at rest", results)
        if suite == "disk":
            suite_disk(server, options, results)
        else:
            if suite == "imap" and not options.only or options.only and "50conn" in options.only and suite == "imap":
                send(server, options, USERS_OF_STORE * 100, USERS_OF_STORE, DISK_MESSAGE_SIZE)
            harness_suite(server, suite, options, output)
        memory_note(server, f"memory after {suite}", results)
        time.sleep(SETTLE_SECONDS)  # what is written later is not counted in the next suite
    finally:
        server.stop()
        extra.write_text(json.dumps(results, indent=1))


def harness_suite(server, suite, options, output):
    command = server.bench() + ["--suite", suite, "--scale", str(options.scale), "--runs", str(options.runs), "--idle", options.idle,
                                "--bin", str(server.harness.tools), "--out", str(output / f"{server.name}.json")]
    if options.only:
        command += ["--only", options.only]
    with subprocess.Popen(command) as process:
        try:
            if process.wait(options.timeout):
                print(f"{server.name}: bench.py ended with {process.returncode}", flush=True)
        except BaseException:
            process.terminate()
            raise


def users_needed(options):
    return max([USERS_OF_LOADS] + [int(n) for n in options.idle.split(",")] * ("idle" in options.suites))


def arguments():
    ap = argparse.ArgumentParser(prog="bench/run.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--quick", action="store_true", help="a tenth of the messages, one run each, 1,000 idle connections")
    ap.add_argument("--suites", default=",".join(SUITES), help="which of: %(default)s")
    ap.add_argument("--only", help="only the measures whose names match this regular expression")
    ap.add_argument("--alone", action="store_true", help="Posthouse by itself")
    ap.add_argument("--no-posthouse", action="store_true", help="only the other servers")
    ap.add_argument("--cyrus", action="store_true", help="against Postfix and Cyrus too")
    ap.add_argument("--dovecot", default="sdbox", help="Dovecot's format: sdbox, mdbox or maildir (default: %(default)s)")
    ap.add_argument("--runs", type=int, help="how often each measure is taken (3; --quick: 1); the median counts")
    ap.add_argument("--scale", type=float, help="the share of the messages (1; --quick: 0.1)")
    ap.add_argument("--idle", help="numbers of idle connections (1000,5000; --quick: 1000)")
    ap.add_argument("--settings", help="a file whose lines are added to Posthouse's configuration")
    ap.add_argument("--program", default=str(ROOT / "build-release/posthouse"), help="default: %(default)s")
    ap.add_argument("--port-base", type=int, default=12000, help="Posthouse listens at this + the standard ports (default: %(default)s)")
    ap.add_argument("--output", help="where the results go (default: build-bench/DATE-TIME)")
    ap.add_argument("--data", help="where Posthouse's temporary directory is made (default: $TMPDIR or /tmp)")
    ap.add_argument("--keep", action="store_true", help="keep that directory")
    ap.add_argument("--timeout", type=int, default=7200, help="seconds for one suite of one server (default: %(default)s)")
    options = ap.parse_args()
    options.suites = [s for s in SUITES if s in options.suites.split(",")] or ap.error("no such suite")
    options.runs = options.runs or (1 if options.quick else 3)
    options.scale = options.scale or (0.1 if options.quick else 1.0)
    options.idle = options.idle or ("1000" if options.quick else "1000,5000")
    return options


def servers_of(options, harness, directory):
    servers = [] if options.no_posthouse else [
        Posthouse(harness, pathlib.Path(options.program).resolve(), directory, options.port_base,
                  options.settings and str(pathlib.Path(options.settings).resolve()))]
    if not options.alone:
        servers.append(Peer(harness, "postfix-dovecot", f"dovecot-{options.dovecot}"))
        if options.cyrus:
            servers.append(Peer(harness, "postfix-cyrus", "cyrus"))
    return servers


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    harness_path = pathlib.Path(os.environ.get("POSTHOUSE_BENCH_HARNESS") or ROOT.parent / "shared/bench").resolve()
    if not (harness_path / "bench.py").is_file():
        sys.exit(HARNESS_ADVICE.format(path=harness_path))
    output = pathlib.Path(options.output or ROOT / "build-bench" / time.strftime("%Y%m%d-%H%M%S")).resolve()
    output.mkdir(parents=True, exist_ok=True)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-bench-", dir=options.data))
    servers = []
    try:
        servers = servers_of(options, Harness(harness_path, output), directory)
        for server in servers:
            server.prepare(users_needed(options))
        for suite in options.suites:
            for server in servers:
                measure(server, suite, options, output)
        text = table.render([s.name for s in servers], output)
        (output / "table.md").write_text(text)
        print("\n" + text + f"\nEverything measured: {output}", flush=True)
    except Failure as e:
        sys.exit(str(e))
    finally:
        for server in servers:
            try:
                server.stop()
            except Failure as e:
                print(e, file=sys.stderr)
        if options.keep:
            print(f"Posthouse's directory: {directory}")
        else:
            shutil.rmtree(directory)


main()
