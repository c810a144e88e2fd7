#!/usr/bin/env python3
"""Second implementation of the sampler's exp and log: prints the hash that sampler_math_test.cpp expects. Standard library only."""
import math
import struct

LN2_HIGH, LN2_LOW = float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")
LOG2_E = float.fromhex("0x1.71547652b82fep+0")


def exp(x):
    if x < -708.0:
        return 0.0
    n = float(round(x * LOG2_E))  # Python's round goes to even as well
    r = (x - (n * LN2_HIGH)) - (n * LN2_LOW)
    p = 1.0 / math.factorial(13)
    for k in range(12, 1, -1):
        p = (1.0 / math.factorial(k)) + (r * p)
    return math.ldexp(1.0 + (r + ((r * r) * p)), int(n))


def log(x):
    mantissa, k = math.frexp(x)  # [0.5, 1)
    if mantissa < float.fromhex("0x1.6a09e667f3bcdp-1"):
        mantissa, k = 2.0 * mantissa, k - 1
    f = mantissa - 1.0
    s = f / (2.0 + f)
    z = s * s
    tail = 2.0 / 23.0
    for odd in range(21, 2, -2):
        tail = (2.0 / odd) + (z * tail)
    tail = z * tail
    h = (0.5 * f) * f
    return (k * LN2_HIGH) + (f - (h - ((s * (h + tail)) + (k * LN2_LOW))))


def main():
    state = 0xCBF29CE484222325
    for i in range(1, 20001):
        x = i / 64.0
        for value in (exp(-x), exp(-x / 977.0), log(x / 3.0)):
            for byte in struct.pack("<d", value):
                state = ((state ^ byte) * 0x100000001B3) % 2**64
    print(f"{state:016x}")


main()
