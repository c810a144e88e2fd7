#!/usr/bin/env python3
"""Fails where objects of a CPU level hold an instruction that processors of that level may lack.

usage: check_level.py [--objdump PROGRAM] LEVEL OBJECT...
LEVEL: one of LACKING. Exit status: 0 none found, 1 found (each is printed with its function), 2 nothing could be checked.
"""
import argparse
import re
import sys

from check_no_fma import check

# By level, what later extensions have added for the registers that the level uses.
LACKING = {
    # SSE4.2, POPCNT, AVX and all that came with its encoding
    "sse41": re.compile(r"^(?:v\w+|pcmpgtq|pcmp[ei]str[im]|crc32\w*|popcnt\w*)$"),
    # VNNI, VBMI, VBMI2, IFMA, BITALG and VPOPCNTDQ, BF16, FP16, VP2INTERSECT
    "avx512bw": re.compile(
        r"^(?:vpdp\w+|vperm(?:b|[it]2b)|vpmultishiftqb|vp(?:compress|expand)[bw]|vpsh[lr]d\w+|vpmadd52\w+|vpopcnt\w+|vpshufbitqmb|"
        r"vdpbf16ps|vcvtne\w+|v\w+[ps]h|vp2intersect\w+)$"
    ),
}
ALLOWED = {"sse41": (), "avx512bw": ("vcvtps2ph",)}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--objdump", default="objdump")
    parser.add_argument("level", choices=sorted(LACKING))
    parser.add_argument("objects", nargs="+")
    options = parser.parse_args()
    lacking, allowed = LACKING[options.level], ALLOWED[options.level]
    return check(options.objdump, options.objects, lambda word: lacking.match(word) and word not in allowed, f"beyond {options.level}")


if __name__ == "__main__":
    sys.exit(main())
