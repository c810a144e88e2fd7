#!/usr/bin/env python3
"""Makes tests/data/golden/oracle_llama.bin: what a Llama with packed ternary weights says, in real numbers (float64), by NumPy alone.

usage: make_llama_oracle.py HF_DIR OUT.bin
HF_DIR: the checkpoint that llama_oracle_test.cpp writes into its build folder. It is read as transformers reads it: RoPE over halves with
rope_type llama3's rule applied to the inverse frequencies, packed rows taken apart by their two-bit fields, weight_scale by linear_class,
activations rounded to int8 per token, no norms but Llama's own. It shares no code with ternion and knows nothing of GGUF.
OUT.bin, little-endian: u32 n_ids, u32 n_vocab; i32 ids[n_ids]; f32 log-probabilities [n_ids][n_vocab].
"""
import json, math, struct, sys
import numpy as np

N_IDS = 150


def tensors(path):
    data = open(path, "rb").read()
    n, = struct.unpack_from("<Q", data)
    for name, t in json.loads(data[8:8 + n]).items():
        a, b = t["data_offsets"]
        raw = data[8 + n + a:8 + n + b]
        if t["dtype"] == "BF16":
            v = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        else:
            v = np.frombuffer(raw, {"U8": "u1", "F32": "<f4"}[t["dtype"]])
        yield name, v.reshape(t["shape"])


def inverse_frequencies(c, d):
    r, base = c["rope_scaling"], c["rope_theta"]
    out = []
    for i in range(0, d, 2):
        f = base ** (-i / d)
        wave = 2 * math.pi / f
        if wave > r["original_max_position_embeddings"] / r["low_freq_factor"]:
            f /= r["factor"]
        elif wave >= r["original_max_position_embeddings"] / r["high_freq_factor"]:
            s = (r["original_max_position_embeddings"] / wave - r["low_freq_factor"]) / (r["high_freq_factor"] - r["low_freq_factor"])
            f = (1 - s) * f / r["factor"] + s * f
        out.append(f)
    return np.array(out)


def main():
    folder, out = sys.argv[1:3]
    c = json.load(open(f"{folder}/config.json"))
    W = dict(tensors(f"{folder}/model.safetensors"))
    H, KV, D, eps = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"], c["rms_norm_eps"]
    divides = c["quantization_config"].get("linear_class", "bitlinear") == "bitlinear"
    ids, z = [], 77
    for _ in range(N_IDS):
        z = (z * 1103515245 + 12345) & 0x7fffffff
        ids.append((z >> 8) % c["vocab_size"])
    ids = np.array(ids)

    def norm(x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * W[name]

    def bit(x, name):
        p = W[name]
        t = np.concatenate([(p >> (2 * i) & 3).astype(np.float64) - 1 for i in range(4)])
        v = float(W[name + "_scale"][0])
        s = 127 / np.maximum(np.abs(x).max(-1, keepdims=True), 1e-5)
        y = np.clip(np.rint(x * s), -128, 127) @ t.T / s
        return y / v if divides else y * v

    angle = np.arange(N_IDS)[:, None] * inverse_frequencies(c, D)[None]
    cos, sin = np.tile(np.cos(angle), 2)[:, None], np.tile(np.sin(angle), 2)[:, None]

    def rope(x):
        return x * cos + np.concatenate([-x[..., D // 2:], x[..., :D // 2]], -1) * sin

    x = W["model.embed_tokens.weight"][ids]
    mask = np.triu(np.full((N_IDS, N_IDS), -np.inf), 1)
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        h = norm(x, p + "input_layernorm.weight")
        q = rope(bit(h, p + "self_attn.q_proj.weight").reshape(N_IDS, H, D))
        k = rope(bit(h, p + "self_attn.k_proj.weight").reshape(N_IDS, KV, D)).repeat(H // KV, 1)
        v = bit(h, p + "self_attn.v_proj.weight").reshape(N_IDS, KV, D).repeat(H // KV, 1)
        s = np.einsum("ihd,jhd->hij", q, k) / math.sqrt(D) + mask
        s = np.exp(s - s.max(-1, keepdims=True))
        y = np.einsum("hij,jhd->ihd", s / s.sum(-1, keepdims=True), v).reshape(N_IDS, H * D)
        x = x + bit(y, p + "self_attn.o_proj.weight")
        h = norm(x, p + "post_attention_layernorm.weight")
        g = bit(h, p + "mlp.gate_proj.weight")
        x = x + bit(g / (1 + np.exp(-g)) * bit(h, p + "mlp.up_proj.weight"), p + "mlp.down_proj.weight")
    z = norm(x, "model.norm.weight") @ W["lm_head.weight"].T
    z -= z.max(-1, keepdims=True)
    z -= np.log(np.exp(z).sum(-1, keepdims=True))
    with open(out, "wb") as f:
        f.write(np.array([N_IDS, z.shape[1]], "<u4").tobytes())
        f.write(ids.astype("<i4").tobytes())
        f.write(z.astype("<f4").tobytes())
    p = np.exp(z)
    print(f"entropy {-(p * z).sum(-1).mean():.3f} nats of {math.log(z.shape[1]):.3f}")


main()
