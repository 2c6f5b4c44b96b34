#!/usr/bin/env python3
"""Checks who includes whom, against a rules file.

Usage: check_layers.py ROOT RULES

Finds: a room that includes a room it may not see, a vendor's header outside its home, words that are not for a room, a source file that belongs
to no room, an include that is not written from the root, a header without #pragma once.
"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
HEADERS = {".h", ".hpp", ".cuh"}
SOURCES = HEADERS | {".cpp", ".cc", ".cu"}
ROOTS = ("runtime", "parallel", "models", "cluster", "launch", "tests")


def read_rules(path):
    rules = {"layer": {}, "vendor": {}, "forbid": {}}
    for line in path.read_text().splitlines():
        line = line.split("#")[0].strip()
        if line:
            kind, rest = line.split(None, 1)
            name, allowed = (part.strip() for part in rest.rsplit(":", 1))
            rules[kind][name] = allowed.split()
    return rules["layer"], rules["vendor"], rules["forbid"]


def inside(path, folder):
    return path == folder or path.startswith(folder + "/")


def room_of(path, layers):
    return max((room for room in layers if inside(path, room)), key=len, default=None)


def faults_of_include(root, here, header, quoted, layers, vendors):
    room, target = room_of(here, layers), room_of(header, layers)
    if target not in (None, room) and not any(inside(header, seen) for seen in layers[room]):
        yield f"{room} may not include {header}"
    if quoted and not (root / header).is_file():
        yield f'"{header}" is no file of this repository; includes are written from its root'
    for prefix, homes in vendors.items():
        if header.startswith(prefix) and not any(inside(here, home) for home in homes):
            yield f"{header} may only be included in {', '.join(homes)}"


def faults_of_words(here, line, forbidden):
    for words, rooms in forbidden.items():
        match = re.search(words, line.split("//")[0])
        if match and any(inside(here, room) for room in rooms):
            yield f"{match.group(0)} is not for this room: models/spec says it"


def faults_of_file(root, file, layers, vendors, forbidden):
    here = file.relative_to(root).as_posix()
    if room_of(here, layers) is None:
        yield f"{here}:1: belongs to no room of the rules"
        return
    text = file.read_text()
    if file.suffix in HEADERS and "#pragma once" not in text:
        yield f"{here}:1: a header without #pragma once"
    for number, line in enumerate(text.splitlines(), 1):
        for fault in faults_of_words(here, line, forbidden):
            yield f"{here}:{number}: {fault}"
        if match := INCLUDE.match(line):
            quoted, header = match.group(1) == '"', match.group(2)
            for fault in faults_of_include(root, here, header, quoted, layers, vendors):
                yield f"{here}:{number}: {fault}"


def main(root, rules):
    layers, vendors, forbidden = read_rules(pathlib.Path(rules))
    root = pathlib.Path(root)
    files = sorted(f for top in ROOTS for f in (root / top).rglob("*") if f.suffix in SOURCES)
    faults = [fault for file in files for fault in faults_of_file(root, file, layers, vendors, forbidden)]
    print("\n".join(faults + [f"{len(files)} source files, {len(faults)} fault(s) of layering"]))
    return 1 if faults or not files else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
