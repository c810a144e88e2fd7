#!/usr/bin/env python3
"""scripts/cuda_counts.py: what it reads of a cubin that is made here, and that each of its complaints can come. Standard library only."""
import contextlib
import json
import os
import re
import struct
import sys
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "scripts"))
import cuda_counts  # noqa: E402

FFMA, IDP, BRA = 0x223, 0x226, 0x947
LOG = """ptxas info    : Compiling entry function 'k' for 'sm_90'
ptxas info    : Function properties for k
    {stack} bytes stack frame, {spills} bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 512 bytes smem
"""


def instruction(opcode):
    return struct.pack("<QQ", opcode, 0)


def branch(words, arch):
    """To so many words of 4 bytes behind the next instruction."""
    words &= (1 << 56) - 1
    low = BRA
    if arch >= 90:
        low |= (words & 0xff) << 16
        words >>= 8
    low |= (words << 34) & ((1 << 64) - 1)
    return struct.pack("<QQ", low, words >> 30 & 0x3ffff)


def elf(name, code):
    strings = b"\0.shstrtab\0" + name + b"\0"
    at_code, at_strings = 64, 64 + len(code)
    at_headers = at_strings + len(strings)
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 190, 1, 0, 0, at_headers, 0, 64, 0, 0, 64, 3, 1)
    sections = [struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
                struct.pack("<IIQQQQIIQQ", 1, 3, 0, 0, at_strings, len(strings), 0, 0, 1, 0),
                struct.pack("<IIQQQQIIQQ", 11, 1, 0, 0, at_code, len(code), 0, 0, 16, 0)]
    return header + code + strings + b"".join(sections)


class Counts(unittest.TestCase):
    def test_a_cubins_sections_and_opcodes(self):
        code = instruction(IDP) + instruction(FFMA)
        sections = dict(cuda_counts.sections(elf(b".text.k", code)))
        self.assertEqual(sections[".text.k"], code)
        self.assertEqual(cuda_counts.count(cuda_counts.opcodes(code)), {"instructions": 2, "fused": 1, "dot": 1})

    def test_loops_of_both_forms_of_branches(self):
        for arch in (75, 90):
            code = instruction(0x918) + instruction(IDP) * 3 + branch(-4 * 4, arch) + instruction(0x918)
            ops = cuda_counts.opcodes(code)
            self.assertEqual(cuda_counts.branch_target(code, 4, arch), 1)
            self.assertEqual(cuda_counts.loops(code, ops, arch), [{"instructions": 4, "dot": 3, "branch": 1}])

    def test_what_ptxas_tells(self):
        self.assertEqual(cuda_counts.resources(LOG.format(stack=8, spills=4)), {"k": {"registers": 40, "shared": 512, "stack": 8, "spills": 4}})

    def test_a_loop_for_64_weights(self):
        self.assertEqual(cuda_counts.per_64_weights("ternary_one", {"instructions": 169, "dot": 64}), 42.25)
        self.assertEqual(cuda_counts.per_64_weights("ternary_many_mma", {"instructions": 128, "mma": 32}), 2)
        self.assertEqual(cuda_counts.per_64_weights("dense_q6_k_mma", {"instructions": 128, "mma": 32}), 4)

    def test_each_complaint(self):
        self.assertEqual(cuda_counts.self_test(), 0)

    def test_a_comparison_that_sees_nothing_fails_the_self_test(self):
        for name in ("loop_complaints", "weight_complaints", "kernel_complaints"):
            was = getattr(cuda_counts, name)
            setattr(cuda_counts, name, lambda *_: [])
            with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stderr(nowhere):
                self.assertEqual(cuda_counts.self_test(), 1, name)
            setattr(cuda_counts, name, was)

    def test_kernels_for_fast_numerics_alone_may_fuse_and_have_to(self):
        for name, key, n in (("k_fast", "fused", 0), ("k_fast_mma", "float_mma", 0), ("k", "fused", 1), ("k_mma", "float_mma", 1)):
            kernel = {"registers": 40, "shared": 512, "stack": 0, "spills": 0, "loops": []}
            for value, want in ((0, 1 - n), (3, n)):
                counts = {name: {"sm_90": {**kernel, key: value}}}
                found = [line for line in cuda_counts.complaints(counts, {name: {"sm_90": kernel}}) if line.startswith(name + " ")]
                self.assertEqual(len(found), want, (name, value))

    def test_what_a_build_lacks_stays_recorded(self):
        recorded = {"k": {"sm_80": {"registers": 1}, "sm_90": {"registers": 2}}, "gone": {"sm_90": {}}}
        self.assertEqual(cuda_counts.merged({"k": {"sm_90": {"registers": 3}}, "new": {"sm_90": {}}}, recorded),
                         {"k": {"sm_80": {"registers": 1}, "sm_90": {"registers": 3}}, "new": {"sm_90": {}}})

    def test_every_kernel_is_recorded_for_every_architecture_that_is_shipped(self):
        with open(os.path.join(ROOT, "cmake", "tn_cuda.cmake"), encoding="utf-8") as file:
            archs = re.search(r'set\(TN_CUDA_ARCHS "([0-9;]+)"', file.read()).group(1).split(";")
        with open(os.path.join(ROOT, "tests", "cuda_host", "kernel_counts.json"), encoding="utf-8") as file:
            for kernel, recorded in json.load(file)["kernels"].items():
                wanted = ["90"] if cuda_counts.ONLY_SM_90 in kernel else archs
                self.assertEqual(sorted(recorded), sorted("sm_" + arch for arch in wanted), kernel)


if __name__ == "__main__":
    unittest.main()
