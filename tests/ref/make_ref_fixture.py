#!/usr/bin/env python3
"""Writes the fixture of ref_fixture_test.cpp: what the NumPy form of the exact mode gives, in bits.

usage: make_ref_fixture.py CONTRACT.py contract.txt
CONTRACT.py: the NumPy definition; its functions are called with inputs that a seed determines (values() here and in values.h), so only
outputs are stored. Each line: op, its parameters, "=", the words of its outputs in hexadecimal. Needs numpy.
"""
import importlib.util, sys
import numpy as np

f32, u64 = np.float32, np.uint64


def random_bits(seed, n):
    with np.errstate(over="ignore"):
        z = (u64((seed << 32) + 1) + np.arange(n, dtype=u64)) * u64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> u64(30))) * u64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> u64(27))) * u64(0x94D049BB133111EB)
        return z ^ (z >> u64(31))


def values(seed, n, scale=1.0, spread=1):
    u = random_bits(seed, n)
    m = (u >> u64(40)).astype(np.int64) - (1 << 23)
    e = -23 - ((u & u64(0xFFFF)) % u64(spread)).astype(np.int64)
    return (np.ldexp(m.astype(np.float64), e).astype(f32) * f32(scale)).astype(f32)


def raw_bytes(seed, n):
    return (random_bits(seed, n) & u64(255)).astype(np.uint8)


spec = importlib.util.spec_from_file_location("contract", sys.argv[1])
c = importlib.util.module_from_spec(spec)
spec.loader.exec_module(c)
out = []


def emit(op, params, *results):
    words = []
    for r in results:
        r = np.atleast_1d(np.asarray(r))
        w = (np.ascontiguousarray(r + f32(0), f32).view(np.uint32) if r.dtype.kind == "f" else r.astype(np.int64) & 0xFFFFFFFF).ravel()
        words += [f"{int(v):x}" for v in w]
    out.append(f"{op} {' '.join(str(p) for p in params)} = {' '.join(words)}\n")


# Primitives.
positive = lambda seed, n: np.abs(values(seed, n, 2.0 ** 40, 80)) + f32(2.0 ** -45)
emit("recip", (1, 48), c.RECIP(positive(1, 48)))
emit("rsqrt", (2, 48), c.RSQRT(positive(2, 48)))
emit("exp2", (3, 48), c.EXP2(values(3, 48, 64.0, 8)))
emit("silu", (4, 48), c.silu(values(4, 48, 128.0, 12)))

# Sums.
for n in (1, 31, 33, 256, 300, 1000):
    x, w = values(n, n, 4.0, 20), values(n + 5000, n, 2.0, 9)
    emit("sums", (n,), c.SUM(x), c.SUM(x * x), c.DOT_ROW(x, w))
for group in (32, 64, 128, 256):
    for n in (1, 3, 8, 21):
        emit("gsum", (group, n), c.GSUM(values(group + n, n, 2.0, 20), group))

# Row ops: 2^scale and spread say how large the values are.
for seed, n, scale, spread in ((10, 5, 0, 1), (11, 300, 0, 12), (12, 257, -20, 3), (13, 64, 50, 4), (14, 700, 0, 30)):
    x, gamma = values(seed, n, 2.0 ** scale, spread), values(seed + 100, n, 2.0)
    x, gamma = c.FL(x), c.FL(gamma)
    q, s = c.QUANT(x, 127, 1e-5)
    emit("quant", (seed, n, scale, spread), q, s, q.sum())
    for eps in (0, 1):
        q, s = c.norm_quant(x[None], gamma, 1e-5 * eps)
        emit("norm_quant", (seed, n, scale, spread, eps), q, s, q.sum())
        emit("norm", (seed, n, scale, spread, eps), c.norm(x[None], gamma, 1e-5 * eps))
    A = 2 ** 11 - 1
    q, s, _ = c.quant_head(x, A)
    emit("quant_head", (seed, n, scale, spread, A), q, s)
x = c.FL(values(15, 64, 2.0 ** -33))
q, s, _ = c.quant_head(x, 4095)
emit("quant_head", (15, 64, -33, 1, 4095), q, s)
# The other branch of norm_quant: gains so small that the normalised row is below 1e-5.
x, gamma = values(16, 100), values(116, 100, 2.0 ** -20)
q, s = c.norm_quant(x[None], gamma, 1e-5)
emit("norm_quant_small", (16, 100), q, s, q.sum())
for seed, n in ((20, 100),):
    g, u = c.FL(values(seed, n, 16.0, 12)), c.FL(values(seed + 100, n, 4.0, 5))
    r = np.where(g > 0, g, f32(0))
    emit("glu_relu2", (seed, n), c.FL(c.FL(r * r) * u))
    emit("glu_silu", (seed, n), c.FL(c.FL(c.silu(g)) * u))
    emit("add", (seed, n), c.FL(g + u))
for pairs in ("halves", "adjacent"):
    x, table = values(30, 3 * 48), values(31, 48)
    y = c.rope(x.reshape(1, 3, 48), table[None, :24], table[None, 24:], pairs)
    emit("rope", (int(pairs == "adjacent"), 3, 48), y)

# Matrices: codes and blocks of random bytes, the f16 scale of every block in a sane range.
N, K = 5, 300
t = raw_bytes(40, N * K).astype(np.int64) % 3 - 1
q, s = c.QUANT(values(41, K), 127, 1e-5)
emit("matmul_ternary", (N, K), c.Ternary(t.reshape(N, K), f32(0.0371)).matmul(q[None], s[None])[0])
for ty, name, block, n_bytes, d_at, K in ((8, "q8_0", 32, 34, 0, 288), (14, "q6_k", 256, 210, 208, 768)):
    b = raw_bytes(42 + ty, N * K // block * n_bytes).reshape(-1, n_bytes)
    b[:, d_at + 1] = 0x20 + (b[:, d_at + 1] & 7)
    m = c.tensor((N, K), ty, b.tobytes(), 0)
    emit("matmul_" + name, (N, K), m.head(values(43, K, 1.0, 6)[None])[0])
    emit("embed_" + name, (N, K), m.rows(np.arange(2)))

# Attention: [T][H][hd], [T][KV][hd]; only the rows of some positions are kept.
for seed, T, H, KV, hd, scale in ((50, 300, 4, 2, 64, 4), (51, 262, 2, 1, 128, 16), (52, 140, 3, 1, 96, 2)):
    q, k, v = (values(seed + 100 * i, T * heads * hd, f).reshape(T, heads, hd) for i, heads, f in ((0, H, scale), (1, KV, 1), (2, KV, 1)))
    k[7], v[9] = k[7] * f32(2.0 ** -40), v[9] * f32(2.0 ** -40)  # heads that become zero
    y = c.attention(c.FL(q), c.FL(k), c.FL(v), hd)
    keep = [p for p in (0, 1, 9, 127, 128, 200, 255, 256, T - 1) if p < T]
    for p in keep:
        emit("attention", (seed, T, H, KV, hd, scale, p), y[p])

with open(sys.argv[2], "w") as f:
    f.writelines(out)
