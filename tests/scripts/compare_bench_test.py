#!/usr/bin/env python3
"""scripts/compare_bench.py: its statistics against published tables and a simulation, its reading of files, its exit status.

usage: compare_bench_test.py SOURCE_DIR
"""
import io
import json
import os
import re
import random
import subprocess
import sys
import tempfile
import unittest

SOURCE_DIR = sys.argv.pop(1)
SCRIPT = os.path.join(SOURCE_DIR, "scripts", "compare_bench.py")
sys.path.insert(0, os.path.join(SOURCE_DIR, "scripts"))
sys.dont_write_bytecode = True
import compare_bench as cb  # noqa: E402


def result(samples, **fields):
    r = {"cpu_info": "CPU", "model_type": "m", "model_size": 1, "n_prompt": 0, "n_gen": 128, "n_depth": 0, "n_threads": 2,
         "n_batch": 2048, "n_ubatch": 512, "n_pl": 1, "samples_ts": samples}
    r.update(fields)
    return r


class Statistics(unittest.TestCase):
    def test_exact_p_of_separated_samples_is_two_through_the_number_of_ways(self):
        self.assertAlmostEqual(cb.mann_whitney_p([1, 2, 3], [4, 5, 6]), 2 / 20)
        self.assertAlmostEqual(cb.mann_whitney_p([1, 2, 3, 4], [5, 6, 7, 8]), 2 / 70)
        self.assertAlmostEqual(cb.mann_whitney_p([10, 9, 8, 7, 6], [1, 2, 3, 4, 5]), 2 / 252)

    def test_critical_values_of_the_published_table(self):
        # n = m = 5, two-sided 0.05: U <= 2 is significant, U = 3 is not.
        self.assertLess(cb.mann_whitney_p([1, 2, 3, 5, 6], [4, 7, 8, 9, 10]), 0.05)  # U = 2
        self.assertGreater(cb.mann_whitney_p([1, 2, 3, 5, 7], [4, 6, 8, 9, 10]), 0.05)  # U = 3
        # n = m = 8: U <= 13.
        a = list(range(1, 9))
        self.assertLess(cb.mann_whitney_p(a, [x + 4.5 for x in a]), 0.05)

    def test_equal_samples_have_p_1(self):
        self.assertEqual(cb.mann_whitney_p([5, 5, 5, 5], [5, 5, 5, 5]), 1)
        self.assertEqual(cb.mann_whitney_p([5.0] * 30, [5.0] * 30), 1)

    def test_the_approximation_agrees_with_the_exact_test(self):
        rng = random.Random(3)
        for _ in range(20):
            a, b = [rng.gauss(10, 1) for _ in range(9)], [rng.gauss(10.8, 1) for _ in range(9)]
            exact = cb.mann_whitney_p(a, b)
            limit, cb.EXACT_MAX = cb.EXACT_MAX, 0
            try:
                self.assertAlmostEqual(cb.mann_whitney_p(a, b), exact, delta=0.02)
            finally:
                cb.EXACT_MAX = limit

    def test_of_equal_machines_few_are_called_different(self):
        rng = random.Random(5)
        wrong = sum(cb.verdict([rng.gauss(30, 1) for _ in range(5)], [rng.gauss(30, 1) for _ in range(5)], 0.0)[0] != "noise" for _ in range(1000))
        self.assertLess(wrong, 60)  # 5 % of 1000, and some
        self.assertGreater(wrong, 10)

    def test_a_real_difference_is_found(self):
        rng = random.Random(6)
        found = sum(cb.verdict([rng.gauss(30, 0.3) for _ in range(5)], [rng.gauss(33, 0.3) for _ in range(5)], 0.02)[0] == "faster" for _ in range(200))
        self.assertEqual(found, 200)

    def test_a_difference_below_the_least_effect_is_noise_however_sure(self):
        a, b = [100, 100.1, 100.2, 100.3, 100.4, 100.5], [101.0, 101.1, 101.2, 101.3, 101.4, 101.5]
        self.assertEqual(cb.verdict(a, b, 0.02)[0], "noise")
        self.assertEqual(cb.verdict(a, b, 0.005)[0], "faster")
        self.assertEqual(cb.verdict(b, a, 0.005)[0], "slower")

    def test_three_samples_show_nothing(self):
        self.assertEqual(cb.verdict([10, 10, 10], [20, 21, 22], 0.02)[0], "noise")


class Files(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def write(self, name, text):
        path = os.path.join(self.folder.name, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text if isinstance(text, str) else json.dumps(text))
        return path

    def run_script(self, *arguments):
        return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)

    def test_arrays_lines_and_suites_are_the_same(self):
        results = [result([10, 11, 12, 13]), result([1, 2, 3, 4], n_prompt=512, n_gen=0)]
        for text in (results, "\n".join(json.dumps(r) for r in results), {"suite": 1, "results": results}):
            self.assertEqual(cb.load(self.write("a", text)), results)

    def test_repeated_results_of_a_test_are_taken_together(self):
        tests = cb.tests_of([result([1, 2]), result([3], n_threads=1), result([4, 5])])
        self.assertEqual(sorted(samples for _, samples in tests.values()), [[1, 2, 4, 5], [3]])

    def test_exit_status_says_slower_only_when_asked(self):
        a, b = self.write("a", [result([20, 21, 22, 23, 24])]), self.write("b", [result([10, 11, 12, 13, 14])])
        self.assertEqual(self.run_script(a, b).returncode, 0)
        slower = self.run_script("--fail-on-slower", a, b)
        self.assertEqual(slower.returncode, 1)
        self.assertIn("x0.545", slower.stdout)
        self.assertIn("slower", slower.stdout)
        self.assertEqual(self.run_script("--fail-on-slower", b, a).returncode, 0)
        self.assertEqual(self.run_script("--fail-on-slower", "--min-effect", "100", a, b).returncode, 0)

    def test_what_differs_is_said(self):
        limits = [{"limit": "memory_read", "best": 30e9}]
        a = [result([1, 2, 3, 4], limits=limits), result([1, 2, 3, 4], n_threads=1)]
        b = [result([1, 2, 3, 4], cpu_info="other", model_type="n", limits=[{"limit": "memory_read", "best": 20e9}])]
        err = io.StringIO()
        cb.compare(self.write("a", a), self.write("b", b), 0.02, io.StringIO(), err)
        for part in ("machine differs: CPU and other", "model differs: m and n", "only ", "tg128 -t 1", "memory limit was measured as 3e+10 and 2e+10"):
            self.assertIn(part, err.getvalue())
        err = io.StringIO()
        cb.compare(self.write("a", a), self.write("b", a), 0.02, io.StringIO(), err)
        self.assertEqual(err.getvalue(), "")

    def test_bad_files_are_named_with_the_reason(self):
        good = self.write("good", [result([1, 2, 3, 4])])
        for text in ("", "not json", "[]", "{}", "7", '[{"samples_ts": []}]', '[{"samples_ts": ["fast"]}]', '[{"samples_ts": [0]}]',
                     '[{"samples_ts": [NaN]}]'):
            run = self.run_script(good, self.write("bad", text))
            self.assertEqual(run.returncode, 2, text)
            self.assertEqual(run.stderr.count("\n"), 1, run.stderr)
            self.assertIn("bad", run.stderr)
        self.assertEqual(self.run_script(good, "/no/such/file").returncode, 2)
        other = self.write("other", [result([1, 2, 3, 4], n_gen=1)])
        self.assertIn("no test in common", self.run_script(good, other).stderr)

    def test_files_of_earlier_versions_compare(self):
        old = result([10, 11, 12, 13, 14])
        del old["n_pl"]
        self.assertEqual(cb.compare(self.write("a", [old]), self.write("b", [result([20, 21, 22, 23, 24])]), 0.02, io.StringIO()), ["faster"])

    def test_results_in_the_repository_are_readable(self):
        folder = os.path.join(SOURCE_DIR, "bench", "results")
        names = [n for n in os.listdir(folder) if n.endswith(".json") and not re.search("tokenizers|shader-counts|stages", n)]
        self.assertTrue(names)
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith("-batch.json"):  # of bench_batch.py: not for comparing
                with open(path, encoding="utf-8") as file:
                    self.assertLessEqual({"steps", "prefix", "growth"}, set(json.load(file)), name)
            else:
                self.assertTrue(cb.load(path), name)


if __name__ == "__main__":
    unittest.main()
