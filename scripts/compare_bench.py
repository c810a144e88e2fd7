#!/usr/bin/env python3
"""Compares two runs of ternion bench: for each test, whether B is faster than A, slower, or no different beyond noise.

usage: compare_bench.py [--min-effect PERCENT] [--fail-on-slower] A B
A, B: files of `ternion bench -o json` or `-o jsonl`, or of scripts/bench_suite.py. Results of the same test are taken together.

A test is faster or slower where both hold: the medians differ by PERCENT (2) or more, and the samples differ beyond chance (two-sided
Mann-Whitney test, p below 0.05: exact up to 200000 ways to share the samples out, beyond that by the normal approximation with ties). Four
samples on each side are the least that can show a difference; fewer are noise whatever they say.
What makes files hard to compare is said on standard error: another machine, model, level, layout or limit.
Exit status: 0; with --fail-on-slower 1 where a test is slower; 2 where there is nothing to compare.
"""
import argparse
import itertools
import json
import math
import sys

ALPHA = 0.05
EXACT_MAX = 200000
KEY = ("n_prompt", "n_gen", "n_depth", "n_pl", "n_threads", "n_batch", "n_ubatch")
SAME = (
    ("cpu_info", "machine"),
    ("model_type", "model"),
    ("model_size", "size of the model's file"),
    ("isa", "level"),
    ("ternary_layout", "ternary layout"),
    ("head_layout", "layout of the head"),
    ("backends", "backend"),
)


class Unreadable(Exception):
    """A file that holds no results; the message says why."""


def load(path):
    """Returns the results in a file: an array, lines, or an object with "results"."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path}: {getattr(error, 'strerror', None) or 'not text'}") from error
    try:
        data = json.loads(text)
    except json.JSONDecodeError:
        try:
            data = [json.loads(line) for line in text.splitlines() if line.strip()]
        except json.JSONDecodeError as error:
            raise Unreadable(f"{path}: neither JSON nor lines of JSON ({error})") from error
    if isinstance(data, dict):
        data = data.get("results", [data])
    results = [r for r in data if isinstance(r, dict) and r.get("samples_ts")] if isinstance(data, list) else []
    if not results:
        raise Unreadable(f"{path}: no result with samples_ts: make it with ternion bench -o json")
    for r in results:
        if not all(isinstance(x, (int, float)) and math.isfinite(x) and x > 0 for x in r["samples_ts"]):
            raise Unreadable(f"{path}: samples_ts must be numbers above 0")
    return results


def name_of(result):
    """The test as ternion bench names it, with the threads."""
    n_prompt, n_gen = result.get("n_prompt", 0), result.get("n_gen", 0)
    name = "+".join(part for part in (f"pp{n_prompt}" if n_prompt else "", f"tg{n_gen}" if n_gen else "") if part) or "test"
    if result.get("n_depth"):
        name += f" @ d{result['n_depth']}"
    if result.get("n_pl", 1) > 1:
        name += f" pl{result['n_pl']}"
    return f"{name} -t {result.get('n_threads', '?')}"


def tests_of(results):
    """{key: (name, samples)}; earlier versions of the program know no n_pl."""
    tests = {}
    for result in results:
        key = tuple(result.get(field, 1 if field == "n_pl" else 0) for field in KEY)
        tests.setdefault(key, (name_of(result), []))[1].extend(float(x) for x in result["samples_ts"])
    return tests


def median(values):
    ordered, n = sorted(values), len(values)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2


def midranks(values):
    """Ranks from 1; equal values share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    i = 0
    while i < len(order):
        j = i
        while j + 1 < len(order) and values[order[j + 1]] == values[order[i]]:
            j += 1
        for k in range(i, j + 1):
            ranks[order[k]] = (i + j) / 2 + 1
        i = j + 1
    return ranks


def mann_whitney_p(a, b):
    """Two-sided p that a and b are samples of the same distribution."""
    n, m = len(a), len(b)
    ranks = midranks(list(a) + list(b))
    mean = n * (n + m + 1) / 2
    distance = abs(sum(ranks[:n]) - mean)
    if math.comb(n + m, n) <= EXACT_MAX:
        total = extreme = 0
        for chosen in itertools.combinations(ranks, n):
            total += 1
            extreme += abs(sum(chosen) - mean) >= distance - 1e-9
        return extreme / total
    ties = sum(t**3 - t for t in (ranks.count(r) for r in set(ranks)))
    variance = n * m / 12 * ((n + m + 1) - ties / ((n + m) * (n + m - 1)))
    if variance <= 0:
        return 1.0
    return math.erfc(max(distance - 0.5, 0) / math.sqrt(2 * variance))


def verdict(a, b, min_effect):
    """("faster" | "slower" | "noise", ratio of B's median to A's, p)."""
    ratio, p = median(b) / median(a), mann_whitney_p(a, b)
    differs = p < ALPHA and (ratio >= 1 + min_effect or ratio <= 1 / (1 + min_effect))
    return ("faster" if ratio > 1 else "slower") if differs else "noise", ratio, p


def best_limit(results, kind):
    return max((x.get("best") or 0 for r in results for x in r.get("limits") or [] if x.get("limit") == kind), default=0)


def warnings_of(a, b):
    """What keeps the files from being compared as they are."""
    lines = []
    for field, what in SAME:
        of_a, of_b = ({str(r[field]) for r in results if r.get(field) not in (None, "")} for results in (a, b))
        if of_a and of_b and of_a != of_b:
            lines.append(f"{what} differs: {', '.join(sorted(of_a))} and {', '.join(sorted(of_b))}")
    for kind, what in (("memory_read", "memory"), ("int8_dot", "int8")):
        of_a, of_b = best_limit(a, kind), best_limit(b, kind)
        if of_a and of_b and abs(of_b / of_a - 1) > 0.1:
            lines.append(f"the {what} limit was measured as {of_a:.4g} and {of_b:.4g} a second: compare shares, or measure again")
    return lines


def compare(path_a, path_b, min_effect, out=sys.stdout, err=sys.stderr):
    """Prints the table; returns the verdicts."""
    a, b = load(path_a), load(path_b)
    tests_a, tests_b = tests_of(a), tests_of(b)
    for line in warnings_of(a, b):
        print(f"compare_bench: {line}", file=err)
    for tests, others, path in ((tests_a, tests_b, path_a), (tests_b, tests_a, path_b)):
        for key in tests:
            if key not in others:
                print(f"compare_bench: only {path} has {tests[key][0]}", file=err)
    verdicts = []
    for key, (name, of_a) in tests_a.items():
        if key not in tests_b:
            continue
        of_b = tests_b[key][1]
        what, ratio, p = verdict(of_a, of_b, min_effect)
        few = " (too few samples to tell)" if 2 / math.comb(len(of_a) + len(of_b), len(of_a)) >= ALPHA else ""
        print(f"{name:28} {median(of_a):10.2f} -> {median(of_b):10.2f} t/s  x{ratio:.3f}  p {p:.3f}  {what}{few}", file=out)
        verdicts.append(what)
    if not verdicts:
        raise Unreadable("the files have no test in common")
    return verdicts


def main():
    parser = argparse.ArgumentParser(usage=__doc__, add_help=True)
    parser.add_argument("--min-effect", type=float, default=2.0)
    parser.add_argument("--fail-on-slower", action="store_true")
    parser.add_argument("a")
    parser.add_argument("b")
    options = parser.parse_args()
    if not 0 <= options.min_effect < 1000:
        parser.error("--min-effect is a percentage, 0 or more")
    try:
        verdicts = compare(options.a, options.b, options.min_effect / 100)
    except Unreadable as error:
        print(f"compare_bench: {error}", file=sys.stderr)
        return 2
    return 1 if options.fail_on_slower and "slower" in verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
