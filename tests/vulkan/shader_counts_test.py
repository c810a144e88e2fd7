#!/usr/bin/env python3
"""scripts/shader_counts.py on a build, and on a loop that is counted by hand.

usage: shader_counts_test.py SOURCE_DIR BUILD_DIR
"""
import importlib.util
import json
import os
import subprocess
import sys
import unittest

BUILD_DIR = sys.argv.pop(2)
SOURCE_DIR = sys.argv.pop(1)
SCRIPT = os.path.join(SOURCE_DIR, "scripts", "shader_counts.py")
SHARED_BYTES_MAX = 16384  # what every device has

# A loop with three products around one with two of them, a dot product, and loads and a store of each kind.
LOOPS = """
%uint = OpTypeInt 32 0
%7 = OpConstant %uint 7
%tile_type = OpTypeArray %uint %7
%buffer = OpVariable %buffer_pointer StorageBuffer
%tile = OpVariable %tile_pointer Workgroup
%tile_pointer = OpTypePointer Workgroup %tile_type
%main = OpFunction %void None %main_type
%1 = OpLabel
OpBranch %2
%2 = OpLabel
%20 = OpPhi %uint %0 %1 %21 %8
OpLoopMerge %9 %8 None
OpBranch %3
%3 = OpLabel
%30 = OpIMul %uint %20 %20
%31 = OpIMul %uint %20 %30
%32 = OpIMul %uint %20 %31
OpBranch %4
%4 = OpLabel
OpLoopMerge %6 %5 None
OpBranchConditional %true %5 %6
%5 = OpLabel
%50 = OpIMul %uint %20 %20
%51 = OpIMul %uint %50 %20
%52 = OpSDot %uint %51 %51 PackedVectorFormat4x8Bit
%53 = OpAccessChain %pointer %buffer %0
%54 = OpLoad %uint %53
%55 = OpAccessChain %pointer %tile %0
%56 = OpLoad %uint %55
OpStore %55 %54
%57 = OpBitwiseAnd %uint %54 %56
%58 = OpBitcast %float %57
%59 = OpFMul %float %58 %58
OpBranch %4
%6 = OpLabel
OpBranch %8
%8 = OpLabel
%21 = OpIAdd %uint %20 %20
OpBranch %2
%9 = OpLabel
OpReturn
OpFunctionEnd
"""


def script():
    spec = importlib.util.spec_from_file_location("shader_counts", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)


class Counting(unittest.TestCase):
    def test_the_inner_loop_is_counted_by_kind_and_nothing_around_it(self):
        counts = script()
        module = counts.Module(counts.instructions_in(LOOPS))
        body = module.inner_loop()
        self.assertEqual(sorted(i.op for i in body), sorted(["Label", "LoopMerge", "BranchConditional", "Label", "IMul", "IMul", "SDot", "AccessChain",
                                                             "Load", "AccessChain", "Load", "Store", "BitwiseAnd", "Bitcast", "FMul", "Branch"]))
        kinds = sorted(module.kind(i) for i in body if i.op not in counts.FREE)
        self.assertEqual(kinds, sorted(["multiply"] * 2 + ["dot", "load_buffer", "load_shared", "store_shared", "bits", "float"] + ["other"] * 3))
        self.assertEqual(module.shared_bytes(), 28)


class OfTheBuild(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.done = run(os.path.join(BUILD_DIR, "spirv"), "--json")
        cls.results = json.loads(cls.done.stdout)["results"] if cls.done.returncode == 0 else []

    def of(self, shader, cols):
        found = [r for r in self.results if r["shader"] == shader and r["cols"] == cols]
        self.assertTrue(found, shader)
        return found[0]

    def test_it_runs_over_all_forms(self):
        self.assertEqual((self.done.returncode, self.done.stderr), (0, ""))
        self.assertLessEqual({"matmul_ternary_dot", "matmul_ternary_mul", "matmul_ternary_mul_texel", "matmul_ternary_mul_shuffle",
                              "matmul_ternary_gemm_dot", "matmul_ternary_gemm_mul", "matmul_dense_q6_k_dot", "matmul_dense_q6_k_mul"},
                             {r["shader"] for r in self.results})

    def test_forms_with_a_dot_product_have_16_of_them_for_64_weights(self):
        for r in self.results:
            self.assertEqual(r["per_64_weights"]["dot"], 16 if "_dot" in r["shader"] else 0, r["name"])

    def test_forms_without_have_a_product_for_two_weights(self):
        for r in self.results:
            if "ternary" in r["shader"] and "_mul" in r["shader"]:
                # And for a few addresses.
                self.assertGreaterEqual(r["per_64_weights"]["multiply"], 32, r["name"])
                self.assertLessEqual(r["per_64_weights"]["multiply"], 34, r["name"])

    def test_many_tokens_share_what_is_unpacked_and_loaded(self):
        gemm, dot = self.of("matmul_ternary_gemm_dot", 4), self.of("matmul_ternary_dot", 4)
        self.assertEqual(gemm["loop"]["dot"], 256)
        self.assertEqual(gemm["loop"]["load_shared"], 20)  # 4 units of weights, 4 x 4 of codes
        self.assertEqual(gemm["loop"]["load_buffer"], 2)   # of the next step
        self.assertLess(gemm["per_64_weights"]["all"], dot["per_64_weights"]["all"])
        gemm, mul = self.of("matmul_ternary_gemm_mul", 4), self.of("matmul_ternary_mul", 8)
        self.assertEqual(gemm["loop"]["load_shared"], 36)  # 4 units of weights, 4 x 8 of codes
        self.assertEqual(gemm["loop"]["load_buffer"], 3)   # of the next step
        self.assertLess(gemm["per_64_weights"]["load_buffer"], mul["per_64_weights"]["load_buffer"] / 10)

    def test_shared_memory_is_what_every_device_has(self):
        for r in self.results:
            self.assertLessEqual(r["shared_bytes"], SHARED_BYTES_MAX, r["name"])
        self.assertEqual(self.of("matmul_ternary_gemm_dot", 4)["shared_bytes"], 2 * 16 * (64 + 64 * 5))
        self.assertEqual(self.of("matmul_ternary_gemm_mul", 4)["shared_bytes"], 2 * 16 * (64 + 32 * 9))

    def test_what_goes_wrong_is_one_line(self):
        done = run(os.path.join(BUILD_DIR, "no_such_folder"), "--only", "gemm")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertIn("matmul_ternary_gemm_dot.spv is not there", done.stderr)


if __name__ == "__main__":
    unittest.main()
