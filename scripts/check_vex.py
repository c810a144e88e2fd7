#!/usr/bin/env python3
"""Shows that objects of the AVX-VNNI level have the dot products in AVX-VNNI's encoding and nothing that needs AVX-512.

usage: check_vex.py [--objdump PROGRAM] OBJECT...
Exit status: 0 right; 1 an EVEX instruction (each is printed with its function), or an object without a dot product; 2 not readable.
"""
import argparse
import re
import subprocess
import sys

LINE = re.compile(r"^\s*[0-9a-f]+:\t((?:[0-9a-f]{2} )+)\s*\t(.+)$")
FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")
VEX_DOT = re.compile(r"^(?:\{vex\} )?vpdp(?:busd|wssd)\s")


def scan(objdump, path):
    """Returns the EVEX instructions of an object as (function, text), and the number of its dot products in VEX form."""
    run = subprocess.run([objdump, "-d", "--insn-width=16", path], capture_output=True, text=True)
    if run.returncode != 0:
        print(f"check_vex: {objdump} cannot read {path}: {run.stderr.strip()}", file=sys.stderr)
        sys.exit(2)
    function, evex, n_dots = "?", [], 0
    for line in run.stdout.splitlines():
        start = FUNCTION.match(line)
        if start:
            function = start.group(1)
        code = LINE.match(line)
        if not code:
            continue
        first_byte, text = code.group(1).split()[0], " ".join(code.group(2).split())
        if first_byte == "62":  # in 64-bit code nothing else begins with it
            evex.append((function, text))
        elif VEX_DOT.match(text):
            n_dots += 1
    return evex, n_dots


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--objdump", default="objdump")
    parser.add_argument("objects", nargs="+")
    options = parser.parse_args()
    wrong = 0
    for path in options.objects:
        evex, n_dots = scan(options.objdump, path)
        for function, text in evex:
            print(f"{path}: {function}: EVEX: {text}")
        if n_dots == 0:
            print(f"{path}: no dot product of AVX-VNNI")
        wrong += len(evex) + (n_dots == 0)
        print(f"{path}: {n_dots} dot products in VEX form, {len(evex)} EVEX instructions")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
