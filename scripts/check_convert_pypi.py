#!/usr/bin/env python3
"""Reads a converted GGUF file with the `gguf` package of PyPI and compares every value with the checkpoint that it was made from.

usage: check_convert_pypi.py MODEL.gguf HF_DIR        (needs: pip install gguf numpy)

The checkpoint's master weights are ternarised here, in NumPy: scale = max(f32(sequential f64 sum of |w| / n), 1e-5), code = sign(w) where
2|w| > scale. TQ1_0 and TQ2_0 tensors must dequantise to f16(scale) * code exactly, F32 norms to the checkpoint's values exactly, an F16
embedding to its values rounded to f16 exactly. Q8_0 and Q6_K embeddings are lossy: each value must be within what the format allows of the
original (half a step of its block, a whole one at the ends of the code range), and the relative error over the tensor is printed. I2_S is
not known to that package. Metadata and vocabulary are compared with config.json and tokenizer.json.
"""
import glob
import json
import os
import struct
import sys

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFReader
from gguf.quants import dequantize

NAMES = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_sub_norm": "self_attn.attn_sub_norm", "ffn_sub_norm": "mlp.ffn_sub_norm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}
FILE_TYPES = {Type.TQ1_0: 36, Type.TQ2_0: 37}


def load_checkpoint(folder):
    weights = {}
    for path in sorted(glob.glob(os.path.join(folder, "*.safetensors"))):
        with open(path, "rb") as f:
            data = f.read()
        n, = struct.unpack_from("<Q", data)
        for name, t in json.loads(data[8:8 + n]).items():
            if name == "__metadata__":
                continue
            begin, end = t["data_offsets"]
            raw = data[8 + n + begin:8 + n + end]
            if t["dtype"] == "BF16":
                v = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
            else:
                v = np.frombuffer(raw, {"F32": "<f4", "F16": "<f2"}[t["dtype"]]).astype(np.float32)
            weights[name] = v.reshape(t["shape"])
    return weights


def hf_name(name):
    fixed = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight", "output.weight": "lm_head.weight"}
    if name in fixed:
        return fixed[name]
    _, layer, kind, _ = name.split(".")
    return f"model.layers.{layer}.{NAMES[kind]}.weight"


def ternarise(w):
    total = np.add.accumulate(np.abs(w).astype(np.float64).ravel())[-1]
    scale = max(np.float32(total / w.size), np.float32(1e-5))
    return np.where(np.float32(2) * np.abs(w) > scale, np.sign(w), np.float32(0)), scale


def steps(tensor, shape):
    """The distance of neighbouring values of every element of a Q8_0 or Q6_K tensor."""
    raw = np.asarray(tensor.data).reshape(-1, {Type.Q8_0: 34, Type.Q6_K: 210}[tensor.tensor_type])
    if tensor.tensor_type == Type.Q8_0:
        return np.repeat(raw[:, :2].copy().view("<f2").astype(np.float64), 32, axis=1).reshape(shape)
    d = raw[:, 208:].copy().view("<f2").astype(np.float64)
    return np.repeat(np.abs(d * raw[:, 192:208].view("i1").astype(np.float64)), 16, axis=1).reshape(shape)


def compare(tensor, w):
    got = np.asarray(tensor.data)
    if tensor.tensor_type != Type.F32:
        got = dequantize(got, tensor.tensor_type).reshape(w.shape)
    if tensor.tensor_type in FILE_TYPES:
        codes, scale = ternarise(w)
        return bool((got == codes * np.float32(np.float16(scale))).all()), f"scale {scale:.9g}"
    if tensor.tensor_type == Type.F32:
        return bool((got == w).all()), ""
    if tensor.tensor_type == Type.F16:
        return bool((got == w.astype(np.float16).astype(np.float32)).all()), ""
    if tensor.tensor_type in (Type.Q8_0, Type.Q6_K):
        error = np.abs(got.astype(np.float64) - w)
        relative = np.sqrt((error ** 2).mean() / (w.astype(np.float64) ** 2).mean())
        # Ends of the code range are clamped, so a few values may be a whole step away; no value may be more.
        step = steps(tensor, w.shape)
        near = (error <= 0.5 * step * (1 + 1e-6)).mean()
        limit = {Type.Q8_0: 0.01, Type.Q6_K: 0.03}[tensor.tensor_type]
        ok = bool((error <= 1.5 * step + 1e-12).all()) and near > 0.97 and relative < limit
        return ok, f"relative rms error {relative:.5f}, {near:.4%} within half a step"
    return False, "a type that this check does not know"


def check_metadata(reader, config, tokenizer):
    field = lambda key: reader.get_field(key).contents()
    arch = field("general.architecture")
    heads = config["num_attention_heads"]
    hd = config.get("head_dim") or config["hidden_size"] // heads
    expected = {
        "general.architecture": "bitnet-b1.58" if config["hidden_act"] == "relu2" else "bitnet",
        f"{arch}.vocab_size": config["vocab_size"], f"{arch}.context_length": config["max_position_embeddings"],
        f"{arch}.embedding_length": config["hidden_size"], f"{arch}.block_count": config["num_hidden_layers"],
        f"{arch}.feed_forward_length": config["intermediate_size"], f"{arch}.attention.head_count": heads,
        f"{arch}.attention.head_count_kv": config.get("num_key_value_heads", heads), f"{arch}.attention.key_length": hd,
        f"{arch}.attention.value_length": hd, f"{arch}.rope.dimension_count": hd,
        f"{arch}.hidden_activation": config["hidden_act"],
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.bos_token_id": config["bos_token_id"],
        "tokenizer.ggml.eos_token_id": config["eos_token_id"],
    }
    bad = [f"{k}: {field(k)!r}, expected {v!r}" for k, v in expected.items() if field(k) != v]
    eps, theta = f"{arch}.attention.layer_norm_rms_epsilon", f"{arch}.rope.freq_base"
    for key, value in ((eps, config["rms_norm_eps"]), (theta, config["rope_theta"])):
        if np.float32(field(key)) != np.float32(value):
            bad.append(f"{key}: {field(key)!r}, expected {value!r}")
    tokens = {t: i for t, i in tokenizer["model"]["vocab"].items()} | {t["content"]: t["id"] for t in tokenizer["added_tokens"]}
    stored = field("tokenizer.ggml.tokens")
    if len(stored) != config["vocab_size"] or any(stored[i] != t for t, i in tokens.items()):
        bad.append("tokenizer.ggml.tokens differ")
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    if field("tokenizer.ggml.merges") != merges:
        bad.append("tokenizer.ggml.merges differ")
    special = {t["id"]: 3 if t["special"] else 4 for t in tokenizer["added_tokens"]}
    used = set(tokens.values())
    if field("tokenizer.ggml.token_type") != [special.get(i, 1 if i in used else 5) for i in range(config["vocab_size"])]:
        bad.append("tokenizer.ggml.token_type differ")
    return bad


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    path, folder = sys.argv[1:]
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as f:
        tokenizer = json.load(f)
    reader, weights = GGUFReader(path), load_checkpoint(folder)
    bad = check_metadata(reader, config, tokenizer)
    counts, expected_names = {}, set(weights)
    if config.get("tie_word_embeddings"):
        expected_names.discard("lm_head.weight")
    for tensor in reader.tensors:
        name = hf_name(tensor.name)
        expected_names.discard(name)
        ok, note = compare(tensor, weights[name])
        kind = tensor.tensor_type.name
        counts[kind] = counts.get(kind, [0, 0])
        counts[kind][0] += 1
        counts[kind][1] += weights[name].size
        if tensor.tensor_type in (Type.Q8_0, Type.Q6_K):
            print(f"{tensor.name}: {kind}: {note}")
        if not ok:
            bad.append(f"{tensor.name} ({kind}) differs from {name} {note}")
    bad += [f"{name} is not in the file" for name in sorted(expected_names)]
    for kind, (tensors, values) in sorted(counts.items()):
        print(f"{kind}: {tensors} tensors, {values} values compared")
    for line in bad:
        print("WRONG " + line)
    print(f"{os.path.basename(path)}: " + ("FAILED" if bad else "equal to the checkpoint, value by value"))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
