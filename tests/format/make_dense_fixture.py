#!/usr/bin/env python3
"""Writes tests/data/format/dense.txt: blocks of random bytes of the dense types, and what PyPI's gguf (quants.py, NumPy) dequantises them to.

usage: make_dense_fixture.py OUT.txt     Needs numpy and gguf 0.19.0.
A line a type: NAME, the blocks in hexadecimal, and the values as IEEE binary32 bits in hexadecimal, little-endian.
"""
import sys
import numpy as np
from gguf import GGMLQuantizationType, quants

# name: (block elements, block bytes, offsets of f16 numbers)
TYPES = {"Q4_0": (32, 18, [0]), "Q4_1": (32, 20, [0, 2]), "Q5_0": (32, 22, [0]), "Q5_1": (32, 24, [0, 2]), "Q8_0": (32, 34, [0]),
         "Q4_K": (256, 144, [0, 2]), "Q5_K": (256, 176, [0, 2]), "Q6_K": (256, 210, [208])}


def main():
    rnd = np.random.default_rng(20261125)
    with open(sys.argv[1], "w") as out:
        for name, (elements, size, halves) in TYPES.items():
            n = 384 // elements if elements < 256 else 2
            blocks = rnd.integers(0, 256, (n, size), dtype=np.uint8)
            for at in halves: # finite, of either sign; one subnormal and one zero
                bits = rnd.integers(0, 0x7c00, n, dtype=np.uint16) | (rnd.integers(0, 2, n, dtype=np.uint16) << 15)
                bits[0] = 0x0203
                if n > 2: bits[1] = 0
                blocks[:, at:at + 2] = bits.astype("<u2").view(np.uint8).reshape(n, 2)
            values = quants.dequantize(blocks.reshape(1, -1), GGMLQuantizationType[name])
            out.write(f"{name} {blocks.tobytes().hex()} {values.astype('<f4').tobytes().hex()}\n")


main()
