#!/usr/bin/env python3
"""Reads a synthetic model with the `gguf` package of PyPI: metadata, shapes and sizes of all tensors, and the values of its types.

usage: check_synth_pypi.py TERNION [FOLDER]        (needs: pip install gguf numpy)

Makes models of TQ1_0 and TQ2_0 in FOLDER (default: a temporary one) for each architecture. Every ternary tensor must dequantise to 0 and
one magnitude with both signs, 38 % zeros, as many of each sign, no two rows alike; embeddings and norms must have the magnitudes that the
library promises; the vocabulary must have no token twice. I2_S is not known to that package.
"""
import json
import subprocess
import sys
import tempfile

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFReader
from gguf.quants import dequantize

SIZES = {"layers": 2, "embd-length": 512, "ff": 1536, "heads": 8, "kv-heads": 2, "vocab": 1000}


def shapes_of(arch, tied):
    d, ff, q, kv = SIZES["embd-length"], SIZES["ff"], 512, 128
    shapes = {"token_embd.weight": (d, SIZES["vocab"]), "output_norm.weight": (d,)}
    if not tied:
        shapes["output.weight"] = (d, SIZES["vocab"])
    for i in range(SIZES["layers"]):
        layer = {"attn_norm": (d,), "ffn_norm": (d,), "attn_q": (d, q), "attn_k": (d, kv), "attn_v": (d, kv), "attn_output": (q, d),
                 "ffn_gate": (d, ff), "ffn_up": (d, ff), "ffn_down": (ff, d)}
        if arch != "llama":
            layer.update({"attn_sub_norm": (q,), "ffn_sub_norm": (ff,)})
        shapes.update({f"blk.{i}.{name}.weight": shape for name, shape in layer.items()})
    return shapes


def check_ternary(tensor, values):
    magnitudes = np.unique(np.abs(values))
    assert len(magnitudes) == 2 and magnitudes[0] == 0, f"{tensor.name}: magnitudes {magnitudes}"
    zeros, mean = (values == 0).mean(), np.sign(values).mean()
    assert abs(zeros - 0.38) < 0.01 and abs(mean) < 0.01, f"{tensor.name}: {zeros:.3f} zeros, mean sign {mean:.3f}"
    assert len(np.unique(values, axis=0)) == len(values), f"{tensor.name}: two rows are alike"


def check(path, arch, kind, embd, tied):
    reader = GGUFReader(path)
    field = {name: f.contents() for name, f in reader.fields.items()}
    assert field["general.architecture"] == arch and field["general.name"].startswith("synthetic custom") and field["ternion.synthetic.seed"] == 5
    assert field[f"{arch}.embedding_length"] == SIZES["embd-length"] and field[f"{arch}.attention.head_count_kv"] == SIZES["kv-heads"]
    tokens = field["tokenizer.ggml.tokens"]
    assert len(tokens) == SIZES["vocab"] == len(set(tokens)) and len(field["tokenizer.ggml.token_type"]) == len(tokens)
    known = set(tokens)
    assert all("".join(m.split(" ")) in known and all(p in known for p in m.split(" ")) for m in field["tokenizer.ggml.merges"])
    got = {t.name: tuple(int(n) for n in t.shape) for t in reader.tensors}
    assert got == shapes_of(arch, tied), f"{path}: tensors {got}"
    for t in reader.tensors:
        values = np.asarray(t.data) if t.tensor_type == Type.F32 else dequantize(np.asarray(t.data), t.tensor_type)
        values = values.reshape(tuple(int(n) for n in reversed(t.shape)))
        assert np.isfinite(values).all(), t.name
        if values.ndim == 1:
            assert abs(values.std() / values.mean() - 0.1) < 0.03, f"{t.name}: gains {values.mean()} +- {values.std()}"
        elif t.name in ("token_embd.weight", "output.weight"):
            assert t.tensor_type.name.lower() == embd and abs(values.std() * 512 ** 0.5 - 2) < 0.1, f"{t.name}: {values.std()}"
        else:
            assert t.tensor_type.name.lower() == kind
            check_ternary(t, values)
    return len(reader.tensors)


def main():
    program, folder = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp()
    flags = [text for name, n in SIZES.items() for text in (f"--{name}", str(n))]
    for arch, tied in (("bitnet-b1.58", True), ("bitnet", False), ("llama", False)):
        for kind in ("tq1_0", "tq2_0"):
            for embd in ("f32", "f16", "bf16", "q8_0", "q6_k"):
                path = f"{folder}/{arch}-{kind}-{embd}.gguf"
                subprocess.run([program, "synth", "custom", path, *flags, "--arch", arch, "--tied" if tied else "--untied", "--type", kind,
                                "--embd", embd, "--seed", "5", "-q", "--overwrite"], check=True)
                print(json.dumps({"arch": arch, "type": kind, "embd": embd, "tensors": check(path, arch, kind, embd, tied)}))
    print("check_synth_pypi: all right")


main()
