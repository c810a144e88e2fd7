#!/usr/bin/env python3
"""Makes tests/data/golden/*.golden: what contract.py, the NumPy twin of the exact mode, computes for a model.

usage: make_golden.py CONTRACT.PY MODEL IDS.txt OUT.golden [--embd f16|f32]
MODEL: a GGUF file or a Hugging Face folder, as contract.py takes it. IDS.txt: token ids.
OUT.golden: a line "ids ..." , a line "logits XXH64" over all rows, a line "op NAME XXH64" for each op, over its rows' hashes (16 hex digits
each, in position order), and a line "row POSITION XXH64" for each row of logits. Needs numpy and xxhash.
"""
import os, subprocess, sys, tempfile
import xxhash


def main():
    contract, model, ids_path, out_path = sys.argv[1:5]
    ids = open(ids_path).read().split()
    with tempfile.TemporaryDirectory() as tmp:
        logits, trace = os.path.join(tmp, "logits"), os.path.join(tmp, "trace")
        subprocess.run([sys.executable, contract, model, ids_path, logits, "--trace", trace] + sys.argv[5:], check=True)
        data = open(logits, "rb").read()
        ops = {}
        for line in open(trace):
            position, op, digest = line.split()
            ops.setdefault(op, []).append(digest)
    with open(out_path, "w") as out:
        out.write("ids " + " ".join(ids) + "\n")
        out.write(f"logits {xxhash.xxh64(data).hexdigest()}\n")
        for op, digests in ops.items():
            out.write(f"op {op} {xxhash.xxh64(''.join(digests).encode()).hexdigest()}\n")
        for position, digest in enumerate(ops["logits"]):
            out.write(f"row {position} {digest}\n")


main()
