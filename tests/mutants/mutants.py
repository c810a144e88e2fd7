#!/usr/bin/env python3
"""Shows that the tests labelled kernel and golden notice a wrong rounding. Standard library, CMake and Ninja.

usage: mutants.py --source DIR --work DIR --cc CC --cxx CXX

Works on a copy of the sources in WORK/tree, with one build in WORK/build. The copy as it is (the control) must pass
`ctest -L 'kernel|golden'`. Then each mutant is applied alone, built, and must fail the same command, which stops at the first test that
fails, by an assertion: a build that fails, a crash, a time-out or a test that did not run does not count.
"""
import argparse
import collections
import filecmp
import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree

LABELS = "kernel|golden"
COPIED = ["CMakeLists.txt", "LICENSE", "README.md", "cmake", "include", "src", "tools", "tests", "models", "scripts", "docs", "examples"]
LEFT_OUT = {os.path.join("tests", "mutants")}

Mutant = collections.namedtuple("Mutant", "name cpu_flag c_flags file old new")

# c_flags: for every C file, after all others.  old, new: text of `file`, which must stand there exactly once.
# cpu_flag: what /proc/cpuinfo must list for the mutant to run here.
MUTANTS = [
    Mutant("the reference's tree adds neighbours", None, "", "src/ref/ref_sums.c",
           "lane[l] = lane[l] + lane[l + width];", "lane[l] = lane[2 * l] + lane[2 * l + 1];"),
    Mutant("the AVX2 kernels' tree adds its quarters in order", "avx2", "", "src/cpu/x86/simd_avx2.h",
           "_mm256_add_ps(_mm256_add_ps(x.a, x.c), _mm256_add_ps(x.b, x.d))", "_mm256_add_ps(_mm256_add_ps(x.a, x.b), _mm256_add_ps(x.c, x.d))"),
    Mutant("the SSE4.1 kernels' tree adds its eighths in order", "sse4_1", "", "src/cpu/x86/simd_sse41.h",
           "_mm_add_ps(_mm_add_ps(x.a, x.e), _mm_add_ps(x.c, x.g))", "_mm_add_ps(_mm_add_ps(x.a, x.c), _mm_add_ps(x.e, x.g))"),
    Mutant("products and sums are fused (-ffp-contract=fast -mfma)", "fma", "-ffp-contract=fast -mfma", None, None, None),
]


class Failure(Exception):
    pass


def run(command, quiet=True, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0 and quiet:
        raise Failure(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}")
    return done


def copy_tree(source, tree):
    """Makes `tree` equal to the sources, touching only what differs, so that a second run builds little."""
    wanted = set()
    for top in COPIED:
        path = os.path.join(source, top)
        if os.path.isfile(path):
            wanted.add(top)
        for where, folders, names in os.walk(path):
            relative = os.path.relpath(where, source)
            folders[:] = [f for f in folders if os.path.join(relative, f) not in LEFT_OUT and f != "__pycache__"]
            wanted.update(os.path.join(relative, name) for name in names)
    for where, _, names in os.walk(tree):
        for name in names:
            if os.path.relpath(os.path.join(where, name), tree) not in wanted:
                os.remove(os.path.join(where, name))
    for file in wanted:
        old, new = os.path.join(tree, file), os.path.join(source, file)
        if not os.path.exists(old) or not filecmp.cmp(old, new, shallow=False):
            os.makedirs(os.path.dirname(old), exist_ok=True)
            shutil.copyfile(new, old)


class Suite:
    def __init__(self, tree, build, cc, cxx, environment):
        self.tree, self.build, self.cc, self.cxx, self.environment = tree, build, cc, cxx, environment

    def make(self, flags):
        """Configures, and builds the programs of the labelled tests."""
        run(["cmake", "-S", self.tree, "-B", self.build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
             "-DCMAKE_C_FLAGS_RELWITHDEBINFO=-O2 -g", "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1", f"-DCMAKE_C_COMPILER={self.cc}",
             f"-DCMAKE_CXX_COMPILER={self.cxx}", f"-DTN_EXTRA_C_FLAGS={flags}", "--log-level=WARNING"])
        listing = json.loads(run(["ctest", "--test-dir", self.build, "-L", LABELS, "--show-only=json-v1"]).stdout)
        programs = set()
        labels = set()
        for test in listing["tests"]:
            if "command" in test:
                programs.update(os.path.relpath(word, self.build) for word in test["command"] if word.startswith(self.build + os.sep))
            else:  # not built yet: tn_add_test names test and target alike
                programs.add(test["name"])
            labels.update(next(p["value"] for p in test["properties"] if p["name"] == "LABELS"))
        missing = set(LABELS.split("|")) - labels
        if missing:
            raise Failure(f"no test has the label {' or '.join(sorted(missing))}: the suite would prove nothing")
        run(["cmake", "--build", self.build, "--parallel", str(os.cpu_count()), "--target", *sorted(programs)])

    def test(self, stop=False):
        """Runs the labelled tests, with `stop` up to the first that fails: returns their number, and name -> output of those that failed."""
        report = os.path.join(self.build, "mutants.xml")
        if os.path.exists(report):
            os.remove(report)
        stopping = ["--stop-on-failure"] if stop else []
        run(["ctest", "--test-dir", self.build, "-L", LABELS, "--no-tests=error", "--output-junit", report, *stopping], quiet=False,
            env=self.environment)
        cases = list(xml.etree.ElementTree.parse(report).getroot().iter("testcase"))
        not_run = [c.get("name") for c in cases if c.get("status") not in ("run", "fail")]
        if not_run and not stop:
            raise Failure(f"did not run: {', '.join(not_run)}")
        return len(cases), {c.get("name"): c.findtext("system-out") or "" for c in cases if c.get("status") == "fail"}


def failed_assertions(output):
    """Names of the GoogleTest cases that failed, without repeats."""
    names = [line.split("]", 1)[1].split(",")[0].split("(")[0].strip() for line in output.splitlines() if line.startswith("[  FAILED  ]")]
    return sorted({name for name in names if "." in name})


def cpu_has(flag):
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        return any(flag in line.split() for line in cpuinfo if line.startswith("flags"))


def check_mutant(suite, mutant):
    path = os.path.join(suite.tree, mutant.file) if mutant.file else None
    original = None
    if path:
        with open(path, encoding="utf-8") as f:
            original = f.read()
        if original.count(mutant.old) != 1:
            raise Failure(f"'{mutant.name}': {mutant.file} has {original.count(mutant.old)} times {mutant.old!r}: bring mutants.py up to date")
        with open(path, "w", encoding="utf-8") as f:
            f.write(original.replace(mutant.old, mutant.new))
    try:
        suite.make(mutant.c_flags)
        n_tests, failed = suite.test(stop=True)
    finally:
        if path:
            with open(path, "w", encoding="utf-8") as f:
                f.write(original)
    assertions = sorted({case for output in failed.values() for case in failed_assertions(output)})
    if not assertions:
        raise Failure(f"'{mutant.name}' survives: of {n_tests} programs, {len(failed)} failed, none by an assertion")
    print(f"found: {mutant.name}: {', '.join(failed)} fails in {len(assertions)} cases, for example {assertions[0]}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    for option in ("--source", "--work", "--cc", "--cxx"):
        parser.add_argument(option, required=True)
    arguments = parser.parse_args()
    source, work = os.path.realpath(arguments.source), os.path.realpath(arguments.work)
    tree, build = os.path.join(work, "tree"), os.path.join(work, "build")
    environment = dict(os.environ)
    environment.setdefault("TN_TEST_DATA", os.path.join(os.path.dirname(source), "shared", "data"))
    try:
        copy_tree(source, tree)
        suite = Suite(tree, build, arguments.cc, arguments.cxx, environment)
        suite.make("")
        n_tests, failed = suite.test()
        if failed:
            raise Failure(f"the unchanged sources fail {', '.join(failed)}: mutants prove nothing\n" + "".join(failed.values())[-3000:])
        print(f"control: all {n_tests} programs labelled {LABELS} pass", flush=True)
        for mutant in MUTANTS:
            if mutant.cpu_flag and not cpu_has(mutant.cpu_flag):
                print(f"not run: {mutant.name}: this CPU has no {mutant.cpu_flag}", flush=True)
            else:
                check_mutant(suite, mutant)
    except Failure as failure:
        print(f"mutants: {failure}", file=sys.stderr)
        return 1
    return 0


sys.exit(main())
