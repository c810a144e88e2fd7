#!/usr/bin/env python3
"""Checks who includes whom: each folder of src/ may include what stands in RULES, and nothing else. Standard library only.

usage: check_layers.py [ROOT]        checks the tree, prints each violation as file:line
       check_layers.py --self-test   shows on made-up trees that violations are found
Also: names of files in src/ are unique in the whole tree of src/, and each third-party header is included by the files that own it alone.
"""
import collections
import os
import re
import sys
import tempfile

# Folder of src/ -> what its files may include, as paths below src/ ("graph" is the whole folder). Its own folder, the public headers
# ("ternion/...") and the C library are always allowed.
RULES = {
    "base": [],
    "format": ["base"],
    "graph": ["format/dtype.h", "base"],
    "backend": ["graph/op.h", "format/dtype.h", "format/dense.h", "base"],
    "ref": ["graph/op.h", "format", "base"],
    "cpu": ["ref", "backend", "graph/op.h", "format/dtype.h", "base"],
    "selftest": ["ref", "backend", "graph/op.h", "format/dtype.h", "base"],
    "cuda": ["selftest", "ref", "backend", "graph/op.h", "format/dtype.h", "format/dense.h", "base"],
    "vulkan": ["selftest", "ref", "backend", "graph/op.h", "format/dtype.h", "format/dense.h", "base"],
    "scheduler": ["graph", "backend", "base"],
    "model": ["graph", "format", "base"],
    "eval": ["base"],
    "runtime": ["model", "scheduler", "backend", "graph", "format", "base"],
}

# Third-party header -> the only files that may include it.
OWNERS = {
    "hwloc.h": ["src/scheduler/topology.c"],
    "jansson.h": ["src/format/json.c", "tools/ternion/json_out.h"],
    "utf8proc.h": ["src/model/unicode.c"],
    "volk.h": ["src/vulkan/vk_volk.c"],
    "vulkan/vulkan_core.h": ["src/vulkan/vk_api.h"],
    "xxhash.h": ["src/base/hash.c", "tools/ternion/batch_reader.c", "tools/ternion/bytes_hash.c", "tools/ternion/cmd_logits.c", "tools/ternion/trace_rows.c"],
}

# Headers that the build writes; they stand in no folder of the tree.
GENERATED = ["build_info.h"]

# The emulation by which CUDA kernels run on the host, in tests: of the tests, and included by the one file that kernels are written in.
EMULATION = ("src/cuda/kernels/gpu.cuh", "cuda_host/gpu_host.hpp")

SUFFIXES = (".c", ".h", ".inc", ".cpp", ".cu", ".cuh", ".comp", ".glsl")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
Include = collections.namedtuple("Include", "file line path quoted")


def source_files(root, folder):
    for where, folders, names in os.walk(os.path.join(root, folder)):
        folders.sort()
        for name in sorted(names):
            if name.endswith(SUFFIXES):
                yield os.path.relpath(os.path.join(where, name), root)


def includes_of(root, file):
    with open(os.path.join(root, file), encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            found = INCLUDE.match(line)
            if found:
                yield Include(file, number, found[2], found[1] == '"')


def allowed_in_src(include, folder):
    if not include.quoted or include.path.startswith("ternion/"):
        return True
    allowed = [folder] + RULES[folder]
    return any(include.path == a or include.path.startswith(a + "/") for a in allowed)


def check_src(root, problems):
    names = collections.defaultdict(list)
    for file in source_files(root, "src"):
        parts = file.split(os.sep)
        names[parts[-1]].append(file)
        folder = parts[1]
        if len(parts) < 3 or folder not in RULES:
            problems.append(f"{file}: no rule for this folder: add it to RULES in scripts/check_layers.py")
            continue
        for include in includes_of(root, file):
            if not allowed_in_src(include, folder) and (file.replace(os.sep, "/"), include.path) != EMULATION:
                problems.append(f'{file}:{include.line}: src/{folder} may not include "{include.path}"'
                                f" (it may: {', '.join([folder] + RULES[folder])}, ternion/*)")
    for name, files in names.items():
        if len(files) > 1:
            problems.append(f"{' and '.join(files)}: two files of one name: give them names that say which is which")


def check_outside(root, problems):
    """Public headers stand alone; the program and the examples see nothing but them."""
    for file in source_files(root, "include"):
        for include in includes_of(root, file):
            if include.quoted and not include.path.startswith("ternion/"):
                problems.append(f'{file}:{include.line}: a public header may not include "{include.path}"')
    for folder in ("tools", "examples"):
        for file in source_files(root, folder):
            for include in includes_of(root, file):
                here = os.path.join(os.path.dirname(file), include.path)
                own = include.path in GENERATED or os.path.exists(os.path.join(root, here))
                if include.quoted and not include.path.startswith("ternion/") and not own:
                    problems.append(f'{file}:{include.line}: {folder} may include only ternion/* and its own files, not "{include.path}"')


def check_owners(root, problems):
    for folder in ("src", "include", "tools"):
        for file in source_files(root, folder):
            for include in includes_of(root, file):
                owners = OWNERS.get(include.path)
                if owners is not None and file.replace(os.sep, "/") not in owners:
                    problems.append(f"{file}:{include.line}: only {' and '.join(owners)} may include <{include.path}>")


def check(root):
    problems = []
    check_src(root, problems)
    check_outside(root, problems)
    check_owners(root, problems)
    return problems


def self_test():
    good = {
        "src/base/status.h": "#include <stdio.h>\n",
        "src/cuda/kernels/gpu.cuh": '#include "cuda_host/gpu_host.hpp"\n',
        "src/format/dtype.h": '#include "base/status.h"\n#include "ternion/base.h"\n',
        "src/graph/op.h": '#include "format/dtype.h"\n',
        "src/cpu/x86/add_avx2.c": '#include "cpu/kernel.h"\n#include "graph/op.h"\n',
        "src/cpu/kernel.h": '#include "backend/backend.h"\n',
        "src/backend/backend.h": '#include "graph/op.h"\n',
        "src/scheduler/topology.c": "#include <hwloc.h>\n",
        "tools/ternion/main.c": '#include "ternion/base.h"\n#include "help.h"\n',
        "tools/ternion/help.h": "",
        "include/ternion/base.h": "#include <stdint.h>\n",
    }
    bad = [  # file, its text, what the complaint must name
        ("src/base/text.c", '#include "format/dtype.h"\n', "src/base may not include"),
        ("src/graph/graph.c", '#include "format/gguf.h"\n', "src/graph may not include"),
        ("src/cuda/kernels/row.cu", '#include "cuda_host/gpu_host.hpp"\n', "src/cuda may not include"),
        ("src/cpu/cpu_pool.c", '#include "scheduler/topology.h"\n', "src/cpu may not include"),
        ("src/cpu/cpu_pool.c", '  #  include "graph/graph.h"\n', "cpu_pool.c:1"),
        ("src/model/arch.c", '\n\n#include "backend/backend.h"\n', "arch.c:3"),
        ("src/cpu/status.h", "", "two files of one name"),
        ("src/extra/thing.c", "", "no rule for this folder"),
        ("src/loose.c", "", "no rule for this folder"),
        ("src/cpu/cpu_cores.c", "#include <hwloc.h>\n", "only src/scheduler/topology.c"),
        ("tools/ternion/cmd.c", '#include "base/status.h"\n', "tools may include only"),
        ("examples/generate.c", '#include "model/model_internal.h"\n', "examples may include only"),
        ("include/ternion/model.h", '#include "base/status.h"\n', "public header"),
    ]

    def problems_of(files):
        with tempfile.TemporaryDirectory() as root:
            for file, text in files.items():
                os.makedirs(os.path.dirname(os.path.join(root, file)), exist_ok=True)
                with open(os.path.join(root, file), "w", encoding="utf-8") as out:
                    out.write(text)
            return check(root)

    failures = []
    if problems_of(good):
        failures.append(f"a clean tree is refused: {problems_of(good)}")
    for file, text, complaint in bad:
        problems = problems_of({**good, file: text})
        if len(problems) != 1 or complaint not in problems[0]:
            failures.append(f"{file} with {text!r}: wanted one complaint with {complaint!r}, got {problems}")
    for failure in failures:
        print(f"check_layers: self-test: {failure}", file=sys.stderr)
    print(f"check_layers: self-test: {len(bad) + 1 - len(failures)} of {len(bad) + 1} cases right")
    return 1 if failures else 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    n_files = sum(1 for _ in source_files(root, "src"))
    if n_files == 0:
        print(f"check_layers: no sources below {root}/src: pass the root of the repository", file=sys.stderr)
        return 1
    problems = check(root)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"check_layers: {n_files} files of src/, {len(problems)} violations")
    return 1 if problems else 0


sys.exit(main())
