#!/usr/bin/env python3
"""Measures `ternion batch` against the bare step, and what reuse of prompts gains.

usage: bench_batch.py --model FILE.gguf --out FILE.json [options]

Rounds, for each number of threads, one program after the other: a bare step of --seqs sequences (`ternion bench -npl`), `ternion batch` with
as many answers at a time, and one after another. Replies have --tokens tokens behind prompts of one word, so that nearly all of the time is
replies; the first step, which computes the prompts, counts against the batch. Then --prefix-requests requests whose prompts share
--prefix-tokens tokens, and as many of them as --prefix-plain says without reuse. Then the memory of --short requests against a tenth of them.
The file is written after each part. Figures are medians over the rounds; shares compare runs of the same round.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time


def run(command):
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise SystemExit(f"bench_batch: {' '.join(command)}: {result.stderr.strip()}")
    return json.loads(result.stdout)


def write_requests(path, n, body):
    with open(path, "w", encoding="utf-8") as file:
        for i in range(n):
            line = {"custom_id": str(i), "method": "POST", "url": "/v1/completions", "body": body(i)}
            file.write(json.dumps(line) + "\n")


def batch(args, folder, n, body, *flags):
    requests, results = os.path.join(folder, "requests.jsonl"), os.path.join(folder, "results.jsonl")
    write_requests(requests, n, body)
    summary = run([args.program, "batch", "-m", args.model, "-i", requests, "-o", results, "--overwrite", "--json", "-q",
                   "--skip", "off", *flags])
    if summary["lines"]["answered"] != n:
        raise SystemExit(f"bench_batch: {n - summary['lines']['answered']} of {n} requests failed")
    return summary


def bare_step(args, n_seqs, threads):
    tests = run([args.program, "bench", "-m", args.model, "-p", "0", "-n", str(args.tokens), "-npl", str(n_seqs), "-t", str(threads),
                 "-r", "1", "--no-limits", "-o", "json"])
    return tests[0]["avg_ts"]


def reply_body(args, **more):
    return lambda i: {"prompt": [[300 + i]], "max_tokens": args.tokens, "ignore_eos": True, "seed": i, **more}


def measure_steps(args, folder):
    out = []
    kinds = {"greedy": {"temperature": 0}, "top-k 40": {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05},
             "temperature 1": {}}
    for threads in args.threads:
        rounds = []
        for _ in range(args.rounds):
            r = {"bare": bare_step(args, args.seqs, threads)}
            for name, sampling in kinds.items():
                s = batch(args, folder, args.seqs, reply_body(args, **sampling), "-np", str(args.seqs), "-t", str(threads), "-c", "512")
                r[name] = s["generated_per_second"]
                r[name + " scheduling"] = s["schedule_share"]
            s = batch(args, folder, 2, reply_body(args, temperature=0), "-np", "1", "-t", str(threads), "-c", "512")
            r["one after another"] = s["generated_per_second"]
            r["bare after"] = bare_step(args, args.seqs, threads)
            rounds.append(r)
            print(f"{threads} threads: " + "  ".join(f"{k} {v:.4g}" for k, v in r.items()), flush=True)
        median = {k: statistics.median(r[k] for r in rounds) for k in rounds[0]}
        shares = {k: statistics.median(r[k] / ((r["bare"] + r["bare after"]) / 2) for r in rounds) for k in kinds}
        out.append({"threads": threads, "rounds": rounds, "median": median, "share_of_bare_step": shares,
                    "ratio_to_one_after_another": statistics.median(r["greedy"] / r["one after another"] for r in rounds)})
    return out


def measure_prefix(args, folder):
    common = [100 + (i * 37) % 3000 for i in range(args.prefix_tokens)]
    def body(i):
        return {"prompt": [common + [200 + i, 300, 400 + i % 7]], "max_tokens": 4, "ignore_eos": True, "temperature": 0}
    flags = ["-np", str(args.seqs), "-t", str(args.threads[-1]), "-c", str(args.prefix_tokens + 64)]
    reused = batch(args, folder, args.prefix_requests, body, *flags)
    plain = batch(args, folder, args.prefix_plain, body, *flags, "--no-prefix-reuse")
    per_request = [reused["seconds"] / args.prefix_requests, plain["seconds"] / args.prefix_plain]
    return {"requests": args.prefix_requests, "requests_without_reuse": args.prefix_plain, "common_tokens": args.prefix_tokens,
            "seconds_a_request": per_request[0], "seconds_a_request_without": per_request[1], "faster": per_request[1] / per_request[0],
            "prompt_computed": reused["tokens"]["prompt_computed"], "prompt_reused": reused["tokens"]["prompt_reused"]}


def measure_growth(args, folder):
    def body(i):
        return {"prompt": f"Once upon a time {i}", "max_tokens": 4}
    model, args.model = args.model, args.small_model
    peaks = {n: batch(args, folder, n, body, "-np", str(args.seqs))["memory"]["peak_rss_bytes"] for n in (args.short // 10, args.short)}
    args.model = model
    return {"peak_rss_bytes": peaks, "model": os.path.basename(args.small_model)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", default="build/release/ternion")
    parser.add_argument("--model", required=True)
    parser.add_argument("--small-model", default="models/ternion-tales-6m.i2_s.gguf")
    parser.add_argument("--out", required=True)
    parser.add_argument("--threads", type=lambda text: [int(t) for t in text.split(",")], default=[1, 2])
    parser.add_argument("--seqs", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prefix-requests", type=int, default=1000)
    parser.add_argument("--prefix-plain", type=int, default=32)
    parser.add_argument("--prefix-tokens", type=int, default=512)
    parser.add_argument("--short", type=int, default=10000)
    parser.add_argument("--parts", default="steps,prefix,growth")
    args = parser.parse_args()
    result = {"model": os.path.basename(args.model), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "arguments": sys.argv[1:]}
    parts = {"steps": measure_steps, "prefix": measure_prefix, "growth": measure_growth}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.parts.split(","):
            result[name] = parts[name](args, folder)
            with open(args.out, "w", encoding="utf-8") as file:
                json.dump(result, file, indent=2)
                file.write("\n")
            print(name + ": " + json.dumps({k: v for k, v in result[name].items()} if isinstance(result[name], dict) else "done"), flush=True)


if __name__ == "__main__":
    main()
