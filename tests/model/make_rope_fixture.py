#!/usr/bin/env python3
"""Makes tests/data/model/rope.txt: angles in 200-bit arithmetic. usage: make_rope_fixture.py OUT   (needs mpmath)

Lines "inv THETA SCALE HEAD_DIM I VALUE" (inverse frequency rounded to f64) and "ang ANGLE SIN COS" (rounded to f64), numbers in C's hexadecimal form.
"""
import math, random, sys
from mpmath import mp, mpf

mp.prec = 200


def main():
    random.seed(1)
    with open(sys.argv[1], "w") as out:
        for theta in (10000.0, 5e5, 1e6, 1000042.0, 1.5, 1e9):
            for scale, hd in ((1.0, 64), (1.0, 128), (4.0, 100), (3.3, 256)):
                for i in sorted(set([0, 1, hd // 2 - 1] + [random.randrange(hd // 2) for _ in range(5)])):
                    value = float(mp.exp(-mp.log(mpf(theta)) * 2 * i / hd) / mpf(scale))
                    out.write(f"inv {theta.hex()} {scale.hex()} {hd} {i} {value.hex()}\n")
        for k in range(600):
            angle = random.choice([random.random() * 131072, random.random(), random.random() * 1e-5, random.randrange(1, 80000) * math.pi / 2, float(k)])
            out.write(f"ang {angle.hex()} {float(mp.sin(mpf(angle))).hex()} {float(mp.cos(mpf(angle))).hex()}\n")


main()
