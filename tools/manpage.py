#!/usr/bin/env python3
"""Makes the man page from what the program says of itself, so that it cannot say anything else.

  manpage.py build/posthouse > posthouse.8
"""
import re
import subprocess
import sys

program = sys.argv[1]


def say(*arguments):
    return subprocess.run([program, *arguments], stdout=subprocess.PIPE, check=True, text=True).stdout


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)


def commands():
    for line in say("help").splitlines():
        match = re.match(r"  (\S+) +(.*)", line)
        if match:
            yield match.groups()


def verbs(name):
    """(synopsis, text, example) of each verb."""
    lines = say(name, "--help").splitlines()
    for i, line in enumerate(lines):
        match = re.match(r"  posthouse (.*)", line)
        if match and i + 2 < len(lines) and "for example: " in lines[i + 2]:
            yield match.group(1).strip(), lines[i + 1].strip(), lines[i + 2].split("for example: ")[1]


def settings():
    """(section, its text, [(name, default, text)])"""
    section, pending = None, []
    for line in say("config", "--defaults").splitlines():
        heading = re.match(r"#?(\[[^]]+\])$", line)
        value = re.match(r"#?([a-z0-9-]+) =(.*)$", line)
        if heading:
            if section:
                yield section
            section = (heading.group(1), " ".join(pending), [])
            pending = []
        elif value and section:
            section[2].append((value.group(1), value.group(2).strip(), " ".join(pending)))
            pending = []
        elif line.startswith("# "):
            pending.append(line[2:].strip())
    if section:
        yield section


version = say("version").split()[-1]
out = [f'.TH POSTHOUSE 8 "" "Posthouse {version}" "Mail server"',
       ".SH NAME", "posthouse \\- a complete mail server",
       ".SH SYNOPSIS", ".B posthouse", "COMMAND [ARGUMENTS] [\\-\\-config FILE]",
       ".SH DESCRIPTION",
       "One program that receives mail by SMTP and LMTP, keeps it, and serves it by IMAP and POP3. It runs as several",
       "processes, each of which can touch only what it needs. Commands that change accounts work while the server",
       "runs (by its admin socket) and when it does not.",
       ".SH COMMANDS"]
for name, text in commands():
    out += [f".SS {escape(name)}", escape(text[0].upper() + text[1:] + ".")]
    for synopsis, what, example in verbs(name):
        out += [".TP", f".B posthouse {escape(synopsis)}", escape(what[0].upper() + what[1:]) + ".", ".br",
                f"Example: {escape(example)}"]
out += [".SH CONFIGURATION",
        "The file has sections; a line is a name, an equals sign and a value; # begins a comment. Sizes take K, M, G, T;",
        "times take ms, s, m, h, d. SIGHUP reads it again; a file with mistakes changes nothing."]
for heading, text, rows in settings():
    out += [f".SS {escape(heading)}", escape(text)]
    for name, default, what in rows:
        out += [".TP", f".B {escape(name)}", escape(what)]
out += [".SH SIGNALS", ".TP", ".B SIGHUP", "Reads configuration and certificates again; no session is dropped.",
        ".TP", ".B SIGTERM, SIGINT", "Finishes what is in flight (setting stop\\-grace) and stops.",
        ".SH FILES", ".TP", "/etc/posthouse/posthouse.conf", "The configuration.",
        ".TP", "/var/lib/posthouse", "DATA: core/ (directory, queue, trace), accounts/ (one SQLite file for each account).",
        ".TP", "/run/posthouse/admin.sock", "Where the commands reach the running server.",
        ".SH EXIT STATUS", "0: done. 1: it failed, or verify found something. 2: wrong usage.",
        ".SH SEE ALSO", "doc/tour.md and doc/architecture.md in the source"]
print("\n".join(out))
