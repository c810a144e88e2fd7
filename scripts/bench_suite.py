#!/usr/bin/env python3
"""Measures what docs/PERFORMANCE.md sets as targets, in rounds, and says which of them are met.

usage: bench_suite.py [options] [--models MODEL,...] --out FILE.json
MODEL: a .gguf file, or SHAPE[:TYPE[:EMBD]] of `ternion synth` (2b-4t:i2_s:q6_k), which is made in --folder where it is not there yet.

Each round runs, for each model, set of flags and number of threads: a prompt and a reply; sequences decoded together; in the first
--depth-rounds rounds a reply behind --depth positions. Every run of ternion bench measures the machine's limits anew, so shares belong to the
minute in which they were measured. Targets are judged by the median over the rounds, of the first set of flags; other sets stand beside.
A second set: --set 'plain=--skip off' --set 'skip=--skip on'.
The file is written after each round, so a run that is stopped leaves what it measured. scripts/compare_bench.py reads it.
Exit status: 0; 1 where a target is missed and --fail-on-missed is given; 2 where something could not be run.
"""
import argparse
import datetime
import json
import os
import re
import shlex
import subprocess
import sys
import time

TYPE, EMBD = "i2_s", "q6_k"


class Failed(Exception):
    """A run that did not work; the message says which."""


def run_json(command):
    """Results of a command of ternion bench."""
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise Failed(f"{shlex.join(command)}: {run.stderr.strip() or f'exit status {run.returncode}'}")
    try:
        return json.loads(run.stdout)
    except json.JSONDecodeError as error:
        raise Failed(f"{shlex.join(command)}: its output is not JSON ({error})") from error


def model_path(options, spec):
    """The file of a model, made where it is missing."""
    if spec.endswith(".gguf"):
        return spec
    shape, kind, embd = (spec.split(":") + ["", ""])[:3]
    kind, embd = kind or TYPE, embd or EMBD
    path = os.path.join(options.folder, f"{shape}-{kind}-{embd}.gguf")
    if not os.path.exists(path):
        os.makedirs(options.folder, exist_ok=True)
        print(f"bench_suite: making {path}", file=sys.stderr)
        command = [options.program, "synth", shape, path, "--type", kind, "--embd", embd, "-q"]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise Failed(f"{shlex.join(command)}: {run.stderr.strip()}")
    return path


def commands_of(options, path, flags, n_threads, with_depth):
    """The runs of a round for one model, set and number of threads."""
    base = [options.program, "bench", "-m", path, "-o", "json", "-t", str(n_threads), "-r", str(options.repetitions), *flags]
    commands = [base + ["-p", str(options.pp), "-n", str(options.tg)]]
    if options.npl:
        commands.append(base + ["-p", "0", "-n", str(options.npl_steps), "-npl", ",".join(map(str, options.npl))])
    if options.depth and with_depth:
        commands.append(base + ["-p", "0", "-n", str(options.tg), "-d", str(options.depth)])
    return commands


def run_round(options, paths, number):
    results = []
    for model, path in paths:
        for label, flags in options.sets:
            for n_threads in options.threads:
                for command in commands_of(options, path, flags, n_threads, number < options.depth_rounds):
                    for result in run_json(command):
                        result.update({"suite_model": model, "suite_set": label, "suite_round": number})
                        results.append(result)
    return results


def median(values):
    values = sorted(v for v in values if v is not None)
    return (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2 if values else None


class Table:
    """Medians over the rounds, by model, set and test."""

    def __init__(self, results):
        self.results = results

    def get(self, field, model, label, **test):
        wanted = {"suite_model": model, "suite_set": label, "n_prompt": 0, "n_gen": 0, "n_depth": 0, "n_pl": 1, **test}
        return median([r.get(field) for r in self.results if all(r.get(k) == v for k, v in wanted.items())])


def ratio(a, b):
    return a / b if a is not None and b else None


def targets_of(options, results, model, label):
    """[(what, least, measured)]; measured is None where it was not, or where a limit is unknown."""
    table, rows = Table(results), []
    for t in options.threads:
        share = table.get("memory_share", model, label, n_gen=options.tg, n_threads=t)
        rows.append((f"tg{options.tg}, {t} threads: share of the memory limit", 0.75 if t == 1 else 0.80, share))
        if options.depth:
            deep = table.get("memory_share", model, label, n_gen=options.tg, n_depth=options.depth, n_threads=t)
            rows.append((f"tg{options.tg} @ d{options.depth}, {t} threads: share of the memory limit, of that at 0", 0.90, ratio(deep, share)))
    for t in options.threads:
        share = table.get("int8_share", model, label, n_prompt=options.pp, n_threads=t)
        rows.append((f"pp{options.pp}, {t} threads: share of the int8 limit", 0.60, share))
    if 1 in options.threads and 2 in options.threads:
        speeds = [table.get("median_ts", model, label, n_prompt=options.pp, n_threads=t) for t in (1, 2)]
        rows.append((f"pp{options.pp}: 2 threads, of 1 thread", 1.85, ratio(speeds[1], speeds[0])))
    for t in options.threads:
        for n in options.npl:
            share = table.get("roofline_share", model, label, n_gen=options.npl_steps, n_pl=n, n_threads=t)
            rows.append((f"tg{options.npl_steps} pl{n}, {t} threads: share of the roofline", 0.65, share))
    return rows


def targets_json(options, results):
    return [
        {"model": model, "set": label, "target": what, "least": least, "measured": measured, "met": None if measured is None else measured >= least}
        for model in options.models
        for label, _ in options.sets
        for what, least, measured in targets_of(options, results, model, label)
    ]


def speeds_of(results):
    """Lines of median speeds: model, test, and a column for each set."""
    tests, cells = [], {}
    for r in results:
        test = (r["suite_model"], r["n_threads"], r["n_prompt"], r["n_gen"], r["n_depth"], r.get("n_pl", 1))
        if test not in tests:
            tests.append(test)
        cells.setdefault((test, r["suite_set"]), []).append((r.get("median_ts"), r.get("memory_share"), r.get("int8_share")))
    return tests, cells


def print_report(options, results, targets):
    tests, cells = speeds_of(results)
    labels = [label for label, _ in options.sets]
    print(f"| {'model':24} | threads | {'test':18} |" + "".join(f" {label + ': t/s, % mem, % int8':>32} |" for label in labels))
    print("| --- | ---: | --- |" + " ---: |" * len(labels))
    for test in tests:
        model, threads, n_prompt, n_gen, depth, n_pl = test
        name = (f"pp{n_prompt}" if n_prompt else f"tg{n_gen}") + (f" @ d{depth}" if depth else "") + (f" pl{n_pl}" if n_pl > 1 else "")
        line = f"| {os.path.basename(model):24} | {threads:7} | {name:18} |"
        for label in labels:
            values = [median(column) for column in zip(*cells.get((test, label), []))] or [None] * 3
            text = ", ".join("-" if v is None else f"{v * scale:.2f}" for v, scale in zip(values, (1, 100, 100)))
            line += f" {text:>32} |"
        print(line)
    print()
    for t in targets:
        if t["set"] != labels[0]:
            continue
        met = "unknown" if t["met"] is None else "met" if t["met"] else "MISSED"
        measured = "-" if t["measured"] is None else f"{t['measured']:.3f}"
        print(f"{met:8} {measured:>6} of {t['least']:.2f}  {os.path.basename(t['model'])}: {t['target']}")


def write(options, document):
    temporary = f"{options.out}.part"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
        file.write("\n")
    os.replace(temporary, options.out)


def numbers(text):
    values = [int(part) for part in text.split(",") if part]
    if any(v < 1 for v in values):
        raise ValueError
    return values


def flag_set(text):
    label, separator, flags = text.partition("=")
    if not separator or not re.fullmatch(r"[\w.+-]+", label):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form NAME=FLAGS")
    return label, shlex.split(flags)


def parse(arguments):
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("--program", default=os.path.join(root, "build", "release", "ternion"))
    p.add_argument("--models", default="2b-4t", help="by commas")
    p.add_argument("--folder", default=os.path.join(root, "build", "bench-models"), help="of synthetic models")
    p.add_argument("--out", required=True)
    p.add_argument("--threads", type=numbers, default=[1, 2])
    p.add_argument("--set", dest="sets", type=flag_set, action="append", metavar="NAME=FLAGS")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--depth-rounds", type=int, default=1, help="of them, rounds with the test at --depth, whose prompt takes longest")
    p.add_argument("-r", "--repetitions", type=int, default=3, help="of a test within a round")
    p.add_argument("--pp", type=int, default=512)
    p.add_argument("--tg", type=int, default=32)
    p.add_argument("--depth", type=int, default=4000, help="0: no such test")
    p.add_argument("--npl", type=numbers, default=[8, 16], help="'': no such test")
    p.add_argument("--npl-steps", type=int, default=8)
    p.add_argument("--budget", type=float, default=0, help="seconds after which no further round is begun; 0: none")
    p.add_argument("--fail-on-missed", action="store_true")
    options = p.parse_args(arguments)
    options.models = [m for m in options.models.split(",") if m]
    options.sets = options.sets or [("default", [])]
    if min(options.rounds, options.repetitions, options.pp, options.tg, options.npl_steps) < 1 or options.depth < 0 or not options.threads:
        p.error("lengths, rounds and repetitions are 1 or more")
    if not options.models or len({label for label, _ in options.sets}) < len(options.sets):
        p.error("there must be a model, and each set needs a name of its own")
    return options


def main(arguments=None):
    options = parse(arguments)
    begun, results, targets = time.monotonic(), [], []
    document = {
        "suite": 1,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "sets": {label: shlex.join(flags) for label, flags in options.sets},
        "threads": options.threads,
        "models": options.models,
    }
    try:
        paths = [(model, model_path(options, model)) for model in options.models]
        for number in range(options.rounds):
            if number and options.budget and time.monotonic() - begun > options.budget:
                print(f"bench_suite: {number} of {options.rounds} rounds fit into {options.budget:g} s", file=sys.stderr)
                break
            print(f"bench_suite: round {number + 1} of {options.rounds}", file=sys.stderr)
            results += run_round(options, paths, number)
            targets = targets_json(options, results)
            write(options, {**document, "rounds": number + 1, "seconds": round(time.monotonic() - begun), "targets": targets, "results": results})
    except (Failed, OSError) as error:
        print(f"bench_suite: {error}", file=sys.stderr)
        return 2
    print_report(options, results, targets)
    first = options.sets[0][0]
    return 1 if options.fail_on_missed and any(t["set"] == first and t["met"] is False for t in targets) else 0


if __name__ == "__main__":
    sys.exit(main())
