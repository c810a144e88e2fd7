#!/usr/bin/env python3
"""The arithmetic of scripts/gpu_*.awk on figures that are known: rows of what a card did, what was predicted of it, and what is wanted. Standard
library only.

usage: gpu_rows_test.py SOURCE_DIR
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

SOURCE_DIR = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SCRIPTS = os.path.join(SOURCE_DIR, "scripts")


def bench_row(**fields):
    row = {"build_commit": "x", "n_ubatch": 512, "n_prompt": 0, "n_gen": 128, "n_depth": 0, "n_pl": 1, "median_ts": 800.0, "isa": "sm_90",
           "read_bytes_per_token": 8e8, "int8_ops_per_token": 4.8e9, "limits": None}
    row.update(fields)
    row["read_bytes_per_s"] = row["read_bytes_per_token"] * (row["median_ts"] or 0)
    row["int8_ops_per_s"] = row["int8_ops_per_token"] * (row["median_ts"] or 0)
    return json.dumps(row) + "\n"


def limit(kind, level, best, theoretical):
    return {"limit": kind, "level": level, "n_threads": 0, "best": best, "median": best, "theoretical": theoretical}


# An H200: 4.8 TB/s and 1979 Tops/s by its data sheet, of which others measured 4.3 and a plain mma.sync kernel some 60 %.
H200 = [limit("memory_read", "cuda0", 4.3e12, 4.8e12), limit("int8_dot", "dp4a", 1.1e14, 1.19e14), limit("int8_dot", "mma", 1.2e15, 1.979e15)]


class Awk(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def file(self, name, text):
        path = os.path.join(self.folder.name, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def awk(self, program, operands=(), **variables):
        command = ["awk", "-f", os.path.join(SCRIPTS, "gpu_json.awk"), "-f", os.path.join(SCRIPTS, program)]
        for name, value in variables.items():
            command += ["-v", f"{name}={value}"]
        return subprocess.run([*command, *operands], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)

    def cells_of(self, text):
        return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


class Rows(Awk):
    N_COLUMNS = 11

    def rows(self, limits, rows=None, what="rows", n_layers=30):
        operands = [self.file(name, text) for name, text in (("limits", limits), ("rows", rows)) if text is not None]
        return self.awk("gpu_rows.awk", operands, what=what, name="m", n_layers=n_layers)

    def cells(self, **fields):
        n_layers = fields.pop("n_layers", 30)
        done = self.rows(bench_row(limits=fields.pop("limits", H200)), "ternion: a line that is no row\n" + bench_row(**fields), n_layers=n_layers)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("\n"), 1)
        cells = self.cells_of(done.stdout)[0]
        self.assertEqual(len(cells), self.N_COLUMNS)
        return cells

    def test_the_head(self):
        self.assertEqual([len(row) for row in self.cells_of(self.awk("gpu_rows.awk", what="head").stdout)], [self.N_COLUMNS] * 2)

    def test_the_card(self):
        text = self.rows(bench_row(limits=H200), what="card").stdout
        self.assertEqual(text, "memory: 4300.0 GB/s measured, 4800.0 by its data sheet (89.6 %)\n"
                               "int8: 1200.000 Tops/s measured (mma), 1979.000 by its data sheet (60.6 %)\n")
        self.assertEqual(self.rows(bench_row(limits=H200[:1]), what="card").stdout.count("\n"), 1)
        self.assertEqual(self.rows(bench_row(), what="card").returncode, 1)
        self.assertEqual(self.rows("", what="card").returncode, 1)

    # 849.3 MB a token at 4.8 TB/s are 5651 tokens/s at most, as published for this shape with an int8 head: 176.94 us. 159 borders of
    # kernels take 92.22 us more.
    def test_a_reply(self):
        cells = self.cells(read_bytes_per_token=849.3e6, median_ts=1000.0)
        self.assertEqual(cells, ["m", "reply of 128", "1000.00", "849.3", "19.8 %", "4.80", "0.4 %", "5652", "17.7 %", "3715", "26.9 %"])

    # 4.17 Gop a token at 1979 Tops/s are 475 k tokens/s; 512 tokens take 1078.8 us, and 339 borders 196.6 us.
    def test_a_prompt(self):
        cells = self.cells(n_prompt=512, n_gen=0, read_bytes_per_token=1.6e6, int8_ops_per_token=4.17e9, median_ts=49330.0)
        self.assertEqual(cells[1:3] + cells[5:], ["prompt of 512", "49330.00", "205.71", "17.1 %", "474580", "10.4 %", "401421", "12.3 %"])
        longer = self.cells(n_prompt=4096, n_gen=0, read_bytes_per_token=1.6e6, int8_ops_per_token=4.17e9, median_ts=49330.0)
        self.assertEqual(longer[9], cells[9], "a step has 512 tokens")

    # 849 MB of weights and 16 times 1024 positions of 76.8 kB in one step.
    def test_sequences_together(self):
        cells = self.cells(n_pl=16, n_depth=1024, n_gen=32, read_bytes_per_token=(849e6 + 16 * 1024 * 76.8e3) / 16, median_ts=4000.0)
        self.assertEqual(cells[1], "reply of 32, 16 sequences, behind 1024")
        step = (849e6 + 16 * 1024 * 76.8e3) / 4.8e12
        self.assertEqual(cells[7], f"{16 / step:.0f}")
        self.assertEqual(cells[9], f"{16 / (step + 309 * 0.58e-6):.0f}")

    # 30 layers of 5, 7, 10 or 11 kernels, and 9 beside them.
    def test_kernels_and_their_borders(self):
        for n, depth, isa, kernels, border in ((1, 0, "sm_90", 159, 0.58e-6), (2, 0, "sm_90", 309, 0.58e-6), (16, 0, "sm_90", 309, 0.58e-6),
                                               (17, 0, "sm_90", 339, 0.58e-6), (64, 0, "sm_90", 339, 0.58e-6), (64, 4000, "sm_90", 309, 0.58e-6),
                                               (65, 4000, "sm_90", 339, 0.58e-6), (1, 0, "sm_120", 159, 0.58e-6), (16, 0, "sm_80", 309, 0.90e-6),
                                               (1, 0, "sm_75", 159, 0.90e-6), (8, 0, "sm_75", 219, 0.90e-6), (9, 0, "sm_75", 339, 0.90e-6)):
            self.assertEqual(self.cells(n_pl=n, n_depth=depth, isa=isa)[9], f"{1 / (8e8 / 4.8e12 + kernels * border / n):.0f}", (n, depth, isa))

    def test_what_is_not_known(self):
        cells = self.cells(limits=H200[:1], n_layers=0)
        self.assertEqual(cells[6], "-")
        self.assertEqual(cells[9:], ["-", "-"])
        self.assertEqual(self.cells(limits=[limit("memory_read", "cuda0", 4.3e12, None)])[7:], ["-", "-", "-", "-"])

    def test_rows_that_are_not_there(self):
        self.assertEqual(self.rows(bench_row(limits=H200), "ternion: error: nothing\n").returncode, 1)
        done = self.rows("", bench_row())
        self.assertEqual((done.returncode, done.stdout.count("\n")), (0, 1), "a row without limits is no limits without a row")


def option(kind, plan, rate, chosen=False):
    return {"kind": kind, "plan": plan, "chosen": chosen, "fits": True, "tokens_per_second": rate, "step_ms": 1.0, "n_lanes": 2, "reason": "of some kind"}


def plan(n_seqs=1, n_ctx=128, rates=None, options=()):
    """As `ternion plan --json` prints it, without the ends of lines."""
    devices = [{"name": name, "description": "a device", "memory_bytes": 9, "tokens_per_second_one": 77.5, "tokens_per_second": rate, "error": 0.1 if name == "cpu0" else None}
               for name, rate in (rates or {}).items()]
    changes = [{"what_if": "cuda0=off", "same": False, "choice": option("pipeline", "cpu0: nothing", 99.0, True)}]
    text = json.dumps({"model": {"path": "/m.gguf", "name": "cuda0"}, "n_seqs": n_seqs, "n_ctx": n_ctx, "goal": "latency", "what_if": None, "plan": "x",
                       "devices": devices, "options": list(options), "changes": changes, "planning_ms": 0.5}, indent=2)
    return text.replace("\n", "") + "\n"


def answered(rate, n=64):
    """As `ternion batch --json` prints it, without the ends of lines."""
    return json.dumps({"model": {"path": "/m.gguf"}, "lines": {"answered": 9, "failed": 0}, "seconds": 2.0, "generated_per_second": rate,
                       "tokens_per_second": 2 * rate, "concurrency": n, "prediction": None}, indent=2).replace("\n", "") + "\n"


class Plans(Awk):
    def plans(self, *texts):
        files = [self.file(str(i), text) for i, text in enumerate(texts)]
        done = self.awk("gpu_plan.awk", files, what="plans", name="m", device="cuda0")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return self.cells_of(done.stdout)

    def together(self, **texts):
        operands = ["/dev/null"]
        for kind, text in texts.items():
            operands += [f"kind={kind}", self.file(kind, text)]
        done = self.awk("gpu_plan.awk", operands, what="together", device="cuda0")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return self.cells_of(done.stdout), [line for line in done.stdout.splitlines() if not line.startswith("|")]

    def split(self, text):
        return self.awk("gpu_plan.awk", [self.file("plan", text)], what="split")

    def test_the_heads(self):
        for what, n in (("plans_head", 5), ("together_head", 7)):
            self.assertEqual([len(row) for row in self.cells_of(self.awk("gpu_plan.awk", what=what).stdout)], [n] * 2)

    # The middle of 32 tokens behind 1024 stands at 1040, half of 2080.
    def test_a_plan_belongs_to_the_reply_of_its_positions(self):
        rows = self.plans(plan(1, 128, {"cpu0": 50.0, "cuda0": 1000.0}) + plan(32, 2080, {"cuda0": 9000.0}),
                          bench_row(median_ts=1250.0), bench_row(n_gen=32, n_depth=1024, n_pl=32, median_ts=7200.0))
        self.assertEqual(rows, [["m", "reply of 128", "1000.0", "1250.0", "1.25"], ["m", "reply of 32, 32 sequences, behind 1024", "9000.0", "7200.0", "0.80"]])

    def test_what_was_not_predicted_or_not_measured_has_no_ratio(self):
        rows = self.plans("32 sequences of 2080 positions do not fit: n_seqs\n" + plan(1, 128, {"cuda0": None}) + plan(4, 2080, {"cuda0": 3000.0}) +
                          plan(8, 2080, {"cpu0": 20.0}), bench_row(), bench_row(n_gen=32, n_depth=1024, n_pl=32), bench_row(n_prompt=512, n_gen=0))
        self.assertEqual(rows, [["m", "reply of 128", "-", "800.0", "-"], ["m", "reply of 32, 32 sequences, behind 1024", "-", "800.0", "-"],
                                ["m", "4 sequences of 2080 positions", "3000.0", "-", "-"], ["m", "8 sequences of 2080 positions", "-", "-", "-"]])

    def test_what_the_planner_thinks_of_itself(self):
        known = plan(1, 128, {"cpu0": 50.0, "cuda0": 1000.0}).replace('"error": null', '"error": 0.237')
        for text, said in ((known, ["shapes that cuda0 was not measured with are predicted within 24 %, says ternion plan"]),
                           (plan(1, 128, {"cpu0": 50.0, "cuda0": 1000.0}), []), ("", [])):
            done = self.awk("gpu_plan.awk", [self.file("plans", text)], what="plans", name="m", device="cuda0")
            self.assertEqual([line for line in done.stdout.splitlines() if not line.startswith("|")], said)

    # 256 tokens in 4 ms are 64 000 tokens/s, in 3.2 ms 80 000.
    def test_the_prompt_of_bench_costs(self):
        table = "| tokens a step | measured ms | predicted ms | predicted / measured |\n|---|---|---|---|\n| 64 | 1.000 | 2.000 | 2.000 |\n"
        self.assertEqual(self.plans(table + "| 256 (a prompt) | 4.000 | 3.200 | 0.800 |\n"), [["m", "prompt of 256", "80000.0", "64000.0", "0.80"]])
        self.assertEqual(self.plans(table), [])

    OPTIONS = (option("one", "cuda0: embedding, layers 0-29, head", 12000.0, True), option("replicas", "cpu0 x2 + cuda0 x62", 10000.0),
               option("pipeline", "cpu0: embedding, layer 0 | cuda0: layers 1-29, head", 9000.0), option("one", "cpu0: embedding, layers 0-29, head", 400.0))

    # The card 11 000, the CPU 500, both 11 500 tokens a second.
    def test_devices_together(self):
        rows, said = self.together(plan=plan(64, 64, {"cpu0": 400.0, "cuda0": 12000.0}, self.OPTIONS), card=answered(11000.0), cpu=answered(500.0),
                                   replicas="plan  replicas cpu0 x2 + cuda0 x62  (predicted 1.0 t/s at half the context)\n" + answered(11270.0),
                                   pipeline="plan  cpu0: embedding, layer 0 | cuda0: layers 1-29, head\nplan  replies predicted 1.0 t/s\n" + answered(5750.0))
        self.assertEqual(rows, [["cuda0", "64", "12000.0", "11000.0", "0.92", "1.00", "0.96"], ["cpu0", "64", "400.0", "500.0", "1.25", "0.05", "0.04"],
                                ["copies: cpu0 x2 + cuda0 x62", "64", "10000.0", "11270.0", "1.13", "1.02", "0.98"],
                                ["layers: cpu0: embedding, layer 0; cuda0: layers 1-29, head", "64", "9000.0", "5750.0", "0.64", "0.52", "0.50"]])
        self.assertEqual(said, ["ternion plan chooses cuda0: embedding, layers 0-29, head: 12000.0 tokens/s"])

    def test_what_was_planned_otherwise_is_no_prediction(self):
        rows, said = self.together(plan=plan(64, 64, {"cuda0": 12000.0}, self.OPTIONS), replicas="plan  replicas cpu0 x3 + cuda0 x61\n" + answered(11270.0),
                                   pipeline="plan  cpu0: embedding, layers 0-14 | cuda0: layers 15-29, head\n" + answered(575.0))
        self.assertEqual(rows[2:], [["copies: cpu0 x3 + cuda0 x61", "64", "-", "11270.0", "-", "-", "-"],
                                    ["layers: cpu0: embedding, layers 0-14; cuda0: layers 15-29, head", "64", "-", "575.0", "-", "-", "-"]])
        self.assertEqual(said[:2], ["ternion plan would have copies as cpu0 x2 + cuda0 x62: 10000.0 tokens/s",
                                    "ternion plan would have layers as cpu0: embedding, layer 0; cuda0: layers 1-29, head: 9000.0 tokens/s"])

    def test_devices_of_which_one_failed(self):
        rows, said = self.together(plan=plan(64, 64, {"cuda0": 12000.0}, self.OPTIONS[:1]), card=answered(11000.0), cpu="ternion: error: lost\n",
                                   replicas=answered(11270.0))
        self.assertEqual(rows, [["cuda0", "64", "12000.0", "11000.0", "0.92", "1.00", "-"], ["cpu0", "-", "-", "-", "-", "-", "-"],
                                ["copies: cpu0 + cuda0", "64", "-", "11270.0", "-", "1.02", "-"]])
        self.assertEqual(said[0], "ternion plan offers no split of the model over cpu0 and cuda0")
        rows, said = self.together(plan=plan(64, 64, {"cuda0": 12000.0}, self.OPTIONS), card="", pipeline="ternion: error: lost\n")
        self.assertEqual([row[3:] for row in rows], [["-"] * 4] * 4)
        rows, said = self.together()
        self.assertEqual([row[1:] for row in rows], [["-"] * 6] * 3)
        self.assertEqual(len(said), 1)

    def test_a_split_as_flags(self):
        self.assertEqual(self.split(plan(options=self.OPTIONS)).stdout, "cpu0,cuda0 1,29\n")
        self.assertEqual(self.split(plan(options=[option("pipeline", "cuda:host: embedding, layers 0-11 | cpu0: layers 12-29, head", 1.0)])).stdout,
                         "cuda:host,cpu0 12,18\n")
        for options in ((), self.OPTIONS[:2], [option("pipeline", "cuda0: embedding, layers 0-29 | cpu0: head", 1.0)]):
            done = self.split(plan(options=options))
            self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(self.split("").returncode, 1)


class Wanted(Awk):
    # Memory was measured faster than others published of an H200.
    LIMITS = [limit("memory_read", "cuda0", 4.5e12, 4.81e12), *H200[1:]]

    def wanted(self, limits=None, main="", other="", vulkan="", **variables):
        text = bench_row(limits=self.LIMITS if limits is None else limits)
        operands = [self.file("limits", text), "model=2b-4t", "weights=849300000", "kv=76800", self.file("main", main),
                    "model=llama3-8b", "weights=2270000000", "kv=131072", self.file("other", other), "model=vulkan", self.file("vulkan", vulkan)]
        variables = {"main": "2b-4t", "other": "llama3-8b" if other else "", "batches": "32,64", "prompts": "512,2048", "exact": 1, "vulkan_exact": 1, **variables}
        done = self.awk("gpu_wanted.awk", operands, **variables)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        rows = self.cells_of(done.stdout)[2:]
        self.assertEqual({len(row) for row in rows}, {6})
        return rows

    MAIN = (bench_row(read_bytes_per_token=860e6, median_ts=2300.0) +
            bench_row(n_gen=32, n_depth=1024, n_pl=32, median_ts=24600.0) + bench_row(n_gen=32, n_depth=1024, n_pl=64, median_ts=28000.0) +
            bench_row(n_gen=32, n_depth=1024, n_pl=1, median_ts=9e9) + bench_row(n_prompt=512, n_gen=0, median_ts=100001.0) +
            bench_row(n_prompt=2048, n_gen=0, median_ts=99999.0))

    # 860 MB a token: 5233 tokens/s at 4.5 TB/s, 5000 at 4.3. 32 sequences: 849.3 MB + 32 * 1024 * 76.8 kB = 3365.9 MB a step, 42 783 and
    # 40 881 tokens/s; 64: 5882.5 MB, 48 959 and 46 783.
    def test_of_the_first_model(self):
        rows = self.wanted(main=self.MAIN, vulkan=bench_row(median_ts=1150.0) + bench_row(n_prompt=512, n_gen=0, median_ts=9e9))
        measured, published = "memory as measured (4.50 TB/s)", "memory as published of an H200 (4.30 TB/s)"
        self.assertEqual(rows, [["2b-4t, reply", "45 % of 5233, " + measured, "2355", "2300.0", "44.0 %", "no"],
                                ["2b-4t, reply", "45 % of 5000, " + published, "2250", "2300.0", "46.0 %", "yes"],
                                ["2b-4t, reply", "60 % of 5233, " + measured, "3140", "2300.0", "44.0 %", "no"],
                                ["2b-4t, reply", "60 % of 5000, " + published, "3000", "2300.0", "46.0 %", "no"],
                                ["2b-4t, 32 sequences behind 1024", "60 % of 42782, " + measured, "25669", "24600.0", "57.5 %", "no"],
                                ["2b-4t, 32 sequences behind 1024", "60 % of 40881, " + published, "24528", "24600.0", "60.2 %", "yes"],
                                ["2b-4t, 64 sequences behind 1024", "60 % of 48959, " + measured, "29375", "28000.0", "57.2 %", "no"],
                                ["2b-4t, 64 sequences behind 1024", "60 % of 46783, " + published, "28070", "28000.0", "59.9 %", "no"],
                                ["2b-4t, prompt of 512", "100000 tokens/s", "100000", "100001.0", "-", "yes"],
                                ["2b-4t, prompt of 2048", "100000 tokens/s", "100000", "99999.0", "-", "no"],
                                ["2b-4t, reply by Vulkan", "half of CUDA's", "1150", "1150.0", "50.0 %", "yes"]])

    # 13.96 Gop a token: 85 960 tokens/s at 1200 Tops/s, 141 762 at 1979, wanted 60 %. A step of 32: 2270 MB + 32 * 1024 * 131 kB.
    def test_of_the_second_model(self):
        other = (bench_row(read_bytes_per_token=2.3e9, median_ts=1130.0) + bench_row(n_gen=32, n_depth=1024, n_pl=32, median_ts=5000.0) +
                 bench_row(n_prompt=512, n_gen=0, read_bytes_per_token=4e6, int8_ops_per_token=13.96e9, median_ts=60000.0))
        rows = [row for row in self.wanted(main=self.MAIN, other=other) if row[0].startswith("llama3-8b")]
        self.assertEqual([row[:1] + row[2:] for row in rows],
                         [["llama3-8b, reply", "1174", "1130.0", "57.8 %", "no"], ["llama3-8b, reply", "1122", "1130.0", "60.4 %", "yes"],
                          ["llama3-8b, 32 sequences behind 1024", "13161", "5000.0", "22.8 %", "no"],
                          ["llama3-8b, 32 sequences behind 1024", "12576", "5000.0", "23.9 %", "no"],
                          ["llama3-8b, 64 sequences", "-", "-", "-", "not measured"], ["llama3-8b, 64 sequences", "-", "-", "-", "not measured"],
                          ["llama3-8b, prompt of 512", "51576", "60000.0", "69.8 %", "yes"],
                          ["llama3-8b, prompt of 512", "85057", "60000.0", "42.3 %", "no"],
                          ["llama3-8b, prompt of 2048", "-", "-", "-", "not measured"], ["llama3-8b, prompt of 2048", "-", "-", "-", "not measured"]])
        self.assertEqual(rows[-4][1], "60 % of 85960, products as measured (1200 Tops/s)")
        self.assertEqual(rows[-3][1], "60 % of 141762, products by the data sheet (1979 Tops/s)")

    def test_other_cards(self):
        for theory, text, wanted in ((3.35e12, "60 % of 3488, memory as published of an H100 (3.00 TB/s)", "2093"),
                                     (2.04e12, "60 % of 2372, memory by the data sheet (2.04 TB/s)", "1423")):
            self.assertEqual(self.wanted([limit("memory_read", "cuda0", 1e12, theory)], main=self.MAIN)[3][1:3], [text, wanted])

    def test_nothing_that_was_not_measured_is_met(self):
        for main, vulkan in (("", ""), ("ternion: error: cuda0 is lost\n", "ternion: error: vulkan0 is lost\n"),
                             (bench_row(median_ts=0), bench_row(median_ts=None))):
            rows = self.wanted(main=main, other="no row\n", vulkan=vulkan)
            self.assertEqual(len(rows), 11 + 10)
            self.assertEqual({(row[3], row[5]) for row in rows}, {("-", "not measured")})

    def test_nothing_is_met_whose_limit_is_not_known(self):
        rows = self.wanted([], main=self.MAIN, other=self.MAIN)
        self.assertEqual({row[5] for row in rows if "prompt" not in row[0] and "Vulkan" not in row[0]}, {"limit not known"})
        self.assertEqual({row[5] for row in rows if row[0].startswith("llama3-8b, prompt")}, {"limit not known"})
        rows = self.wanted(vulkan=bench_row(median_ts=9e9))
        self.assertEqual(rows[-1], ["2b-4t, reply by Vulkan", "half of CUDA's", "-", "9000000000.0", "-", "limit not known"])

    def test_nothing_is_met_that_may_be_wrong(self):
        fast = self.MAIN.replace("2300.0", "9e9")
        vulkan = bench_row(median_ts=9e9)
        self.assertNotIn("yes", {row[5] for row in self.wanted(main=fast, other=fast, vulkan=vulkan, exact=0)})
        rows = self.wanted(main=fast, vulkan=vulkan, vulkan_exact=0)
        self.assertEqual([rows[0][5], rows[-1][5]], ["yes", "fast enough, but not shown to be exact"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
