#!/usr/bin/env python3
"""Checks that the shared library exports exactly what the public headers mark TN_API, and that docs/exports.txt says the same.

usage: check_exports.py LIBRARY [ROOT] [--update]     --update rewrites docs/exports.txt from the headers. Standard library and nm.
"""
import glob
import os
import re
import subprocess
import sys


def exported(library):
    text = subprocess.run(["nm", "--dynamic", "--defined-only", "--format=posix", library], check=True, capture_output=True, text=True).stdout
    names = [line.split()[0].split("@")[0] for line in text.splitlines() if line]
    return sorted(name for name in names if not name.startswith("_"))  # names with an underscore belong to compiler and sanitizers


def declared(root):
    names = []
    for header in sorted(glob.glob(os.path.join(root, "include/ternion/*.h"))):
        with open(header, encoding="utf-8") as file:
            code = re.sub(r"//[^\n]*", "", file.read())
        code = re.sub(r"^\s*#[^\n]*(\\\n[^\n]*)*", "", code, flags=re.MULTILINE)
        names += re.findall(r"\bTN_API\b[^;{]*?\b(tn_\w+)\s*\(", code)
    return sorted(names)


def report(what, extra, advice):
    for name in extra:
        print(f"check_exports: {name}: {what}: {advice}", file=sys.stderr)
    return len(extra)


def main():
    arguments = [a for a in sys.argv[1:] if a != "--update"]
    library = arguments[0]
    root = arguments[1] if len(arguments) > 1 else "."
    listing = os.path.join(root, "docs/exports.txt")
    api, symbols = set(declared(root)), set(exported(library))
    if "--update" in sys.argv:
        with open(listing, "w", encoding="utf-8") as file:
            file.write("".join(f"{name}\n" for name in sorted(api)))
    with open(listing, encoding="utf-8") as file:
        listed = set(file.read().split())

    problems = report("declared TN_API but not exported", sorted(api - symbols), "define it, or take it out of the header")
    problems += report("exported but not declared TN_API", sorted(symbols - api), "hide it, or declare it in include/ternion/")
    problems += report("not in docs/exports.txt", sorted(api - listed), "run scripts/check_exports.py LIBRARY --update and add a line to CHANGELOG.md")
    problems += report("in docs/exports.txt but gone", sorted(listed - api), "an exported function may not vanish within a major version")
    if not api:
        print(f"check_exports: no TN_API in {root}/include/ternion: pass the root of the repository", file=sys.stderr)
        return 1
    print(f"check_exports: {len(symbols)} symbols, {problems} differences")
    return 1 if problems else 0


sys.exit(main())
