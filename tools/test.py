#!/usr/bin/env python3
"""Runs every kind of test, one stage after the other, and ends with the counts.

  test.py                    all stages
  test.py --only unit,e2e    some of them
  test.py --list             what there is
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
os.chdir(ROOT)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--only", default="", help="comma separated stages")
parser.add_argument("--list", action="store_true")
parser.add_argument("--fuzz-seconds", type=int, default=4, help="for each fuzz target")
args = parser.parse_args()

totals = {"passed": 0, "failed": 0, "skipped": 0}
failures = []


def run(command, timeout=1500, env=None, show=False):
    """Runs a command, gives (exit status, output); a time-out is a failure."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
                              env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL)
        output, status = done.stdout.decode(errors="replace"), done.returncode
    except subprocess.TimeoutExpired as late:
        output, status = (late.stdout or b"").decode(errors="replace") + f"\ntimed out after {timeout} s\n", 124
    if show or status:
        print(output if show else "\n".join(output.splitlines()[-120:]), flush=True)
    return status, output


def count(stage, passed=0, failed=0, skipped=0):
    totals["passed"] += passed
    totals["failed"] += failed
    totals["skipped"] += skipped
    if failed:
        failures.append(stage)
    print(f"== {stage}: {passed} ok, {failed} bad, {skipped} left out", flush=True)


def configure(directory, *options, cc=None):
    if not (ROOT / directory / "build.ninja").exists():
        status, _ = run(["meson", "setup", directory, *options], env={"CC": cc} if cc else None)
        if status:
            return status
    status, _ = run(["ninja", "-C", directory])
    return status


BUILDS = {
    "build": [],
    "build-asan": ["-Db_sanitize=address,undefined", "--buildtype=debugoptimized"],
    "build-tsan": ["-Db_sanitize=thread", "--buildtype=debugoptimized"],
}
SANITIZERS = {
    "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=1:handle_abort=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": f"halt_on_error=1:second_deadlock_stack=1:suppressions={ROOT}/tests/tsan.supp",
}


def unit(directory, stage):
    if configure(directory, *BUILDS[directory]):
        return count(stage, failed=1)
    status, output = run(["meson", "test", "-C", directory, "--print-errorlogs", "--num-processes", "2",
                          "--timeout-multiplier", "6"],
                         env={**SANITIZERS, "POSTHOUSE_SHARED": str(SHARED)})
    found = {key: int(re.search(rf"^{label}:\s+(\d+)", output, re.M).group(1)) if re.search(rf"^{label}:", output, re.M) else 0
             for key, label in (("ok", "Ok"), ("fail", "Fail"), ("skip", "Skipped"), ("timeout", "Timeout"))}
    count(stage, found["ok"], found["fail"] + found["timeout"] + (1 if status and not found["fail"] + found["timeout"] else 0),
          found["skip"])


def end_to_end(directory, stage, *selection):
    if configure(directory, *BUILDS[directory]):
        return count(stage, failed=1)
    status, output = run(["/usr/bin/python3", "-m", "pytest", "-q", "-rs", "--tb=short", "-p", "no:cacheprovider", *selection],
                         env={**SANITIZERS, "POSTHOUSE": str(ROOT / directory / "posthouse"), "POSTHOUSE_SHARED": str(SHARED)})
    last = output.strip().splitlines()[-1] if output.strip() else ""
    found = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}
    bad = found.get("failed", 0) + found.get("error", 0)
    for line in output.splitlines():
        if line.startswith("SKIPPED"):
            print("  " + line)
    count(stage, found.get("passed", 0), bad + (1 if status not in (0, 1) or (status and not bad) else 0), found.get("skipped", 0))


def fuzz():
    if configure("build-fuzz", "-Dfuzz=true", "-Db_sanitize=address,undefined", "-Db_lundef=false", cc="clang"):
        return count("fuzz", failed=1)
    passed = failed = 0
    for seeds in sorted(p for p in (ROOT / "tests/fuzz").glob("*/*") if p.is_dir()):
        target = ROOT / "build-fuzz/tests/fuzz" / f"fuzz_{seeds.name}"
        if not target.exists():
            print(f"fuzz: {seeds} has no target {target.name}")
            failed += 1
            continue
        work = ROOT / "build-fuzz/corpus" / seeds.name
        work.mkdir(parents=True, exist_ok=True)
        status, output = run([str(target), str(work), str(seeds), f"-max_total_time={args.fuzz_seconds}", "-timeout=10",
                              "-rss_limit_mb=2048", "-verbosity=0", "-print_final_stats=1",
                              f"-artifact_prefix={ROOT}/build-fuzz/{seeds.name}-"], timeout=args.fuzz_seconds + 120)
        runs = re.search(r"number_of_executed_units:\s*(\d+)", output)
        print(f"fuzz {seeds.name}: {runs.group(1) if runs else '?'} runs, {'ok' if status == 0 else 'FAILED'}", flush=True)
        passed, failed = passed + (status == 0), failed + (status != 0)
    count("fuzz", passed, failed)


def rooms():
    status, _ = run(["python3", "tools/rooms.py"])
    count("rooms", passed=int(status == 0), failed=int(status != 0))


def crash():
    status, output = run(["/usr/bin/python3", "tests/crash/crashtest.py", "--posthouse", str(ROOT / "build/posthouse"), "--rounds", "12"])
    print("\n".join(output.splitlines()[-3:]))
    count("crash", passed=int(status == 0), failed=int(status != 0))


STAGES = {
    "rooms": rooms,
    "unit": lambda: unit("build", "unit"),
    "e2e": lambda: end_to_end("build", "e2e", "tests/e2e"),
    "crash": crash,
    "unit-asan": lambda: unit("build-asan", "unit-asan"),
    "e2e-asan": lambda: end_to_end("build-asan", "e2e-asan", "tests/e2e"),
    "unit-tsan": lambda: unit("build-tsan", "unit-tsan"),
    "e2e-tsan": lambda: end_to_end("build-tsan", "e2e-tsan", "tests/e2e", "-m", "threads"),
    "fuzz": fuzz,
}
if args.list:
    sys.exit(print("\n".join(STAGES)))
for name in args.only.split(",") if args.only else STAGES:
    if name not in STAGES:
        sys.exit(f"test.py: no stage '{name}' ({', '.join(STAGES)})")
    start = time.monotonic()
    STAGES[name]()
    print(f"== {name} took {time.monotonic() - start:.0f} s", flush=True)
if not SHARED.is_dir():
    print("The shared test data (../shared) is absent: tests that need it were left out.")
if failures:
    print("Failed stages: " + ", ".join(failures))
print(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped")
sys.exit(1 if totals["failed"] else 0)
