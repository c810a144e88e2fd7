#!/usr/bin/env python3
"""Writes the fixture of eval_stats_test.cpp: llama-perplexity's figures by their textbook formulas, in NumPy's long double: they subtract large sums.

usage: make_eval_fixture.py tests/data/eval/stats.txt
The rows are determined by a seed (values() here and in ref/values.h), so only results are stored: a line "case NAME SEED N_ROWS N_VOCAB SPREAD
NOISE" and then a line for each field of tn_eval_summary. Needs numpy.
"""
import sys
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


def log_softmax(x):
    x = x.astype(np.longdouble)
    shifted = x - x.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def mean_error(x):
    return np.sqrt(x.var() / (len(x) - 1))


def covariance_of_means(a, b):
    return ((a * b).mean() - a.mean() * b.mean()) / (len(a) - 1)


def figures(logits, base, targets):
    rows = np.arange(len(targets))
    log_q, log_b = log_softmax(logits), log_softmax(base)
    nll, nll_base = -log_q[rows, targets], -log_b[rows, targets]
    out = {"nll": nll.mean(), "nll_error": mean_error(nll)}
    ppl, ppl_base = np.exp(nll.mean()), np.exp(nll_base.mean())
    out["ppl"], out["ppl_error"] = ppl, ppl * mean_error(nll)
    out["ppl_base"], out["ppl_base_error"] = ppl_base, ppl_base * mean_error(nll_base)
    cov = covariance_of_means(nll, nll_base)
    out["cor_ln_ppl"] = cov / (mean_error(nll) * mean_error(nll_base))
    out["ln_ppl_ratio"] = nll.mean() - nll_base.mean()
    out["ln_ppl_ratio_error"] = np.sqrt(mean_error(nll)**2 + mean_error(nll_base)**2 - 2 * cov)
    out["ppl_ratio"] = ppl / ppl_base
    out["ppl_ratio_error"] = out["ppl_ratio"] * out["ln_ppl_ratio_error"]
    out["ppl_diff"] = ppl - ppl_base
    out["ppl_diff_error"] = np.sqrt(out["ppl_error"]**2 + out["ppl_base_error"]**2 - 2 * ppl * ppl_base * cov)
    kld = (np.exp(log_b) * (log_b - log_q)).sum(axis=1)
    out["mean_kld"], out["mean_kld_error"] = kld.mean(), mean_error(kld)
    out["max_kld"], out["min_kld"], out["kld_median"] = kld.max(), kld.min(), np.median(kld)
    for name, percent in (("p999", 99.9), ("p99", 99), ("p95", 95), ("p90", 90), ("p10", 10), ("p05", 5), ("p01", 1), ("p001", 0.1)):
        out["kld_" + name] = np.percentile(kld, percent)
    dp = np.exp(-nll) - np.exp(-nll_base)
    out["mean_dp"], out["mean_dp_error"] = dp.mean(), mean_error(dp)
    out["max_dp"], out["min_dp"], out["dp_median"] = dp.max(), dp.min(), np.median(dp)
    for name, percent in (("p999", 99.9), ("p99", 99), ("p95", 95), ("p90", 90), ("p75", 75), ("p25", 25), ("p10", 10), ("p05", 5), ("p01", 1),
                          ("p001", 0.1)):
        out["dp_" + name] = np.percentile(dp, percent)
    out["rms_dp"] = np.sqrt((dp**2).mean())
    out["rms_dp_error"] = 0.5 / out["rms_dp"] * mean_error(dp**2)
    same = logits.argmax(axis=1) == base.argmax(axis=1)
    out["same_top"] = same.mean()
    out["same_top_error"] = np.sqrt(same.mean() * (1 - same.mean()) / (len(targets) - 1))
    return out


with open(sys.argv[1], "w", encoding="utf-8") as file:
    for name, seed, n_rows, n_vocab, spread, noise in (("quantised", 1, 300, 1000, 4, 0.25), ("close", 2, 101, 257, 2, 1e-3),
                                                       ("far", 3, 40, 37, 8, 6.0), ("two", 4, 2, 5, 1, 1.0)):
        base = values(seed, n_rows * n_vocab, 4.0, spread).reshape(n_rows, n_vocab)
        logits = (base + values(seed + 100, n_rows * n_vocab, noise).reshape(n_rows, n_vocab)).astype(f32)
        targets = (random_bits(seed + 200, n_rows) % u64(n_vocab)).astype(np.int64)
        print("case", name, seed, n_rows, n_vocab, spread, noise, file=file)
        for field, value in figures(logits, base, targets).items():
            print(field, repr(float(value)), file=file)
