#!/usr/bin/env python3
"""Runs contract.py, the NumPy twin of the exact mode, with tensor types that it does not read itself.

usage: TN_CONTRACT=CONTRACT.PY contract_types.py MODEL IDS.txt LOGITS [...]      (arguments as contract.py's; make_golden.py takes it in its place)
Q4_0 is Q8_0 with codes -8..7; Q4_1, Q5_0, Q5_1, Q4_K and Q5_K are dequantised by their formats' formulas and are dense from there on;
IQ1_BN, IQ2_BN and IQ2_BN_R4 are ternary with a scale for each row, whose sign goes to the codes. Needs numpy and xxhash.
"""
import importlib.util, os, sys
import numpy as np

spec = importlib.util.spec_from_file_location("contract", os.environ["TN_CONTRACT"])
contract = importlib.util.module_from_spec(spec)
spec.loader.exec_module(contract)
plain_tensor, f32 = contract.tensor, np.float32


def half(b, at):                                        # [n, bytes] -> [n, 1]
    return b[:, at:at + 2].copy().view("<f2").astype(f32)


def nibbles(b):                                         # low ones of 16 bytes, then high ones
    return np.concatenate([b & 15, b >> 4], -1).astype(np.int64)


def fifths(b, at):                                      # 32 bits -> [n, 32] of 0 or 16
    return np.unpackbits(b[:, at:at + 4], axis=1, bitorder="little").astype(np.int64) << 4


def k_quants(b, fifth):
    s, sub = b[:, 4:16].astype(np.int64), []
    codes = b[:, 48 if fifth else 16:].reshape(-1, 4, 32)
    for j in range(8):
        sc = s[:, j] & 63 if j < 4 else (s[:, j + 4] & 15) | (s[:, j - 4] >> 6) << 4
        mn = s[:, j + 4] & 63 if j < 4 else (s[:, j + 4] >> 4) | (s[:, j] >> 6) << 4
        q = (codes[:, j // 2] >> (4 * (j % 2)) & 15).astype(np.int64)
        if fifth:
            q += (b[:, 16:48] >> j & 1).astype(np.int64) << 4
        sub.append(((half(b, 0) * sc[:, None].astype(f32)) * q.astype(f32)) - half(b, 2) * mn[:, None].astype(f32))
    return np.concatenate(sub, -1)


def rows_of(codes, scales):                             # codes [N, K], scales [N] with signs
    return contract.Ternary(codes * np.where(scales < 0, -1, 1)[:, None], np.abs(scales))


def thirds(b, factors):                                 # [..., n] bytes -> [..., n, len(factors)] of -1, 0, 1
    return ((b[..., None].astype(np.int64) * np.array(factors)) % 256 * 3 >> 8) - 1


def bn(shape, ty, get):
    N, K = shape
    if ty == 134:
        b = get(N * (2 + 13 * K // 64)).reshape(N, -1)
        d, b = half(b, 0)[:, 0], b[:, 2:].reshape(N, -1, 13)
        fifteen = thirds(b[..., :12], [81, 27, 9, 3, 1]).reshape(N, -1, 4, 15)
        last = thirds(b[..., 12], [81, 27, 9, 3])[..., None]
        return rows_of(np.concatenate([fifteen, last], -1).reshape(N, K), d)
    fields = np.array([0, 2, 4, 6], np.uint8)
    if ty == 135:
        b = get(N * (4 + K // 4)).reshape(N, -1)
        codes = (b[:, 4:].reshape(N, -1, 1, 16) >> fields[:, None] & 3).astype(np.int64) - 1
        return rows_of(contract.checked(codes).reshape(N, K), b[:, :4].copy().view("<f4")[:, 0])
    b = get(N * (4 + K // 4)).reshape(N // 4, -1)
    d = b[:, :16].copy().view("<f4").reshape(N)
    v = b[:, 16:].reshape(N // 4, -1, 4, 4, 1, 4)       # [groups, blocks, l, row, field, i]
    codes = (v >> fields[:, None] & 3).astype(np.int64) - 1
    return rows_of(contract.checked(codes).transpose(0, 3, 1, 2, 4, 5).reshape(N, K), d)


def tensor(shape, ty, f, off):
    n, K = int(np.prod(shape)), shape[-1]
    get = lambda count: np.frombuffer(f, "u1", count, off)
    blocks = lambda elements, size: get(n // elements * size).reshape(-1, size)
    if ty == 2:
        b = blocks(32, 18)
        return contract.Q8(half(b, 0).reshape(-1, K // 32), (nibbles(b[:, 2:]) - 8).reshape(-1, K // 32, 32))
    if ty == 3:
        b = blocks(32, 20)
        return (half(b, 0) * nibbles(b[:, 4:]).astype(f32) + half(b, 2)).reshape(shape)
    if ty == 6:
        b = blocks(32, 22)
        return (half(b, 0) * (nibbles(b[:, 6:]) + fifths(b, 2) - 16).astype(f32)).reshape(shape)
    if ty == 7:
        b = blocks(32, 24)
        return (half(b, 0) * (nibbles(b[:, 8:]) + fifths(b, 4)).astype(f32) + half(b, 2)).reshape(shape)
    if ty in (12, 13):
        return k_quants(blocks(256, 144 if ty == 12 else 176), ty == 13).reshape(shape)
    if ty in (134, 135, 335):
        return bn(shape, ty, get)
    return plain_tensor(shape, ty, f, off)


contract.tensor = tensor
contract.main()
