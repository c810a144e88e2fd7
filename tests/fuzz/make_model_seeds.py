#!/usr/bin/env python3
"""Writes the seeds of fuzz_model: tiny whole models. usage: make_model_seeds.py OUT_DIR   (Python standard library only)"""
import os, random, struct, sys

U32, F32, BOOL, STRING, ARRAY, I32 = 4, 6, 7, 8, 9, 5


def text(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def kv(key, kind, value):
    if kind == ARRAY:
        element, values = value
        body = struct.pack("<IQ", element, len(values)) + b"".join(text(v) if element == STRING else struct.pack("<i", v) for v in values)
    else:
        body = text(value) if kind == STRING else struct.pack({U32: "<I", F32: "<f", BOOL: "<?"}[kind], value)
    return text(key) + struct.pack("<I", kind) + body


def model(embd_type, arch, pre=True):
    rnd = random.Random(1)
    width, vocab = 128, 32
    tokens = list("abcdefghijklmnopqrstuvw") + ["\u0120", "\u010a", "1", "2", "on", "\u0120a", "<|user|>", "<|begin|>", "<|end_of_text|>"]
    kinds = [1] * 29 + [4, 3, 3]
    assert len(tokens) == vocab == len(kinds)
    keys = [kv("general.architecture", STRING, arch), kv("general.name", STRING, "seed")]
    for name, value in (("context_length", 8), ("embedding_length", width), ("block_count", 1), ("feed_forward_length", width),
                        ("attention.head_count", 2), ("attention.head_count_kv", 1), ("attention.key_length", 64)):
        keys.append(kv(f"{arch}.{name}", U32, value))
    keys += [kv(f"{arch}.attention.layer_norm_rms_epsilon", F32, 1e-5), kv(f"{arch}.rope.freq_base", F32, 10000.0),
             kv("tokenizer.ggml.model", STRING, "gpt2"), kv("tokenizer.ggml.tokens", ARRAY, (STRING, tokens)),
             kv("tokenizer.ggml.token_type", ARRAY, (I32, kinds)), kv("tokenizer.ggml.merges", ARRAY, (STRING, ["o n", "\u0120 a"])),
             kv("tokenizer.ggml.bos_token_id", U32, 30), kv("tokenizer.ggml.eos_token_id", U32, 31), kv("tokenizer.ggml.add_bos_token", BOOL, True)]
    if pre:
        keys.append(kv("tokenizer.ggml.pre", STRING, "llama-bpe"))

    def i2s(n):
        data = bytes(sum(rnd.choice((0, 1, 2)) << s for s in (0, 2, 4, 6)) for _ in range(n // 4))
        return data + struct.pack("<f", 0.05) + bytes(28)

    half = lambda n: b"".join(struct.pack("<e", rnd.uniform(-1, 1)) for _ in range(n))
    q8 = lambda n: b"".join(struct.pack("<e", 0.01) + bytes(rnd.randrange(256) for _ in range(32)) for _ in range(n // 32))
    ones = lambda n: struct.pack(f"<{n}f", *([1.0] * n))
    tensors = [("token_embd.weight", (width, vocab), *((1, half(width * vocab)) if embd_type == "f16" else (8, q8(width * vocab))))]
    for name, n_out in (("attn_q", 128), ("attn_k", 64), ("attn_v", 64), ("attn_output", 128), ("ffn_gate", 128), ("ffn_up", 128), ("ffn_down", 128)):
        tensors.append((f"blk.0.{name}.weight", (width, n_out), 36, i2s(width * n_out)))
    tensors += [(f"blk.0.{name}.weight", (width,), 0, ones(width)) for name in ("attn_norm", "attn_sub_norm", "ffn_norm", "ffn_sub_norm")]
    tensors.append(("output_norm.weight", (width,), 0, ones(width)))
    infos, data = b"", b""
    for name, dims, kind, body in tensors:
        infos += text(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims) + struct.pack("<IQ", kind, len(data))
        data += body + bytes(-len(body) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys) + infos
    return head + bytes(-len(head) % 32) + data


def main():
    os.makedirs(sys.argv[1], exist_ok=True)
    for name, seed in (("relu2_f16", model("f16", "bitnet-b1.58")), ("silu_q8_0", model("q8_0", "bitnet")), ("no_pre", model("q8_0", "bitnet-25", False))):
        with open(os.path.join(sys.argv[1], name), "wb") as f:
            f.write(seed)


main()
