#!/usr/bin/env python3
"""Makes tests/data/golden/family_*.golden: what contract.py, the NumPy twin of the exact mode, computes for the models of families_test.cpp.

usage: make_families.py CONTRACT.PY FOLDER
FOLDER: where golden_families_test wrote its models (its working build folder; run it once, it fails without the fixtures but writes them).
The ids come from a generator of congruences, below 320. Needs numpy and xxhash.
"""
import os, subprocess, sys, tempfile

N_IDS, N_VOCAB = 150, 320


def main():
    contract, folder = sys.argv[1:3]
    here = os.path.dirname(os.path.abspath(__file__))
    ids, z = [], 77
    for _ in range(N_IDS):
        z = (z * 1103515245 + 12345) & 0x7fffffff
        ids.append(str((z >> 8) % N_VOCAB))
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, "ids")
        with open(path, "w") as f:
            f.write(" ".join(ids))
        for name in ("llama3", "falcon3", "onebit_large", "onebit_3b"):
            subprocess.run([sys.executable, os.path.join(here, "make_golden.py"), contract, os.path.join(folder, f"family_{name}.I2_S.gguf"), path,
                            os.path.join(here, "..", "data", "golden", f"family_{name}.golden")], check=True)


main()
