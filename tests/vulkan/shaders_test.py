#!/usr/bin/env python3
"""The modules of a build as spirv-dis and spirv-val see them, and what scripts/build_shaders.py refuses.

usage: shaders_test.py SOURCE_DIR BUILD_DIR GLSLANG
"""
import os
import re
import subprocess
import sys
import tempfile
import unittest

GLSLANG = sys.argv.pop(3)
BUILD_DIR = sys.argv.pop(2)
SOURCE_DIR = sys.argv.pop(1)
LISTS = {os.path.join(SOURCE_DIR, "src", "vulkan", "shaders.list"): os.path.join(BUILD_DIR, "spirv"),
         os.path.join(SOURCE_DIR, "tests", "vulkan", "shaders.list"): os.path.join(BUILD_DIR, "tests", "vulkan", "spirv")}
INEXACT = r"= Op(FDiv|FRem|FMod|VectorTimesScalar|MatrixTimes\w+|VectorTimesMatrix|OuterProduct|Dot|IsNan|IsInf)\b"
# What of GLSL.std.450 works on integers or moves bits.
EXACT_EXTENDED = {"FAbs", "SAbs", "UMin", "SMin", "UMax", "SMax", "UClamp", "SClamp", "FindILsb", "FindSMsb", "FindUMsb"}


def modules():
    for path, folder in LISTS.items():
        with open(path, encoding="utf-8") as lines:
            names = [line.split("#")[0].split()[:1] for line in lines]
        for name in names:
            if name:
                yield os.path.join(folder, name[0] + ".spv")


def disassembled(path):
    return subprocess.run(["spirv-dis", "--raw-id", path], stdout=subprocess.PIPE, text=True, check=True).stdout


def float_sums(text):
    """Results of float additions, subtractions and multiplications, and those that are decorated."""
    wanted = re.findall(r"^\s*(%\d+) = Op(?:FAdd|FSub|FMul) ", text, re.MULTILINE)
    return wanted, re.findall(r"OpDecorate (%\d+) NoContraction", text)


class Modules(unittest.TestCase):
    def test_every_float_addition_subtraction_and_multiplication_is_decorated_once(self):
        total = 0
        for path in modules():
            wanted, decorated = float_sums(disassembled(path))
            self.assertEqual(sorted(wanted), sorted(decorated), path)
            total += len(wanted)
        self.assertGreater(total, 100)

    def test_buffers_that_share_a_binding_are_declared_to(self):
        total = 0
        for path in modules():
            text = disassembled(path)
            buffers = set(re.findall(r"^\s*(%\d+) = OpVariable %\d+ StorageBuffer", text, re.MULTILINE))
            bindings = {}
            for variable, binding in re.findall(r"OpDecorate (%\d+) Binding (\d+)", text):
                if variable in buffers:
                    bindings.setdefault(binding, []).append(variable)
            wanted = [v for variables in bindings.values() if len(variables) > 1 for v in variables]
            self.assertEqual(sorted(wanted), sorted(re.findall(r"OpDecorate (%\d+) Aliased", text)), path)
            total += len(wanted)
        self.assertGreater(total, 10)

    def test_nothing_in_them_is_inexact(self):
        for path in modules():
            text = disassembled(path)
            self.assertNotRegex(text, INEXACT, path)
            self.assertLessEqual(set(re.findall(r"OpExtInst %\d+ %\d+ (\w+)", text)), EXACT_EXTENDED, path)
            self.assertNotRegex(text, r"OpTypeFloat (16|64)", path)

    def test_they_are_valid(self):
        for path in modules():
            done = subprocess.run(["spirv-val", "--target-env", "vulkan1.2", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  check=False)
            self.assertEqual((done.returncode, done.stdout), (0, ""), path)


class Building(unittest.TestCase):
    SHADER = """#version 450
layout(local_size_x = 8) in;
layout(set = 0, binding = 0) buffer Data { float data[]; };
float other(float a, float b) { return a * b - data[3]; }
void main() { float a = data[0], b = data[1]; vec4 v = vec4(data[4], data[5], data[6], data[7]); EXPRESSION }
"""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def build(self, expression):
        with open(self.path("made_up.comp"), "w", encoding="utf-8") as file:
            file.write(self.SHADER.replace("EXPRESSION", expression))
        with open(self.path("list"), "w", encoding="utf-8") as file:
            file.write("# one\nmade_up made_up.comp -DUNUSED\n")
        return subprocess.run([sys.executable, os.path.join(SOURCE_DIR, "scripts", "build_shaders.py"), "--list", self.path("list"), "--sources",
                               self.folder.name, "--include", self.folder.name, "--glslang", GLSLANG, "--spirv", self.path("spirv"), "--out",
                               self.path("made_up.c")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)

    def test_what_has_no_exact_form_is_refused_by_name_and_nothing_is_made(self):
        for expression, name in (("data[2] = fma(a, b, 1.0);", "GLSL.std.450"), ("data[2] = a / b;", "OpFDiv"), ("data[2] = sqrt(a);", "GLSL.std.450"),
                                 ("data[2] = inversesqrt(a);", "GLSL.std.450"), ("data[2] = mod(a, b);", "OpFMod"),
                                 ("data[2] = dot(v, v);", "OpDot"), ("data[2] = (v * a).x;", "OpVectorTimesScalar"),
                                 ("data[2] = mix(a, b, 0.5);", "GLSL.std.450"), ("data[2] = min(a, b);", "GLSL.std.450"),
                                 ("data[2] = max(a, b);", "GLSL.std.450"), ("data[2] = exp2(a);", "GLSL.std.450"),
                                 ("data[2] = unpackHalf2x16(floatBitsToUint(a)).x;", "GLSL.std.450"), ("data[2] = isnan(a) ? b : a;", "OpIsNan"),
                                 ("data[2] = isinf(a) ? b : a;", "OpIsInf"), ("data[2] = outerProduct(v, v)[1].x;", "OpOuterProduct")):
            done = self.build(expression)
            self.assertEqual(done.returncode, 1, expression)
            self.assertIn(name, done.stderr, expression)
            self.assertTrue(done.stderr.startswith("made_up: "), done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
            self.assertFalse(os.path.exists(self.path("made_up.c")), expression)

    def test_errors_of_the_compiler_name_the_shader(self):
        done = self.build("data[2] = nothing;")
        self.assertEqual(done.returncode, 1)
        self.assertTrue(done.stderr.startswith("made_up: "), done.stderr)
        self.assertIn("nothing", done.stderr)

    def test_sums_in_functions_and_straight_to_memory_are_decorated(self):
        done = self.build("data[2] = other(a, b) + a * b; precise float c = a - b; data[8] = c;")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        wanted, decorated = float_sums(disassembled(self.path(os.path.join("spirv", "made_up.spv"))))
        self.assertEqual(len(wanted), 5)
        self.assertEqual(sorted(wanted), sorted(decorated))
        with open(self.path("made_up.c"), encoding="utf-8") as file:
            text = file.read()
        size = os.path.getsize(self.path(os.path.join("spirv", "made_up.spv"))) // 4
        self.assertIn(f'{{"made_up", words_made_up, {size}}}', text)
        self.assertIn("const uint32_t tn_vk_n_shaders = 1;", text)


if __name__ == "__main__":
    unittest.main()
