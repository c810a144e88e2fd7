#!/usr/bin/env python3
"""Fails where machine code holds a fused multiply-add: the exact mode rounds every product (docs/design/0001-numerics.md).

usage: check_no_fma.py [--objdump PROGRAM] FILE...
FILE: an object, static or shared library. Exit status: 0 none found, 1 found (each is printed with its function), 2 nothing could be checked.
"""
import argparse
import os
import re
import subprocess
import sys

# x86-64, then AArch64: the steps of its reciprocals and its matrix products are fused too.
FUSED = re.compile(r"^(?:vfn?m(?:add|sub)\w*|fn?m(?:add|sub)|fml[as](?:l[bt]?2?)?|fcmla|fmmla|bfml\w+|bfdot|bfmmla|frecps|frsqrts|vfm[as]\w*)$")
PROGRAM = os.path.basename(sys.argv[0])
FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")


def scan(objdump, path, unwanted):
    """Returns the number of instructions in `path` and a list of (function, instruction) of those whose name `unwanted` takes."""
    run = subprocess.run([objdump, "-d", "--no-show-raw-insn", path], capture_output=True, text=True)
    if run.returncode != 0:
        print(f"{PROGRAM}: {objdump} cannot read {path}: {run.stderr.strip()}", file=sys.stderr)
        sys.exit(2)
    function, count, found = "?", 0, []
    for line in run.stdout.splitlines():
        start = FUNCTION.match(line)
        if start:
            function = start.group(1)
            continue
        parts = line.split("\t")
        if len(parts) < 2 or not parts[1].strip():
            continue
        words = parts[1].split()
        count += 1
        if any(unwanted(word) for word in words[:2]):  # the second word follows a prefix
            found.append((function, " ".join(words)))
    return count, found


def check(objdump, files, unwanted, what):
    """Prints what is found in each file, and returns the exit status."""
    bad = 0
    for path in files:
        try:
            count, found = scan(objdump, path, unwanted)
        except OSError as error:
            print(f"{PROGRAM}: {objdump} does not run ({error.strerror}): install binutils", file=sys.stderr)
            return 2
        if count == 0:
            print(f"{PROGRAM}: {path} holds no machine code (link-time optimisation?): nothing was checked", file=sys.stderr)
            return 2
        for function, instruction in found:
            print(f"{path}: {function}: {instruction}")
        bad += len(found)
        print(f"{path}: {count} instructions, {len(found)} {what}")
    return 1 if bad else 0


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--objdump", default="objdump")
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    return check(options.objdump, options.files, FUSED.match, "fused")


if __name__ == "__main__":
    sys.exit(main())
