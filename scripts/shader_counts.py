#!/usr/bin/env python3
"""Counts the instructions of the inner loop of each matmul shader, per 64 weights of a row times one input row.

usage: shader_counts.py SPIRV_DIR [--json] [--only NAME]
SPIRV_DIR: the modules of a build (build/dev/spirv). Needs spirv-opt and spirv-dis (spirv-tools). Standard library only.

Each module is specialised as the backend does it, optimised by spirv-opt with its loops unrolled, and the innermost loop with the most
products is counted. What costs a device nothing is not: labels, phis, merges, and moves of parts of vectors (extract, construct, bitcast).
A driver's compiler goes on from there (many devices add up in the dot product itself), so these are numbers to compare forms and changes
by, not what a device executes.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import re
import subprocess
import sys

# specialisation constants; rows of W and rows of input of a lane; weights of a row that an iteration of the inner loop is over
Case = collections.namedtuple("Case", "name shader constants rows cols weights")


def cases():
    # As vk_emit*.c have them for GPUs (dot, mul) and for software devices (texel): one token, and a tile of more.
    yield Case("ternary dot, 1 token", "matmul_ternary_dot", [256, 1, 0], 1, 1, 64)
    yield Case("ternary dot, 4 tokens", "matmul_ternary_dot", [256, 4, 0], 1, 4, 64)
    yield Case("ternary gemm, 64 x 64", "matmul_ternary_gemm_dot", [256, 64, 0, 4], 4, 4, 64)
    yield Case("ternary gemm, 64 x 64, gate and up", "matmul_ternary_gemm_dot", [256, 64, 2, 4], 4, 4, 64)
    yield Case("ternary gemm mul, 64 x 32", "matmul_ternary_gemm_mul", [128, 32, 0, 4], 4, 4, 64)
    yield Case("ternary mul, 1 token", "matmul_ternary_mul", [64, 1, 0, 1], 1, 1, 64)
    yield Case("ternary mul, 8 tokens", "matmul_ternary_mul", [64, 8, 0, 1], 1, 8, 64)
    for form in ("mul_texel", "mul_shuffle"):
        yield Case(f"ternary {form.replace('_', ' ')}, 1 token", "matmul_ternary_" + form, [8, 1, 0, 8], 16, 1, 64)
        yield Case(f"ternary {form.replace('_', ' ')}, 4 tokens", "matmul_ternary_" + form, [8, 4, 0, 4], 8, 4, 64)
    for form, lanes, rows, widest in (("dot", 64, 1, 8), ("mul", 64, 1, 8), ("mul_texel", 8, 4, 4), ("mul_shuffle", 8, 4, 4)):
        for cols in (1, widest):
            yield Case(f"q6_k {form.replace('_', ' ')}, {cols} token{'s' * (cols > 1)}", "matmul_dense_q6_k_" + form, [lanes, rows, cols], rows,
                       cols, 256)  # a block


KINDS = ("dot", "multiply", "add", "bits", "float", "load_buffer", "load_shared", "store_shared", "other")
OF_OP = {"SDot": "dot", "IMul": "multiply", "IAdd": "add", "ISub": "add", "SNegate": "add", "FAdd": "float", "FSub": "float", "FMul": "float",
         "FNegate": "float", "ImageFetch": "load_buffer"}
OF_OP.update(dict.fromkeys(("ShiftLeftLogical", "ShiftRightLogical", "ShiftRightArithmetic", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Not",
                            "BitFieldInsert", "BitFieldSExtract", "BitFieldUExtract"), "bits"))
FREE = {"Label", "Phi", "LoopMerge", "SelectionMerge", "CompositeExtract", "CompositeConstruct", "CompositeInsert", "VectorShuffle", "Bitcast",
        "CopyObject", "Branch", "Line", "NoLine"}
MEMORY = {("Load", "StorageBuffer"): "load_buffer", ("Load", "Workgroup"): "load_shared", ("Store", "Workgroup"): "store_shared"}
LINE = re.compile(r"^\s*(?:(%\w+) = )?Op(\w+)\s*(.*)$")
PRODUCTS = ("SDot", "IMul", "FMul")


class Instruction(collections.namedtuple("Instruction", "result op operands")):
    def branches(self):
        if self.op == "Branch":
            return self.operands[:1]
        if self.op == "BranchConditional":
            return self.operands[1:3]
        if self.op == "Switch":
            return [o for o in self.operands[1:] if o.startswith("%")]
        return []


def run(command, data=None):
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise ValueError(f"{command[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def instructions_in(text):
    for line in text.splitlines():
        found = LINE.match(line.split(";")[0])
        if found:
            yield Instruction(found[1], found[2], found[3].split())


def specialised(folder, case):
    """The disassembly of the case's module, with its constants and its loops unrolled."""
    values = " ".join(f"{i}:{v}" for i, v in enumerate(case.constants))
    path = os.path.join(folder, case.shader + ".spv")
    if not os.path.exists(path):
        raise ValueError(f"{path} is not there: build first, or name the folder of another build")
    module = run(["spirv-opt", "--target-env=vulkan1.2", "--set-spec-const-default-value=" + values, "--freeze-spec-const",
                  "--fold-spec-const-op-composite", "-O", "--loop-unroll", "-O", path, "-o", "-"])
    return run(["spirv-dis", "--raw-id", "-"], module).decode()


class Module:
    def __init__(self, instructions):
        self.by_result, self.blocks, block = {}, {}, None
        for i in instructions:
            if i.result:
                self.by_result[i.result] = i
            if i.op == "Label":
                block = self.blocks.setdefault(i.result, [])
            if block is not None:
                block.append(i)
            if i.op == "FunctionEnd":
                block = None

    def storage(self, pointer):
        """Where a pointer points: the class of the variable that it was made from."""
        while self.by_result[pointer].op in ("AccessChain", "InBoundsAccessChain", "CopyObject"):
            pointer = self.by_result[pointer].operands[1]
        return self.by_result[pointer].operands[1]

    def loops(self):
        """Labels of the blocks of each loop."""
        for label, block in self.blocks.items():
            merge = next((i.operands[0] for i in block if i.op == "LoopMerge"), None)
            if merge is None:
                continue
            body, todo = {label}, [label]
            while todo:
                for target in self.blocks[todo.pop()][-1].branches():
                    if target != merge and target not in body:
                        body.add(target)
                        todo.append(target)
            yield body

    def inner_loop(self):
        """Instructions of the loop that no other lies in and that has the most products."""
        loops = list(self.loops())
        inner = [body for body in loops if not any(other < body for other in loops)]
        bodies = [[i for label in body for i in self.blocks[label]] for body in inner]
        return max(bodies, key=lambda body: sum(i.op in PRODUCTS for i in body))

    def kind(self, i):
        if i.op in ("Load", "Store"):
            return MEMORY.get((i.op, self.storage(i.operands[1 if i.op == "Load" else 0])), "other")
        return OF_OP.get(i.op, "other")

    def shared_bytes(self):
        """Of the module's shared variables."""
        variables = [i for i in self.by_result.values() if i.op == "Variable" and i.operands[1] == "Workgroup"]
        return sum(self.bytes_of(self.by_result[v.operands[0]].operands[1]) for v in variables)

    def bytes_of(self, type_id):
        of = self.by_result[type_id]
        if of.op in ("TypeInt", "TypeFloat"):
            return int(of.operands[0]) // 8
        if of.op == "TypeVector":
            return self.bytes_of(of.operands[0]) * int(of.operands[1])
        if of.op == "TypeArray":
            return self.bytes_of(of.operands[0]) * int(self.by_result[of.operands[1]].operands[1])
        raise ValueError(f"size of Op{of.op} is not known")


def count(folder, case):
    module = Module(instructions_in(specialised(folder, case)))
    body = [i for i in module.inner_loop() if i.op not in FREE]
    counts = collections.Counter(module.kind(i) for i in body)
    products = case.rows * case.cols * case.weights / 64
    return {"name": case.name, "shader": case.shader, "constants": case.constants, "rows": case.rows, "cols": case.cols,
            "weights": case.weights, "shared_bytes": module.shared_bytes(), "loop": {k: counts[k] for k in KINDS} | {"all": len(body)},
            "per_64_weights": {k: round(counts[k] / products, 3) for k in KINDS} | {"all": round(len(body) / products, 3)}}


def print_table(results):
    columns = (*KINDS, "all")
    print("Instructions of the inner loop, per 64 weights of a row times one input row")
    print(f"{'':36}" + "".join(f"{c:>13}" for c in columns))
    for r in results:
        print(f"{r['name']:36}" + "".join(f"{r['per_64_weights'][c]:13.2f}" for c in columns))


def print_json(version, results):
    """A line for each result, so that changes can be read."""
    lines = ",\n  ".join(json.dumps(r) for r in results)
    print(f'{{"spirv_opt": {json.dumps(version)}, "results": [\n  {lines}]}}')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spirv_dir")
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    parser.add_argument("--only", help="shaders whose name has this in it")
    options = parser.parse_args()
    try:
        wanted = [case for case in cases() if not options.only or options.only in case.shader]
        with concurrent.futures.ThreadPoolExecutor() as pool:  # of the tools' processes
            results = list(pool.map(lambda case: count(options.spirv_dir, case), wanted))
        version = subprocess.run(["spirv-opt", "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True).stdout
    except (ValueError, FileNotFoundError) as error:
        print(f"shader_counts: {error}", file=sys.stderr)
        return 1
    if options.json:
        print_json(version.split("\n")[0], results)
    else:
        print_table(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
