#!/usr/bin/env python3
"""scripts/gpu_check.sh without a GPU: its steps and exit status with a program that does as told, or, where a build folder is given, the whole
script as a dry run on the stand-in. Its arithmetic is gpu_rows_test.py's. Standard library only.

usage: gpu_check_test.py SOURCE_DIR [BUILD_DIR STAND_IN]
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE_DIR, BUILD_DIR, STAND_IN = (sys.argv + [None, None])[1:4]
SCRIPTS = os.path.join(SOURCE_DIR, "scripts")
AWK_PROGRAMS = ("gpu_json.awk", "gpu_rows.awk", "gpu_plan.awk", "gpu_wanted.awk")

LIMITS = {"build_commit": "x", "n_prompt": 16, "n_pl": 1, "median_ts": 1.0,
          "limits": [{"limit": "memory_read", "level": "cuda0", "best": 4.5e12, "theoretical": 4.81e12},
                     {"limit": "int8_dot", "level": "mma", "best": 1.2e15, "theoretical": 1.979e15}]}
# @X@: what the test is of.
ROW = {"build_commit": "x", "n_ubatch": 512, "n_prompt": "@P@", "n_gen": "@N@", "n_depth": "@D@", "n_pl": "@L@", "median_ts": 3200.5, "isa": "sm_90",
       "read_bytes_per_token": 8.6e8, "int8_ops_per_token": 4e9, "read_bytes_per_s": 2.7e12, "int8_ops_per_s": 1e13, "limits": None}
PLAN = {"model": {"name": "m"}, "n_seqs": "@L@", "n_ctx": "@P@", "devices": [{"name": "cpu0", "tokens_per_second": 400.0}, {"name": "cuda0", "tokens_per_second": 4000.5}],
        "options": [{"kind": "one", "plan": "cuda0: embedding, layers 0-1, head", "chosen": True, "tokens_per_second": 4000.5},
                    {"kind": "pipeline", "plan": "cpu0: embedding, layer 0 | cuda0: layer 1, head", "chosen": False, "tokens_per_second": 700.0}], "changes": []}
ANSWERED = {"model": {"name": "m"}, "lines": {"answered": "@L@", "failed": 0}, "generated_per_second": "@R@", "tokens_per_second": 1.0, "concurrency": "@N@"}


def template(fields, **kind):
    return re.sub(r'"(@\w@)"', r"\1", json.dumps(fields, **kind))


STUB = r"""#!/bin/bash
verb=$1 all=$* p=0 n=0 d=0 l=1 dev='' input=/dev/null
case $all in *'{broken}'*) echo 'ternion: error: cuda0: cuGraphLaunch: CUDA_ERROR_LAUNCH_FAILED (719)' >&2; exit 1 ;; esac
while [ $# -gt 0 ]; do
    case $1 in -p) p=$2 ;; -n|-np) n=$2 ;; -d) d=$2 ;; -npl|--batch) l=$2 ;; -c) p=$2 ;; -dev) dev=$2 ;; -i) input=$2 ;; esac
    shift
done
row() {{ sed "s/@P@/$1/; s/@N@/$2/; s/@D@/$d/; s/@L@/$3/" <<<'{row}'; }}
case $verb in
devices) printf 'cuda0    cuda     sm_90\n{vulkan}' ;;
logits) case $all in *cpu0*) echo aaaa ;; *) echo {hash} ;; esac ;;
synth) set -- $all; : >"$3"; sleep {slow} ;;
show) echo '  "n_layers": 2,' ;;
plan) sed "s/@P@/$p/; s/@L@/$l/" <<<'{plan}' ;;
batch)
    case $all in *--replicas*) rate=4100 ;; *-ts\ 1,1*) rate=600 ;; *-dev\ cpu0\ *) rate=300 ;; *) rate=3900 ;; esac
    case $all in *--replicas*) echo 'plan  replicas cpu0 x1 + cuda0 x2' >&2 ;; *) echo 'plan  cpu0: embedding, layer 0 | cuda0: layer 1, head' >&2 ;; esac
    sed "s/@R@/$rate.5/; s/@N@/$n/; s/@L@/$(wc -l <"$input")/" <<<'{answered}' ;;
bench)
    case $all in
    *-npl\ 1,3*) echo 'ternion: error: cuda0: a buffer of 9 GiB cannot be had, 1 GiB is free (CUDA_ERROR_OUT_OF_MEMORY)' >&2; exit 1 ;;
    *--no-limits*)
        for one in ${{p//,/ }}; do if [ "$one" -gt 0 ]; then row "$one" 0 1; fi; done
        for one in ${{l//,/ }}; do if [ "$n" -gt 0 ]; then row 0 "$n" "$one"; fi; done ;;
    *) echo '{limits}' ;;
    esac ;;
esac
"""
COSTS = "#!/bin/bash\necho '| 256 (a prompt) | 4.000 | 3.200 | 0.800 |'\n"


class Script(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def run_script(self, *arguments, **environment):
        environment = {**os.environ, "TN_VULKAN": "off", **environment}
        return subprocess.run([os.path.join(SCRIPTS, "gpu_check.sh"), *arguments], capture_output=True, text=True, env=environment, check=False)

    def run_stub(self, hash="aaaa", broken="nothing", cases=1, mode="dry", slow="0", vulkan="", costs=False, **environment):
        folder = os.path.join(self.folder.name, "package")
        os.makedirs(folder, exist_ok=True)
        stub = STUB.format(broken=broken, row=template(ROW), vulkan=vulkan, hash=hash, slow=slow, plan=template(PLAN, indent=2),
                           answered=template(ANSWERED, indent=2), limits=json.dumps(LIMITS))
        programs = [("ternion", stub), ("conformance_test", f"#!/bin/bash\necho '[  PASSED  ] {cases} tests.'\n")]
        for name, text in programs + [("bench_costs", COSTS)] * costs:
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(os.path.join(folder, name), 0o755)
        for name in AWK_PROGRAMS:
            shutil.copy(os.path.join(SCRIPTS, name), folder)
        done = self.run_script(folder, os.path.join(self.folder.name, "out"), mode, **environment)
        with open(os.path.join(self.folder.name, "out", "summary.txt"), encoding="utf-8") as file:
            self.assertEqual(file.read(), done.stdout)
        self.assertEqual(done.stderr, "")
        return done

    # How steps ended, in their order, but for those that need programs of a card's driver.
    def steps(self, done):
        return [(how, name) for how, name in re.findall(r"^(ok|FAILED|skipped) +([^ :]+)", done.stdout, re.M) if name != "nvidia-smi" and "sanitizer" not in name]

    def table(self, done, first):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines() if line.startswith("|")]
        begin = next(i for i, row in enumerate(rows) if row[0] == first)
        end = next((i for i in range(begin + 2, len(rows)) if len(rows[i]) != len(rows[begin])), len(rows))
        return rows[begin + 2:end]

    def log(self, name):
        with open(os.path.join(self.folder.name, "out", name + ".log"), encoding="utf-8") as file:
            return file.read()

    def test_what_does_not_fit_is_left_out(self):
        done = self.run_stub()
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("\nmemory: 4500.0 GB/s measured", done.stdout)
        self.assertIn("\nok      tiny-together", done.stdout)
        log = self.log("tiny-together")
        self.assertTrue(log.startswith("1,3 sequences do not fit: ternion: error: cuda0: a buffer of 9 GiB"), log)
        self.assertEqual(log.count("build_commit"), 1)
        self.assertRegex(done.stdout, r"\ngpu_check: passed in \d+ s\n$")

    def test_what_fails_is_said(self):
        for wrong, line in (({"hash": "bbbb"}, "FAILED  logits: exit 1 "), ({"cases": 0}, "FAILED  conformance: exit 1 "),
                            ({"broken": "-npl 1 "}, "FAILED  tiny-together: exit 1 "), ({"broken": "plan -m"}, "FAILED  tiny-plans: exit 1 "),
                            ({"broken": "--replicas"}, "FAILED  together-replicas: exit 1 "), ({"broken": "--calibrate"}, "FAILED  calibrate: exit 1 ")):
            done = self.run_stub(**wrong)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn("\n" + line, done.stdout)
            self.assertRegex(done.stdout, r"\ngpu_check: FAILED in \d+ s\n$")

    # Each tool sees the program, whose self-test has every kernel, and the suite's products, attention and heads.
    def test_what_the_sanitizer_looks_at(self):
        tools = os.path.join(self.folder.name, "tools")
        os.makedirs(tools)
        with open(os.path.join(tools, "compute-sanitizer"), "w", encoding="utf-8") as file:
            file.write('#!/bin/bash\necho "$*"\necho "========= ERROR SUMMARY: 0 errors"\ncase "$*" in *racecheck*/ternion*) exit 9 ;; esac\n')
        os.chmod(os.path.join(tools, "compute-sanitizer"), 0o755)
        done = self.run_stub(mode="full", PATH=tools + ":" + os.environ["PATH"])
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertEqual(re.findall(r"^(\w+) +(sanitizer-[\w-]+)", done.stdout, re.M),
                         [("ok", "sanitizer-memcheck"), ("ok", "sanitizer-memcheck-suite"), ("FAILED", "sanitizer-racecheck"),
                          ("ok", "sanitizer-racecheck-suite"), ("ok", "sanitizer-synccheck"), ("ok", "sanitizer-synccheck-suite")])
        for tool in ("memcheck", "racecheck", "synccheck"):
            for log, parts in (("", ("/ternion run --device cuda0",)),
                               ("-suite", ("cuda0_TernaryMatmulOfQuantisedRows", "cuda0_AttentionEquals", "cuda0_DenseMatmulEquals"))):
                text = self.log(f"sanitizer-{tool}{log}")
                for part in (f"--tool {tool} ", "--error-exitcode 9", *parts):
                    self.assertIn(part, text)

    FIRST = ["devices", "conformance", "conformance-sm75", "logits", "limits"]
    OF_MODEL = ["synth", "reply", "prompts", "together", "profile"]
    TOGETHER = ["calibrate-cpu", "together-plan", "together-card", "together-cpu", "together-replicas", "together-pipeline"]

    def test_all_steps_in_the_order_of_their_worth(self):
        done = self.run_stub(mode="full", vulkan="vulkan0  vulkan   dot\\n", costs=True)
        self.assertEqual(done.returncode, 0, done.stdout)
        vulkan = ["vulkan-" + part for part in ("conformance", "logits", "limits", "speed", "profile")]
        names = [*self.FIRST, *("2b-4t-" + part for part in self.OF_MODEL), "calibrate", "2b-4t-plans", "2b-4t-costs", *self.TOGETHER, *vulkan,
                 *("llama3-8b-" + part for part in (*self.OF_MODEL, "plans", "costs"))]
        self.assertEqual(self.steps(done), [("ok", name) for name in names])
        self.assertEqual(self.log("together-cpu").count("\n"), 2, "a line of the plan, one of the summary")
        self.assertIn('"answered": 128', self.log("together-cpu"))
        self.assertIn('"answered": 2048', self.log("together-replicas"))
        self.assertEqual(len(re.findall("skipped Vulkan", done.stdout)), 0)
        self.assertIn("\nskipped Vulkan: no driver of it knows the card\n", self.run_stub(mode="full").stdout)
        quick = self.run_stub(mode="quick")
        self.assertEqual(self.steps(quick), [("ok", name) for name in names[:10]] + [("skipped", "Vulkan")])

    # The stub's replies: 3200.5 tokens/s, whatever they are of; by the plan 4000.5.
    def test_tables_of_a_full_run(self):
        done = self.run_stub(mode="full", vulkan="vulkan0  vulkan   dot\\n", costs=True)
        replies = ["reply of 128", "reply of 32, behind 1024", *(f"reply of 32, {n} sequences, behind 1024" for n in (4, 8, 16, 32, 64, 128))]
        measured = [row for row in self.table(done, "model") if row[1].startswith("reply")]
        self.assertEqual([row[1] for row in measured], replies, "the first table is of what was measured")
        at = done.stdout.index("| model | test | predicted")
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout[at:].splitlines() if line.startswith("| 2b-4t | ")]
        self.assertEqual(rows[:8], [["2b-4t", test, "4000.5", "3200.5", "0.80"] for test in replies])
        self.assertEqual(rows[8], ["2b-4t", "prompt of 256", "80000.0", "64000.0", "0.80"])
        self.assertEqual(self.table(done, "devices"), [["cuda0", "64", "4000.5", "3900.5", "0.98", "1.00", "0.93"], ["cpu0", "64", "-", "300.5", "-", "0.08", "0.07"],
                                                       ["copies: cpu0 x1 + cuda0 x2", "64", "-", "4100.5", "-", "1.05", "0.98"],
                                                       ["layers: cpu0: embedding, layer 0; cuda0: layer 1, head", "64", "700.0", "600.5", "0.86", "0.15", "0.14"]])
        wanted = self.table(done, "figure")
        self.assertEqual([row[0] for row in wanted], ["2b-4t, reply"] * 4 + ["2b-4t, 32 sequences behind 1024"] * 2 + ["2b-4t, 64 sequences behind 1024"] * 2 +
                         ["2b-4t, prompt of 512", "2b-4t, prompt of 2048", "2b-4t, reply by Vulkan"] + ["llama3-8b, reply"] * 2 +
                         ["llama3-8b, 32 sequences behind 1024"] * 2 + ["llama3-8b, 64 sequences behind 1024"] * 2 +
                         ["llama3-8b, prompt of 512"] * 2 + ["llama3-8b, prompt of 2048"] * 2)
        self.assertEqual([row[5] for row in wanted[:11]], ["yes", "yes", "yes", "yes", "no", "no", "no", "no", "no", "no", "yes"])
        self.assertTrue(done.stdout[done.stdout.index("| figure |"):].count("\n") == 2 + len(wanted) + 1, "it stands last")

    def test_nothing_is_met_without_its_figure_or_without_the_same_bits(self):
        vulkan = "vulkan0  vulkan   dot\\n"
        met = [row[5] for row in self.table(self.run_stub(mode="full", vulkan=vulkan, broken="-p 0 -n 128"), "figure")]
        self.assertEqual(met[:4] + [met[10]], ["not measured"] * 4 + ["limit not known"])
        met = [row[5] for row in self.table(self.run_stub(mode="full", vulkan=vulkan, broken="synth 2b-4t"), "figure")]
        self.assertEqual(met[:11], ["not measured"] * 11)
        self.assertIn("yes", met[11:])
        met = [row[5] for row in self.table(self.run_stub(mode="full", broken="bench -dev cuda0"), "figure")]
        self.assertEqual(met[:8] + met[11:], ["limit not known"] * 18)
        for wrong in ({"hash": "bbbb"}, {"cases": 0}, {"broken": "logits --device"}):
            met = [row[5] for row in self.table(self.run_stub(mode="full", vulkan=vulkan, **wrong), "figure")]
            self.assertNotIn("yes", met)
            self.assertIn("fast enough, but not shown to be exact", met)

    def test_what_needs_a_step_that_failed_is_left_out(self):
        for broken, names in (("synth", [*("tiny-" + part for part in self.OF_MODEL[1:]), "tiny-plans", *self.TOGETHER]), ("--device cuda0", ["tiny-plans"]),
                              ("--batch 3 -c 32", ["together-pipeline"])):
            done = self.run_stub(broken=broken)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertEqual([name for how, name in self.steps(done) if how == "skipped" and not name.endswith("-costs")], names)

    def test_what_no_longer_fits_is_left_out(self):
        names = [*self.FIRST, *("tiny-" + part for part in self.OF_MODEL), "calibrate", "tiny-plans", *self.TOGETHER]
        done = self.run_stub(TN_GPU_CHECK_SECONDS="0")
        self.assertEqual(done.returncode, 3, done.stdout)
        self.assertEqual(self.steps(done), [("skipped", name) for name in names])
        self.assertEqual(done.stdout.count(": no time is left\n"), 7, done.stdout)
        self.assertEqual({row[5] for row in self.table(done, "figure")}, {"not measured"})
        self.assertRegex(done.stdout, rf"\ngpu_check: no step failed in \d+ s, but {len(names)} were left out\n$")
        began = time.monotonic()
        done = self.run_stub(slow="60", TN_GPU_CHECK_SECONDS="3")
        self.assertLess(time.monotonic() - began, 30)
        self.assertEqual(done.returncode, 3, done.stdout)
        self.assertRegex(done.stdout, r"\nok      logits .*\n(.*\n)*skipped tiny-synth: it did not end in the [123] s that were left\n")
        self.assertRegex(done.stdout, rf"\ngpu_check: no step failed in \d+ s, but {len(names) - 5} were left out\n$")
        done = self.run_stub(hash="bbbb", TN_GPU_CHECK_SECONDS="3", slow="60")
        self.assertEqual(done.returncode, 1, done.stdout)

    def test_a_sanitizer_that_cannot_look_is_no_failure(self):
        tools = os.path.join(self.folder.name, "tools")
        os.makedirs(tools)
        sanitizer = os.path.join(tools, "compute-sanitizer")
        for text, status, line in (("========= COMPUTE-SANITIZER\n========= Error: Debugger API not supported on this device", 1,
                                    "skipped compute-sanitizer: it cannot look into programs here: ========= Error: Debugger API not supported"),
                                   ("========= Error: Target application terminated before first instrumented API call", 255,
                                    "skipped compute-sanitizer: it cannot look into programs here: ========= Error: Target application"),
                                   ("========= ERROR SUMMARY: 0 errors", 0, "ok      sanitizer-racecheck"),
                                   ("========= ERROR SUMMARY: 2 errors", 9, "FAILED  sanitizer-racecheck: exit 9")):
            with open(sanitizer, "w", encoding="utf-8") as file:
                file.write(f"#!/bin/bash\nprintf '%s\\n' '{text}'\nexit {status}\n")
            os.chmod(sanitizer, 0o755)
            done = self.run_stub(mode="full", PATH=tools + ":" + os.environ["PATH"])
            self.assertEqual(done.returncode, 1 if status == 9 else 0, done.stdout)
            self.assertIn("\n" + line, done.stdout)

    def test_wrong_calls(self):
        for arguments in ([], [self.folder.name], [self.folder.name, self.folder.name], ["/nowhere", self.folder.name]):
            done = self.run_script(*arguments)
            self.assertEqual(done.returncode, 2)
            self.assertIn("usage: gpu_check.sh FOLDER OUT", done.stderr)
        self.run_stub()
        done = self.run_script(os.path.join(self.folder.name, "package"), self.folder.name, "slow")
        self.assertEqual((done.returncode, "there is no mode slow" in done.stderr), (2, True))

    def bench_results(self, name):
        return [json.loads(line) for line in self.log(name).splitlines() if line.startswith("{")]

    def test_a_dry_run_on_the_stand_in(self):
        folder, out = os.path.join(self.folder.name, "package"), os.path.join(self.folder.name, "out")
        subprocess.run([os.path.join(SCRIPTS, "gpu_package.sh"), BUILD_DIR, folder], check=True, capture_output=True)
        done = self.run_script(folder, out, "dry", TN_GPU_CHECK_DEVICE="cuda:host", TN_CUDA_LIBRARY=STAND_IN, TN_GPU_CHECK_SECONDS="800")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual([name for how, name in self.steps(done) if how == "ok" and not name.endswith("-costs")],
                         [*self.FIRST, *("tiny-" + part for part in self.OF_MODEL), "calibrate", "tiny-plans", *self.TOGETHER])
        self.check_rows(done)
        self.check_plans(done)
        self.check_wanted(done)

    def check_rows(self, done):
        rows = {cells[1].strip(): cells for cells in (line.strip("|").split("|") for line in done.stdout.splitlines() if line.startswith("| tiny")) if len(cells) == 11}
        self.assertEqual(list(rows), ["reply of 2", "prompt of 20", "reply of 2, behind 6", "reply of 2, 3 sequences, behind 6"])
        best = max(l["best"] for l in self.bench_results("limits")[0]["limits"] if l["limit"] == "memory_read")
        self.assertRegex(done.stdout, rf"\nmemory: {best / 1e9:.1f} GB/s measured, 8\.0 by its data sheet")
        for log in ("reply", "prompts", "together"):
            for r in self.bench_results("tiny-" + log):
                name = f"prompt of {r['n_prompt']}" if r["n_prompt"] else f"reply of {r['n_gen']}"
                name += (f", {r['n_pl']} sequences" if r["n_pl"] > 1 else "") + (f", behind {r['n_depth']}" if r["n_depth"] else "")
                cells = rows.pop(name)
                self.assertEqual(cells[2].strip(), f"{r['median_ts']:.2f}")
                self.assertLess(abs(float(re.sub("[ %]", "", cells[4])) - 100 * r["read_bytes_per_s"] / best), 0.051)
                self.assertNotIn(cells[9].strip(), ("", "-"))
        self.assertEqual(rows, {})

    # Every reply was predicted from what calibrate measured, and both devices answered alone and together.
    def check_plans(self, done):
        at = done.stdout.index("| model | test | predicted")
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout[at:].splitlines() if line.startswith("| tiny | reply")]
        self.assertEqual([row[1] for row in rows], ["reply of 2", "reply of 2, behind 6", "reply of 2, 3 sequences, behind 6"])
        for row, plan in zip(rows, [json.loads(line) for line in self.log("tiny-plans").splitlines() if line.startswith("{")], strict=True):
            self.assertEqual(row[2], f"{plan['devices'][0]['tokens_per_second']:.1f}")
            self.assertAlmostEqual(float(row[4]), float(row[3]) / float(row[2]), delta=0.01 + 0.02 * float(row[4]))
        together = self.table(done, "devices")
        self.assertEqual([row[0] for row in together[:2]], ["cuda:host", "cpu0"])
        self.assertRegex(together[2][0], r"^copies: cpu0 x[12] \+ cuda:host x[12]$")
        for row in together[:2]:
            self.assertTrue(all(float(cell) > 0 for cell in row[1:4]), row)
        self.assertEqual(together[3][0], "layers: cpu0: embedding, layer 0; cuda:host: layer 1, head")
        self.assertGreater(min(float(row[3]) for row in together), 0)
        self.assertIn("\nternion plan chooses ", done.stdout)

    def check_wanted(self, done):
        wanted = self.table(done, "figure")
        self.assertEqual([row[0] for row in wanted], ["tiny, reply"] * 4 + ["tiny, 3 sequences behind 6"] * 2 + ["tiny, prompt of 20", "tiny, reply by Vulkan"])
        for row in wanted[:-1]:
            self.assertIn(row[5], ("yes", "no"), row)
            self.assertEqual(row[5], "yes" if float(row[3]) >= float(row[2]) else "no", row)
        self.assertEqual(wanted[-1][5], "not measured")
        step = 376512 + 3 * 6 * 1024
        self.assertIn(f"60 % of {3 * 8.0e9 / step:.0f}, memory by the data sheet", wanted[5][1])


if __name__ == "__main__":
    of_stand_in = "test_a_dry_run_on_the_stand_in"
    wanted = [name for name in dir(Script) if name.startswith("test_") and (name == of_stand_in) == bool(STAND_IN)]
    unittest.main(argv=sys.argv[:1] + ["Script." + name for name in wanted])
