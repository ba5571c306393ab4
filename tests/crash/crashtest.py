#!/usr/bin/env python3
"""Crash test: under load, kill -9 of everything or of one process at random instants; after each restart
every message that got 250, and every APPEND, STORE and MOVE that got OK, is there exactly once, and
`posthouse account verify` finds nothing.

  crashtest.py --posthouse build/posthouse --rounds 200 [--seed N] [--connections 50]
"""
import argparse
import collections
import imaplib
import json
import os
import pathlib
import random
import re
import signal
import smtplib
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--posthouse", required=True)
parser.add_argument("--rounds", type=int, default=200)
parser.add_argument("--connections", type=int, default=50)
parser.add_argument("--accounts", type=int, default=6)
parser.add_argument("--seconds", type=float, default=1.2, help="of load before the kill, at most")
parser.add_argument("--seed", type=int, default=int(time.time()))
args = parser.parse_args()
os.environ["POSTHOUSE"] = os.path.abspath(args.posthouse)

from conftest import DOMAIN, Server, check_log  # noqa: E402

PROCESSES = ["core", "mx", "edge", "scan", "box"]


class Promises:
    """What the server acknowledged. A message is (mailbox owner, token)."""

    def __init__(self):
        self.lock = threading.Lock()
        self.accepted = {}                      # token -> list of owners
        self.appended = {}                      # token -> owner
        self.flagged = set()                    # tokens
        self.moved = set()                      # tokens
        self.uncertain = set()                  # tokens whose reply was lost: 0 or more copies are right
        self.uncertain_state = set()            # STORE or MOVE without a reply
        self.counter = 0

    def token(self):
        with self.lock:
            self.counter += 1
            return f"tok{args.seed:x}x{self.counter:07d}"


def mail(token, size):
    line = "the quick brown fox jumps over the lazy dog 0123456789\r\n"
    return (f"From: load@elsewhere.test\r\nSubject: {token}\r\nMessage-ID: <{token}@elsewhere.test>\r\n\r\n" + line * (size // len(line)))


def smtp_load(server, promises, owners, stop, rng):
    while not stop.is_set():
        try:
            client = smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=15)
        except (OSError, smtplib.SMTPException):
            time.sleep(0.02)
            continue
        try:
            client.ehlo("load.test")
            while not stop.is_set():
                # Mostly one recipient; some messages go to several accounts, or through the alias.
                chosen = rng.sample(owners, rng.choice((1, 1, 1, 2, 3)))
                recipients, receivers = list(chosen), list(chosen)
                if rng.random() < 0.15:
                    recipients, receivers = [f"everyone@{DOMAIN}"], list(owners)
                token = promises.token()
                with promises.lock:
                    promises.uncertain.add(token)
                client.mail("load@elsewhere.test")
                for recipient in recipients:
                    code, text = client.rcpt(recipient)
                    if code != 250:
                        raise smtplib.SMTPResponseException(code, text)
                code, text = client.data(mail(token, rng.choice((200, 3000, 3000, 90000))))
                with promises.lock:
                    promises.uncertain.discard(token)
                    if code == 250:
                        promises.accepted[token] = receivers
                    elif code < 400:
                        raise AssertionError((code, text))
        except (OSError, smtplib.SMTPException):
            time.sleep(0.01)
        finally:
            client.close()


def imap_load(server, promises, owner, stop, rng):
    while not stop.is_set():
        try:
            client = imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=15)
            client.login(owner, "secret")
            client.select("INBOX")
        except (OSError, imaplib.IMAP4.error):
            time.sleep(0.05)
            continue
        try:
            while not stop.is_set():
                token = promises.token()
                with promises.lock:
                    promises.uncertain.add(token)
                status, data = client.append("INBOX", None, None, mail(token, rng.choice((200, 5000))).encode())
                if status != "OK":
                    continue
                with promises.lock:
                    promises.uncertain.discard(token)
                    promises.appended[token] = owner
                uid = re.search(rb"APPENDUID \d+ (\d+)", data[0]).group(1).decode()
                with promises.lock:
                    promises.uncertain_state.add(token)
                status, _ = client.uid("STORE", uid, "+FLAGS", "(\\Flagged)")
                if status == "OK":
                    with promises.lock:
                        promises.flagged.add(token)
                if rng.random() < 0.5:
                    status, _ = client.uid("MOVE", uid, "Archive")
                    if status == "OK":
                        with promises.lock:
                            promises.moved.add(token)
                with promises.lock:
                    if status == "OK":
                        promises.uncertain_state.discard(token)
        except (OSError, imaplib.IMAP4.error):
            time.sleep(0.02)
        finally:
            try:
                client.shutdown()
            except OSError:
                pass


def contents(server, owner):
    """token -> list of (mailbox, flags)."""
    found = collections.defaultdict(list)
    client = imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=60)
    client.login(owner, "secret")
    for mailbox in ("INBOX", "Archive"):
        status, count = client.select(mailbox, readonly=True)
        assert status == "OK", (owner, mailbox, count)
        if int(count[0]) == 0:
            continue
        status, rows = client.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        assert status == "OK"
        for row in rows:
            if isinstance(row, tuple):
                token = re.search(rb"tok\w+", row[1])
                if token:
                    found[token.group(0).decode()].append((mailbox, row[0].decode()))
    client.logout()
    return found


def wait_queue_empty(server):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if server.status()["queue"]["recipients"] == 0:
            return
        time.sleep(0.1)
    raise AssertionError("the queue does not become empty:\n" + server.command("queue", "list").stdout)


def check(server, promises, owners):
    wait_queue_empty(server)
    problems = []
    boxes = {owner: contents(server, owner) for owner in owners}
    for token, receivers in promises.accepted.items():
        for owner in receivers:
            copies = len(boxes[owner].get(token, ()))
            if copies != 1:
                problems.append(f"{token} was accepted for {owner} and is there {copies} times")
    for token, owner in promises.appended.items():
        copies = boxes[owner].get(token, [])
        if len(copies) != 1:
            problems.append(f"{token} was appended for {owner} and is there {len(copies)} times")
            continue
        mailbox, flags = copies[0]
        if token in promises.flagged and "\\Flagged" not in flags:
            problems.append(f"{token}: STORE got OK, the flag is lost")
        if token in promises.moved and mailbox != "Archive":
            problems.append(f"{token}: MOVE got OK, it is in {mailbox}")
    for owner, box in boxes.items():
        for token, copies in box.items():
            if len(copies) > 1 and token not in promises.uncertain:
                problems.append(f"{token} is in {owner}'s mailboxes {len(copies)} times")
    done = server.command("account", "verify", "--all", check=False, timeout=300)
    if done.returncode:
        problems.append("verify: " + done.stdout + done.stderr)
    return problems


def one_round(server, promises, owners, number, rng):
    stop = threading.Event()
    threads = [threading.Thread(target=smtp_load, args=(server, promises, owners, stop, random.Random(rng.random())), daemon=True)
               for _ in range(args.connections - args.connections // 5)]
    threads += [threading.Thread(target=imap_load, args=(server, promises, owners[i % len(owners)], stop, random.Random(rng.random())), daemon=True)
                for i in range(args.connections // 5)]
    for thread in threads:
        thread.start()
    victims = rng.choice(["all"] + PROCESSES)
    time.sleep(rng.uniform(0.2, args.seconds))
    if victims == "all":
        server.kill()
    else:
        try:
            os.kill(server.pid_of(victims), signal.SIGKILL)
        except ProcessLookupError:
            pass
        time.sleep(rng.uniform(0.1, args.seconds / 2))
    stop.set()
    if victims == "all":
        server.start()
    for thread in threads:
        thread.join(30)
    if rng.random() < 0.2 and victims != "all":  # now and then the orderly way
        server.stop()
        server.start()
    problems = check(server, promises, owners)
    total = len(promises.accepted) + len(promises.appended)
    print(f"round {number}: killed {victims}; {total} acknowledged so far, {'all there' if not problems else 'PROBLEMS'}", flush=True)
    return problems


def main():
    rng = random.Random(args.seed)
    print(f"seed {args.seed}")
    with tempfile.TemporaryDirectory(prefix="posthouse-crash-") as directory:
        server = Server(pathlib.Path(directory) / "demo").start()
        try:
            owners = [server.add_account(f"crash{i}@{DOMAIN}") for i in range(args.accounts)]
            server.command("alias", "add", f"everyone@{DOMAIN}", *owners)
            promises = Promises()
            for number in range(1, args.rounds + 1):
                problems = one_round(server, promises, owners, number, rng)
                if problems:
                    print("\n".join(problems[:40]))
                    print(server.log_tail(80))
                    return 1
                # Old promises were kept: only what is new is checked in full from time to time.
            print(f"{args.rounds} rounds, {len(promises.accepted)} messages and {len(promises.appended)} appends: nothing lost, nothing doubled")
            check_log(server)
            return 0
        finally:
            server.kill()


if __name__ == "__main__":
    sys.exit(main())
