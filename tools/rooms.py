#!/usr/bin/env python3
"""Checks that a room of src/ includes only itself and the rooms above it (doc/architecture.md)."""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
build = (root / "meson.build").read_text()
rooms = re.findall(r"'(\w+)'", re.search(r"^rooms = \[(.*?)\]", build, re.S | re.M).group(1))
wrong = []
for path in sorted((root / "src").glob("*/*.[ch]")):
    room = path.parent.name
    if room not in rooms:
        wrong.append(f"{path.relative_to(root)}: the room {room} is not in meson.build's list")
        continue
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        include = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not include:
            continue
        target = include.group(1).split("/")[0]
        if "/" not in include.group(1):
            wrong.append(f"{path.relative_to(root)}:{number}: write the room: \"{room}/{include.group(1)}\"")
        elif target not in rooms or rooms.index(target) > rooms.index(room):
            wrong.append(f"{path.relative_to(root)}:{number}: {room} may not include {include.group(1)}")
print("\n".join(wrong) if wrong else f"rooms: {len(rooms)} rooms, every include goes upwards")
sys.exit(1 if wrong else 0)
