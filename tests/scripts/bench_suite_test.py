#!/usr/bin/env python3
"""scripts/bench_suite.py with a program that gives made-up figures, and with the real one on the model that comes with ternion.

usage: bench_suite_test.py SOURCE_DIR [PROGRAM]
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

SOURCE_DIR = sys.argv.pop(1)
PROGRAM = sys.argv.pop(1) if len(sys.argv) > 1 else None
SCRIPTS = os.path.join(SOURCE_DIR, "scripts")

# Speeds that depend on the flags and, by a count kept in a file, on the call.
FAKE = """#!/usr/bin/env python3
import json, os, sys
here = os.path.dirname(os.path.abspath(__file__))
a = sys.argv[1:]
with open(os.path.join(here, "calls"), "a") as f: f.write(json.dumps(a) + "\\n")
if a[0] == "synth":
    open(a[2], "w").write("GGUF")
    sys.exit(0)
if "--broken" in a: print("ternion: error: it is broken", file=sys.stderr); sys.exit(1)
value = lambda flag, other: a[a.index(flag) + 1] if flag in a else other
t, p, n = int(value("-t", 0)), int(value("-p", 0)), int(value("-n", 0))
d, fast = int(value("-d", 0)), "--fast" in a
out = []
for pl in [int(x) for x in value("-npl", "1").split(",")]:
    for prompt, gen in ((p, 0), (0, n)):
        if prompt + gen == 0: continue
        share = 0.5 if d else 0.7 if t == 1 else 0.8
        out.append({"n_prompt": prompt, "n_gen": gen, "n_depth": d, "n_pl": pl, "n_threads": t, "samples_ts": [1.0, 2.0], "model_type": "fake",
                    "median_ts": (100 if t == 1 else 184) * (2 if fast else 1), "memory_share": share if gen else 0.01,
                    "int8_share": None if t == 1 else 0.61, "roofline_share": 0.64 if pl == 8 else 0.66})
print(json.dumps(out))
"""


class Suite(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.program = self.path("fake")
        with open(self.program, "w", encoding="utf-8") as file:
            file.write(FAKE)
        os.chmod(self.program, 0o755)
        self.out = self.path("out.json")

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def suite(self, *arguments, program=None):
        command = [sys.executable, os.path.join(SCRIPTS, "bench_suite.py"), "--program", program or self.program, "--out", self.out,
                   "--folder", self.path("models"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def document(self):
        with open(self.out, encoding="utf-8") as file:
            return json.load(file)

    def calls(self):
        with open(self.path("calls"), encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def test_targets_are_judged_by_medians_of_the_first_set(self):
        run = self.suite("--rounds", "3", "--set", "plain=", "--set", "fast=--fast --x 'a b'")
        self.assertEqual(run.returncode, 0, run.stderr)
        met = {t["target"]: (t["measured"], t["met"]) for t in self.document()["targets"] if t["set"] == "plain"}
        self.assertEqual(met["tg32, 1 threads: share of the memory limit"], (0.7, False))
        self.assertEqual(met["tg32, 2 threads: share of the memory limit"], (0.8, True))
        self.assertEqual(met["tg32 @ d4000, 2 threads: share of the memory limit, of that at 0"], (0.5 / 0.8, False))
        self.assertEqual(met["pp512, 1 threads: share of the int8 limit"], (None, None))
        self.assertEqual(met["pp512, 2 threads: share of the int8 limit"], (0.61, True))
        self.assertEqual(met["pp512: 2 threads, of 1 thread"], (1.84, False))
        self.assertEqual(met["tg8 pl8, 1 threads: share of the roofline"], (0.64, False))
        self.assertEqual(met["tg8 pl16, 2 threads: share of the roofline"], (0.66, True))
        self.assertEqual(len(met), 11)
        self.assertIn("MISSED    0.700 of 0.75  2b-4t: tg32, 1 threads", run.stdout)
        self.assertIn("unknown       - of 0.60", run.stdout)
        self.assertIn("368.00, 1.00, 61.00", run.stdout.replace("  ", " "))
        self.assertIn(["--fast", "--x", "a b"], [c[-7:-4] for c in self.calls() if c[-4:] == ["-p", "512", "-n", "32"]])
        self.assertEqual(self.suite("--rounds", "1", "--fail-on-missed").returncode, 1)

    def test_rounds_are_interleaved_and_the_depth_is_in_the_first_ones(self):
        self.assertEqual(self.suite("--rounds", "2", "--threads", "1", "--set", "a=", "--set", "b=--fast").returncode, 0)
        runs = ["b" if "--fast" in c else "a" for c in self.calls() if c[0] == "bench" and "512" in c]
        self.assertEqual(runs, ["a", "b", "a", "b"])
        self.assertEqual([r["suite_round"] for r in self.document()["results"] if r["n_depth"]], [0, 0])
        self.assertEqual(self.document()["rounds"], 2)

    def test_models_are_made_once(self):
        models = "2b-4t,100b:tq1_0:q8_0," + self.path("own.gguf")
        for _ in range(2):
            self.assertEqual(self.suite("--rounds", "1", "--depth", "0", "--npl", "", "--models", models).returncode, 0)
        made = [c[1:3] + c[3:7] for c in self.calls() if c[0] == "synth"]
        self.assertEqual(made, [["2b-4t", self.path("models/2b-4t-i2_s-q6_k.gguf"), "--type", "i2_s", "--embd", "q6_k"],
                                ["100b", self.path("models/100b-tq1_0-q8_0.gguf"), "--type", "tq1_0", "--embd", "q8_0"]])
        self.assertEqual({r["suite_model"] for r in self.document()["results"]}, set(models.split(",")))

    def test_a_budget_ends_the_rounds(self):
        run = self.suite("--rounds", "50", "--budget", "0.001", "--threads", "1", "--depth", "0", "--npl", "")
        self.assertEqual(run.returncode, 0)
        self.assertEqual(self.document()["rounds"], 1)
        self.assertIn("1 of 50 rounds", run.stderr)

    def test_what_fails_is_named(self):
        run = self.suite("--set", "x=--broken")
        self.assertEqual(run.returncode, 2)
        self.assertIn("--broken", run.stderr)
        self.assertIn("it is broken", run.stderr)
        self.assertFalse(os.path.exists(self.out))
        self.assertEqual(self.suite(program="/no/such/program").returncode, 2)
        for wrong in (["--rounds", "0"], ["--set", "noname"], ["--set", "a=", "--set", "a="], ["--threads", "0"], ["--models", ","]):
            self.assertEqual(self.suite(*wrong).returncode, 2, wrong)

    def test_compare_bench_reads_the_file(self):
        self.assertEqual(self.suite("--rounds", "2", "--threads", "1").returncode, 0)
        run = subprocess.run([sys.executable, os.path.join(SCRIPTS, "compare_bench.py"), self.out, self.out], capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("noise", run.stdout)

    @unittest.skipUnless(PROGRAM, "no program was built")
    def test_the_real_program_gives_every_figure(self):
        model = os.path.join(SOURCE_DIR, "models", "ternion-tales-6m.i2_s.gguf")
        run = self.suite("--models", model, "--rounds", "1", "-r", "2", "--threads", "1", "--pp", "8", "--tg", "2", "--depth", "20", "--npl", "2",
                         "--npl-steps", "2", program=PROGRAM)
        self.assertEqual(run.returncode, 0, run.stderr)
        targets = self.document()["targets"]
        self.assertEqual(len(targets), 4)
        for t in targets:
            self.assertGreater(t["measured"], 0, t)


if __name__ == "__main__":
    unittest.main()
