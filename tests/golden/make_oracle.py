#!/usr/bin/env python3
"""Makes tests/data/golden/oracle_default.bin: what oracle.py, the real-number model in float64, says of the validation text.

usage: make_oracle.py ORACLE.PY HF_DIR IDS.txt OUT.bin
Little-endian: u32 n_ids, u32 n_vocab, u32 stride; i32 ids[n_ids]; f64 logprob of ids[i+1] after ids[0..i], for i < n_ids-1;
then for every stride-th position f16 log-probabilities[n_vocab]. Needs numpy.
"""
import os, subprocess, sys, tempfile
import numpy as np

STRIDE = 5


def main():
    oracle, model, ids_path, out_path = sys.argv[1:5]
    ids = np.array(open(ids_path).read().split(), dtype="<i4")
    with tempfile.TemporaryDirectory() as tmp:
        logits = os.path.join(tmp, "logits")
        subprocess.run([sys.executable, oracle, model, ids_path, logits], check=True)
        z = np.fromfile(logits, "<f4").astype(np.float64).reshape(len(ids), -1)
    z -= z.max(-1, keepdims=True)
    z -= np.log(np.exp(z).sum(-1, keepdims=True))
    with open(out_path, "wb") as out:
        out.write(np.array([len(ids), z.shape[1], STRIDE], "<u4").tobytes())
        out.write(ids.tobytes())
        out.write(z[np.arange(len(ids) - 1), ids[1:]].astype("<f8").tobytes())
        out.write(z[::STRIDE].astype("<f2").tobytes())


main()
