#!/usr/bin/env python3
"""Writes the seeds of fuzz_model: tiny whole models. usage: make_model_seeds.py OUT_DIR   (Python standard library only)"""
import os, random, struct, sys

U8, U32, F32, BOOL, STRING, ARRAY, I32 = 0, 4, 6, 7, 8, 9, 5


def text(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def kv(key, kind, value):
    if kind == ARRAY:
        element, values = value
        body = struct.pack("<IQ", element, len(values)) + b"".join(
            text(v) if element == STRING else struct.pack({U8: "<B", I32: "<i", F32: "<f"}[element], v) for v in values)
    else:
        body = text(value) if kind == STRING else struct.pack({U32: "<I", F32: "<f", BOOL: "<?"}[kind], value)
    return text(key) + struct.pack("<I", kind) + body


VOCAB = 32


# Tokenizer tables that lie (public attacks on other readers): name -> (type of elements, values) or a single value in their place.
LIES = {
    "scores_of_bytes": ("scores", ARRAY, (U8, [1] * 32)), "scores_too_few": ("scores", ARRAY, (F32, [0.5] * 3)),
    "scores_no_array": ("scores", F32, 0.5), "kinds_of_bytes": ("token_type", ARRAY, (U8, [1] * 32)),
    "kinds_out_of_range": ("token_type", ARRAY, (I32, [2**31 - 1] * 32)), "kinds_too_many": ("token_type", ARRAY, (I32, [1] * 33)),
    "tokens_of_numbers": ("tokens", ARRAY, (I32, list(range(32)))), "tokens_none": ("tokens", ARRAY, (STRING, [])),
    "tokens_alike": ("tokens", ARRAY, (STRING, ["a"] * 32)), "merges_of_numbers": ("merges", ARRAY, (I32, [1, 2])),
    "merges_without_space": ("merges", ARRAY, (STRING, ["on"])), "bos_past_end": ("bos_token_id", U32, 2**32 - 1),
    "bos_text": ("bos_token_id", STRING, "30"), "pre_number": ("pre", U32, 1),
}


def bpe_keys(pre):
    tokens = list("abcdefghijklmnopqrstuvw") + ["\u0120", "\u010a", "1", "2", "on", "\u0120a", "<|user|>", "<|begin|>", "<|end_of_text|>"]
    kinds = [1] * 29 + [4, 3, 3]
    assert len(tokens) == VOCAB == len(kinds)
    keys = [kv("tokenizer.ggml.model", STRING, "gpt2"), kv("tokenizer.ggml.tokens", ARRAY, (STRING, tokens)),
            kv("tokenizer.ggml.token_type", ARRAY, (I32, kinds)), kv("tokenizer.ggml.merges", ARRAY, (STRING, ["o n", "\u0120 a"])),
            kv("tokenizer.ggml.bos_token_id", U32, 30), kv("tokenizer.ggml.eos_token_id", U32, 31), kv("tokenizer.ggml.add_bos_token", BOOL, True)]
    return keys + [kv("tokenizer.ggml.pre", STRING, pre)] if pre else keys


def lying_keys(lie):
    key, kind, value = LIES[lie]
    start = text("tokenizer.ggml." + key)
    return [k for k in bpe_keys("llama-bpe") if not k.startswith(start)] + [kv("tokenizer.ggml." + key, kind, value)]


def spm_keys():
    tokens = ["<unk>", "<s>", "</s>", "<|user|>"] + [f"<0x{byte:02X}>" for byte in (0x0A, 0x20, 0xC3, 0xA9, 0xE2, 0xFF)]
    kinds = [2, 3, 3, 4] + [6] * 6
    pieces = ["\u2581", "o", "n", "c", "e", "u", "p", "a", "t", "i", "m", "on", "\u2581a", "\u2581on", "ce", "\u2581once", "ti", "me", "\u2581t",
              "\u2581time", "a\u2581t", "up"]
    kinds += [5 if piece in ("ce", "\u2581on") else 1 for piece in pieces]
    tokens += pieces
    assert len(tokens) == VOCAB == len(kinds)
    return [kv("tokenizer.ggml.model", STRING, "llama"), kv("tokenizer.ggml.tokens", ARRAY, (STRING, tokens)),
            kv("tokenizer.ggml.scores", ARRAY, (F32, [-float(i // 2) for i in range(VOCAB)])),
            kv("tokenizer.ggml.token_type", ARRAY, (I32, kinds)), kv("tokenizer.ggml.add_space_prefix", BOOL, True),
            kv("tokenizer.ggml.remove_extra_whitespaces", BOOL, True)]


def model(embd_type, arch, tokenizer, width=128, ternary="i2_s"):
    rnd = random.Random(1)
    vocab = VOCAB
    keys = [kv("general.architecture", STRING, arch), kv("general.name", STRING, "seed")]
    for name, value in (("context_length", 8), ("embedding_length", width), ("block_count", 1), ("feed_forward_length", width),
                        ("attention.head_count", 2), ("attention.head_count_kv", 1), ("attention.key_length", 64)):
        keys.append(kv(f"{arch}.{name}", U32, value))
    keys += [kv(f"{arch}.attention.layer_norm_rms_epsilon", F32, 1e-5), kv(f"{arch}.rope.freq_base", F32, 10000.0), *tokenizer]

    def i2s(n):
        data = bytes(sum(rnd.choice((0, 1, 2)) << s for s in (0, 2, 4, 6)) for _ in range(n // 4))
        return data + struct.pack("<f", 0.05) + bytes(28)

    half = lambda n: b"".join(struct.pack("<e", rnd.uniform(-1, 1)) for _ in range(n))
    q8 = lambda n: b"".join(struct.pack("<e", 0.01) + bytes(rnd.randrange(256) for _ in range(32)) for _ in range(n // 32))
    # Blocks of random bytes but for their f16 numbers, which come first: id, elements, bytes, numbers.
    small = {"q4_0": (2, 32, 18, 1), "q4_1": (3, 32, 20, 2), "q5_0": (6, 32, 22, 1), "q5_1": (7, 32, 24, 2), "q4_k": (12, 256, 144, 2), "q5_k": (13, 256, 176, 2)}

    def blocks(n, elements, size, numbers):
        one = lambda: struct.pack(f"<{numbers}e", *([0.01] * numbers)) + bytes(rnd.randrange(256) for _ in range(size - 2 * numbers))
        return b"".join(one() for _ in range(n // elements))

    # Rows with scales of their own, of both signs.
    def iq1_bn(n_in, n_out):
        return b"".join(struct.pack("<e", rnd.choice((0.05, -0.04))) + bytes(rnd.randrange(256) for _ in range(n_in // 64 * 13)) for _ in range(n_out))

    def iq2_bn(n_in, n_out):
        codes = lambda n: bytes(sum(rnd.choice((0, 1, 2)) << s for s in (0, 2, 4, 6)) for _ in range(n))
        return b"".join(struct.pack("<f", rnd.choice((0.05, -0.04))) + codes(n_in // 4) for _ in range(n_out))

    def iq2_bn_r4(n_in, n_out):
        codes = lambda n: bytes(sum(rnd.choice((0, 1, 2)) << s for s in (0, 2, 4, 6)) for _ in range(n))
        return b"".join(struct.pack("<4f", 0.05, -0.04, 0.03, 0.05) + codes(n_in) for _ in range(n_out // 4))

    ternaries = {"i2_s": (36, lambda n_in, n_out: i2s(n_in * n_out)), "iq1_bn": (134, iq1_bn), "iq2_bn": (135, iq2_bn), "iq2_bn_r4": (335, iq2_bn_r4)}
    ones = lambda n: struct.pack(f"<{n}f", *([1.0] * n))
    tensors = [("token_embd.weight", (width, vocab), *((1, half(width * vocab)) if embd_type == "f16" else (8, q8(width * vocab)) if embd_type == "q8_0"
                                                    else (small[embd_type][0], blocks(width * vocab, *small[embd_type][1:]))))]
    ternary_id, ternary_bytes = ternaries[ternary]
    for name, n_in, n_out in (("attn_q", width, 128), ("attn_k", width, 64), ("attn_v", width, 64), ("attn_output", 128, width), ("ffn_gate", width, width),
                              ("ffn_up", width, width), ("ffn_down", width, width)):
        tensors.append((f"blk.0.{name}.weight", (n_in, n_out), ternary_id, ternary_bytes(n_in, n_out)))
    norms = (("attn_norm", width), ("attn_sub_norm", 128), ("ffn_norm", width), ("ffn_sub_norm", width))
    tensors += [(f"blk.0.{name}.weight", (n,), 0, ones(n)) for name, n in norms if arch != "llama" or "sub" not in name]
    tensors.append(("output_norm.weight", (width,), 0, ones(width)))
    if arch == "llama":
        tensors += [("rope_freqs.weight", (32,), 0, struct.pack("<32f", *range(1, 33))), ("output.weight", (width, vocab), 1, half(width * vocab))]
    infos, data = b"", b""
    for name, dims, kind, body in tensors:
        infos += text(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims) + struct.pack("<IQ", kind, len(data))
        data += body + bytes(-len(body) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys) + infos
    return head + bytes(-len(head) % 32) + data


def main():
    os.makedirs(sys.argv[1], exist_ok=True)
    llama3 = bpe_keys("llama-bpe")
    seeds = {
        "relu2_f16": model("f16", "bitnet-b1.58", llama3),
        "silu_q8_0": model("q8_0", "bitnet", llama3),
        "no_pre": model("q8_0", "bitnet-25", bpe_keys(None)),
        "falcon": model("q8_0", "bitnet", bpe_keys("falcon_e")),
        "spm": model("q8_0", "bitnet", spm_keys()),
        "q4_0_iq1_bn": model("q4_0", "bitnet", llama3, ternary="iq1_bn"),
        "q5_1_iq2_bn": model("q5_1", "bitnet-25", llama3, ternary="iq2_bn"),
        "q5_0_iq2_bn_r4": model("q5_0", "bitnet", llama3, ternary="iq2_bn_r4"),
        "q4_1": model("q4_1", "bitnet", llama3),
        "q4_k": model("q4_k", "bitnet", llama3, width=256),
        "q5_k": model("q5_k", "bitnet", llama3, width=256),
        "llama_f16": model("f16", "llama", llama3),
    }
    seeds.update((f"bad_{lie}", model("q8_0", "bitnet", lying_keys(lie))) for lie in LIES)
    for name, seed in seeds.items():
        with open(os.path.join(sys.argv[1], name), "wb") as f:
            f.write(seed)


main()
