#!/usr/bin/env python3
"""Reads a converted GGUF file with the `gguf` package of PyPI and compares every value with the checkpoint that it was made from.

usage: check_convert_pypi.py MODEL.gguf HF_DIR        (needs: pip install gguf numpy; sentencepiece where HF_DIR has tokenizer.model)

Packed U8 weights are taken apart here, and weight_scale is used as linear_class says; rows of a Llama's q and k are put in GGUF's order.
Master weights are ternarised here, in NumPy: scale = max(f32(sequential f64 sum of |w| / n), 1e-5), code = sign(w) where
2|w| > scale. TQ1_0 and TQ2_0 tensors must dequantise to f16(scale) * code exactly, F32 norms to the checkpoint's values exactly, an F16
embedding to its values rounded to f16 exactly, rope_freqs.weight what rope_type llama3 says within two units in the last place. Q8_0 and Q6_K embeddings are lossy: each value must be within what the format allows of the
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
            if t["dtype"] == "U8":
                v = np.frombuffer(raw, "u1")
            elif t["dtype"] == "BF16":
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


def gguf_rows(w, heads):
    """Rows of q or k as llama.cpp's converter permutes them."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)


def linear(name, weights, config):
    """Codes and scale of a linear layer, in the order of the file."""
    w = weights[name]
    if w.dtype == np.uint8:
        v = weights[name + "_scale"].ravel()[0]
        divides = config["quantization_config"].get("linear_class", "bitlinear") == "bitlinear"
        scale = np.float32(1) / np.float32(v) if divides else np.float32(v)
        codes = np.concatenate([(w >> (2 * i) & 3).astype(np.float32) - 1 for i in range(4)])
    else:
        codes, scale = ternarise(w)
    if is_llama(config) and (".q_proj." in name or ".k_proj." in name):
        heads = config["num_attention_heads"]
        codes = gguf_rows(codes, heads if ".q_proj." in name else config.get("num_key_value_heads", heads))
    return codes, scale


def is_llama(config):
    return config.get("model_type") == "llama" and not config.get("architectures", [""])[0].lower().startswith("bitnet")


def llama3_factors(config, head_dim):
    r = config.get("rope_scaling") or config.get("rope_parameters")
    wave = 2 * np.pi * np.float64(config.get("rope_theta") or r["rope_theta"]) ** (np.arange(0, head_dim, 2) / head_dim)
    s = (r["original_max_position_embeddings"] / wave - r["low_freq_factor"]) / (r["high_freq_factor"] - r["low_freq_factor"])
    f = 1 / ((1 - s) / r["factor"] + s)
    f = np.where(wave < r["original_max_position_embeddings"] / r["high_freq_factor"], 1, f)
    return np.where(wave > r["original_max_position_embeddings"] / r["low_freq_factor"], r["factor"], f).astype(np.float32)


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


def compare(tensor, name, weights, config):
    got, w = np.asarray(tensor.data), weights[name]
    if tensor.tensor_type in FILE_TYPES:
        codes, scale = linear(name, weights, config)
        got = dequantize(got, tensor.tensor_type).reshape(codes.shape)
        return bool((got == codes * np.float32(np.float16(scale))).all()), f"scale {scale:.9g}"
    if tensor.tensor_type == Type.F32:
        return bool((got == w).all()), ""
    got = dequantize(got, tensor.tensor_type).reshape(w.shape)
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


def check_vocabulary(field, config, tokenizer):
    tokens = {t: i for t, i in tokenizer["model"]["vocab"].items()} | {t["content"]: t["id"] for t in tokenizer["added_tokens"]}
    bad, stored = [], field("tokenizer.ggml.tokens")
    if len(stored) != config["vocab_size"] or any(stored[i] != t for t, i in tokens.items()):
        bad.append("tokenizer.ggml.tokens differ")
    if tokenizer["model"].get("byte_fallback"):
        return bad + ([] if field("tokenizer.ggml.model") == "llama" else ["tokenizer.ggml.model is not llama"])
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    if field("tokenizer.ggml.model") != "gpt2" or field("tokenizer.ggml.merges") != merges:
        bad.append("tokenizer.ggml.merges differ")
    special = {t["id"]: 3 if t["special"] else 4 for t in tokenizer["added_tokens"]}
    used = set(tokens.values())
    if field("tokenizer.ggml.token_type") != [special.get(i, 1 if i in used else 5) for i in range(config["vocab_size"])]:
        bad.append("tokenizer.ggml.token_type differ")
    return bad


def check_sentencepiece(field, path):
    import sentencepiece
    sp = sentencepiece.SentencePieceProcessor(model_file=path)
    tokens, scores, kinds = (field("tokenizer.ggml." + k) for k in ("tokens", "scores", "token_type"))
    kind = lambda i: 2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 5 if sp.is_unused(i) else None
    wrong = [i for i in range(sp.get_piece_size()) if (tokens[i], scores[i]) != (sp.id_to_piece(i), sp.get_score(i)) or kind(i) not in (None, kinds[i])]
    return [f"token {i} is not the SentencePiece model's" for i in wrong[:5]]


def check_metadata(reader, config):
    field = lambda key: reader.get_field(key).contents()
    arch = field("general.architecture")
    heads = config["num_attention_heads"]
    hd = config.get("head_dim") or config["hidden_size"] // heads
    expected = {
        "general.architecture": "llama" if is_llama(config) else "bitnet-b1.58" if config["hidden_act"] == "relu2" else "bitnet",
        f"{arch}.vocab_size": config["vocab_size"], f"{arch}.context_length": config["max_position_embeddings"],
        f"{arch}.embedding_length": config["hidden_size"], f"{arch}.block_count": config["num_hidden_layers"],
        f"{arch}.feed_forward_length": config["intermediate_size"], f"{arch}.attention.head_count": heads,
        f"{arch}.attention.head_count_kv": config.get("num_key_value_heads", heads), f"{arch}.attention.key_length": hd,
        f"{arch}.attention.value_length": hd, f"{arch}.rope.dimension_count": hd,
    }
    if not is_llama(config):
        expected[f"{arch}.hidden_activation"] = config["hidden_act"]
    for key in ("bos", "eos"):
        value = config.get(f"{key}_token_id")
        if value is not None:
            expected[f"tokenizer.ggml.{key}_token_id"] = value[0] if isinstance(value, list) else value
    bad = [f"{k}: {field(k)!r}, expected {v!r}" for k, v in expected.items() if field(k) != v]
    theta = config.get("rope_theta") or (config.get("rope_parameters") or {}).get("rope_theta")
    for key, value in ((f"{arch}.attention.layer_norm_rms_epsilon", config["rms_norm_eps"]), (f"{arch}.rope.freq_base", theta)):
        if np.float32(field(key)) != np.float32(value):
            bad.append(f"{key}: {field(key)!r}, expected {value!r}")
    return bad


def check_tokenizer(reader, folder, config):
    field, bad = lambda key: reader.get_field(key).contents(), []
    path = os.path.join(folder, "tokenizer.json")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            bad += check_vocabulary(field, config, json.load(f))
    if os.path.exists(os.path.join(folder, "tokenizer.model")):
        bad += check_sentencepiece(field, os.path.join(folder, "tokenizer.model"))
    return bad


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    path, folder = sys.argv[1:]
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    reader, weights = GGUFReader(path), load_checkpoint(folder)
    bad = check_metadata(reader, config) + check_tokenizer(reader, folder, config)
    counts, expected_names = {}, {name for name in weights if not name.endswith(".weight_scale")}
    if config.get("tie_word_embeddings"):
        expected_names.discard("lm_head.weight")
    for tensor in reader.tensors:
        if tensor.name == "rope_freqs.weight":
            wanted = llama3_factors(config, 2 * tensor.n_elements)
            if (np.abs(np.asarray(tensor.data) - wanted) > 2 * np.spacing(wanted)).any():
                bad.append("rope_freqs.weight differs from rope_type llama3's factors")
            continue
        name = hf_name(tensor.name)
        expected_names.discard(name)
        ok, note = compare(tensor, name, weights, config)
        kind = tensor.tensor_type.name
        counts[kind] = counts.get(kind, [0, 0])
        counts[kind][0] += 1
        counts[kind][1] += int(tensor.n_elements)
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
