#!/usr/bin/env python3
"""Tells what nvcc made of the CUDA kernels: registers, spills, shared memory, and the instructions of their loops. Standard library only.

usage: cuda_counts.py BUILD/cuda                   prints a table
       cuda_counts.py BUILD/cuda --json FILE       records it there as JSON; what FILE has of architectures that this build lacks stays
       cuda_counts.py BUILD/cuda --check FILE      fails where a kernel needs more than recorded there, spills, or one for the exact mode
                                                   fuses a multiply-add
       cuda_counts.py --self-test                  shows on made-up listings that each of these is found

There is no disassembler in the toolkit's small packages, and none is needed to count: a cubin is an ELF file in which .text.<kernel> holds
16-byte instructions whose low 12 bits are the opcode.
"""
import argparse
import copy
import glob
import json
import os
import re
import struct
import sys

INSTRUCTION = 16
# By the low 9 bits: the 3 above them tell where the operands come from.
CLASSES = {
    "fused": {0x023, 0x029},  # FFMA, DFMA
    "dot": {0x026, 0x02a},    # IDP
    "mma": {0x037, 0x1f1, 0x03d},  # IMMA; IGMMA, of a warpgroup; BMMA, of single bits
    "float_mma": {0x03c},     # HMMA
    "barrier": {0x11d},       # BAR
    "load": {0x181},          # LDG
    "shared_access": {0x184, 0x188, 0x03b},  # LDS, STS, LDSM
    "local": {0x183, 0x187},  # LDL, STL: spills and arrays that are indexed by variables
    "branch": {0x147},        # BRA
}
# Products of a thread by one instruction: four of dp4a; of mma.m16n8k32 4096 by a warp, of m16n8k16, which blocks of 16 columns need, half;
# of wgmma.m64n64k32 131072 by four warps; of mma.m16n8k256 of bits, of which two make a tile of ternary_one, half of its 2048 by a warp.
# Kernels that multiply weights, and how many instructions their longest loop may have for 64 weights of a row times one input row. Loops
# behind it are for fewer rows or columns, over which unpacking and addresses spread less.
DOT, MMA_K32, MMA_K16 = 4, 128, 64
PRODUCTS = {"dense_q6_k_mma": MMA_K16, "ternary_many_wgmma": 1024, "ternary_one_bmma": 32, "ternary_one_glu_bmma": 32}
ONLY_SM_90 = "_wgmma"  # kernels with that in their names are for no other architecture
PER_64_WEIGHTS = {
    "ternary_one_dp4a": 39, "ternary_one_glu_dp4a": 39, "ternary_one_bmma": 17, "ternary_one_glu_bmma": 17, "ternary_few_dp4a": 28, "ternary_few8_mma": 12, "ternary_few16_mma": 7.1,
    "ternary_few32_mma": 4, "ternary_few64_mma": 2.35, "ternary_many_dp4a": 22, "ternary_many_mma": 2.55,
    "ternary_many_wgmma": 2.0,
    "dense_q8_0": 37, "dense_q4_0": 38, "dense_q6_k": 34, "dense_q8_0_mma": 13, "dense_q4_0_mma": 12, "dense_q6_k_mma": 13,
}
RESOURCES = re.compile(
    r"Compiling entry function '(\w+)' for '(sm_\d+)a?'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads.*?"
    r"Used (\d+) registers(?:[^\n]*?, (\d+) bytes smem)?", re.S)


def resources(log):
    """{kernel: {...}} of what ptxas told of one file for one architecture."""
    found = {}
    for entry in log.split("ptxas info    : Compiling entry")[1:]:
        m = RESOURCES.search("Compiling entry" + entry)
        if not m:
            sys.exit("cuda_counts: ptxas tells the resources in another form than is known here: " + entry[:200])
        kernel, _, stack, stores, loads, registers, shared = m.groups()
        found[kernel] = {"registers": int(registers), "shared": int(shared or 0), "stack": int(stack), "spills": int(stores) + int(loads)}
    return found


def sections(elf):
    """(name, bytes) of an ELF64 file's sections."""
    if elf[:5] != b"\x7fELF\x02":
        sys.exit("cuda_counts: a cubin that is no ELF64 file")
    at, = struct.unpack_from("<Q", elf, 40)
    size, n, names = struct.unpack_from("<HHH", elf, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", elf, at + i * size) for i in range(n)]
    strings = headers[names][4]
    for header in headers:
        start = strings + header[0]
        yield elf[start:elf.index(b"\0", start)].decode(), elf[header[4]:header[4] + header[5]] if header[1] != 8 else b""


def opcodes(code):
    return [struct.unpack_from("<Q", code, i)[0] & 0xfff for i in range(0, len(code), INSTRUCTION)]


def branch_target(code, index, arch):
    """Where a relative branch goes, as an instruction's index. It holds a distance from the next instruction in words of 4 bytes: 48 bits
    from bit 34 on; from sm_90 on these are the upper ones, and the 8 bits from bit 16 on the lower ones."""
    low, high = struct.unpack_from("<QQ", code, index * INSTRUCTION)
    words = (low >> 34 | high << 30) & ((1 << 48) - 1)
    if words >> 47:
        words -= 1 << 48
    if arch >= 90:
        words = words << 8 | low >> 16 & 0xff
    return index + 1 + words * 4 // INSTRUCTION


def count(ops):
    found = {name: sum(1 for op in ops if op & 0x1ff in codes) for name, codes in CLASSES.items()}
    return {"instructions": len(ops), **{name: n for name, n in found.items() if n}}


def loops(code, ops, arch):
    """Loops that multiply with none in them that does, longest first: [begin, end) by their backward branches."""
    spans = []
    for i, op in enumerate(ops):
        if op & 0x1ff in CLASSES["branch"]:
            target = branch_target(code, i, arch)
            if 0 <= target <= i:
                spans.append((target, i + 1))
    spans = [(a, b) for a, b in spans if any(count(ops[a:b]).get(what) for what in ("dot", "mma", "float_mma"))]
    inner = [s for s in spans if not any(o != s and s[0] <= o[0] and o[1] <= s[1] for o in spans)]
    return sorted((count(ops[a:b]) for a, b in inner), key=lambda f: -f["instructions"])


def read(folder):
    """{kernel: {arch: counts}}"""
    kernels = {}
    for log_path in sorted(glob.glob(os.path.join(folder, "*.sm_*.log"))):
        arch = log_path.rsplit(".", 2)[1]
        with open(log_path, encoding="utf-8") as file:
            found = resources(file.read())
        with open(log_path[:-3] + "cubin", "rb") as file:
            texts = {name[6:]: code for name, code in sections(file.read()) if name.startswith(".text.")}
        for kernel, counts in found.items():
            code = texts[kernel]
            ops = opcodes(code)
            kernels.setdefault(kernel, {})[arch] = {**counts, **count(ops), "loops": loops(code, ops, int(arch[3:]))}
    if not kernels:
        sys.exit(f"cuda_counts: {folder} has no compiled kernels: build with nvcc first")
    return kernels


def is_fast(kernel):
    """Whether it may round otherwise than the exact mode does (cuda_kernels.inc)."""
    return "_fast" in kernel


def is_empty(where, kernel):
    """Whether the kernel has no products there: sm_75 lacks the instructions of all that end in mma, later ones than sm_90 those of bits."""
    lacks_bits = where.endswith(("(sm_75)", "(sm_100)", "(sm_120)"))
    return kernel.endswith("_mma") and where.endswith("(sm_75)") or kernel.endswith("_bmma") and lacks_bits


def rounding_complaint(where, kernel, now):
    """Of instructions that round a product and a sum together: only kernels for fast numerics have them, and all of those do."""
    fused, products = now.get("fused", 0), now.get("float_mma", 0)
    if is_empty(where, kernel):
        return None
    if is_fast(kernel):
        return None if fused or products else "rounds as the exact mode does, in a kernel for fast numerics"
    return f"{fused} fused multiply-adds and {products} float products on tensor cores, of which the exact mode has none" if fused or products else None


def products(kernel, loop):
    return loop.get("dot", 0) * DOT + loop.get("mma", 0) * PRODUCTS.get(kernel, MMA_K32)


def per_64_weights(kernel, loop):
    """Instructions for 64 weights of a row times one input row."""
    return loop["instructions"] * 64 / products(kernel, loop)


def longest(kernel, found):
    """The loop of a kernel that multiplies most at a time, of several the shortest; None: no loop multiplies."""
    return max(found, key=lambda loop: (products(kernel, loop), -loop["instructions"]), default=None)


def loop_complaints(where, now, bound):
    """Each loop that multiplies has as many products as its recorded one, and no more instructions."""
    if len(now) != len(bound):
        yield f"{where}: {len(now)} loops multiply, recorded are {len(bound)}"
        return
    def order(loop):
        return loop.get("dot", 0), loop.get("mma", 0), loop.get("float_mma", 0), loop["instructions"]
    for loop, recorded in zip(sorted(now, key=order), sorted(bound, key=order)):
        (dot, mma, floats, n), (dot_bound, mma_bound, floats_bound, n_bound) = order(loop), order(recorded)
        if (dot, mma, floats) != (dot_bound, mma_bound, floats_bound):
            yield (f"{where}: a loop has {dot} dot, {mma} mma and {floats} float mma, "
                   f"recorded are {dot_bound}, {mma_bound} and {floats_bound}")
        elif n > n_bound:
            yield f"{where}: the loop of {dot} dot, {mma} mma and {floats} float mma has {n} instructions, recorded are {n_bound}"


def weight_complaints(where, kernel, found):
    most, loop = PER_64_WEIGHTS.get(kernel), longest(kernel, found)
    if most is None or is_empty(where, kernel):
        return
    if loop is None:
        yield f"{where}: no loop multiplies weights"
    elif per_64_weights(kernel, loop) > most:
        yield f"{where}: {per_64_weights(kernel, loop):.2f} instructions for 64 weights, at most {most} may be"


def kernel_complaints(where, kernel, now, bound):
    complaint = rounding_complaint(where, kernel, now)
    if complaint:
        yield f"{where}: {complaint}"
    if now["spills"] or now["stack"] or now.get("local"):
        yield f"{where}: {now['spills']} bytes of spills, {now['stack']} of stack, {now.get('local', 0)} accesses to local memory"
    yield from weight_complaints(where, kernel, now["loops"])
    if bound is None:
        yield f"{where}: nothing is recorded: run scripts/cuda_counts.py BUILD/cuda --json"
        return
    for what in ("registers", "shared"):
        if now[what] > bound[what]:
            yield f"{where}: {now[what]} {what}, recorded are {bound[what]}"
    yield from loop_complaints(where, now["loops"], bound["loops"])


def complaints(kernels, recorded):
    """What is wrong; architectures that a build has of no kernel are not looked at."""
    built = {arch for archs in kernels.values() for arch in archs}
    for kernel in sorted(set(kernels) | set(recorded) | set(PER_64_WEIGHTS)):
        now, bound = kernels.get(kernel, {}), recorded.get(kernel, {})
        for arch in sorted(built, key=lambda arch: int(arch[3:])):
            where = f"{kernel} ({arch})"
            if arch in now:
                yield from kernel_complaints(where, kernel, now[arch], bound.get(arch))
            elif ONLY_SM_90 not in kernel or arch == "sm_90":
                yield f"{where}: it is not in this build" + ("" if arch in bound else ", and not recorded either")


def merged(kernels, recorded):
    """The kernels of this build with what is recorded of them for architectures that it lacks."""
    return {kernel: {**recorded.get(kernel, {}), **archs} for kernel, archs in kernels.items()}


def print_table(kernels):
    for kernel, archs in sorted(kernels.items()):
        for arch, c in archs.items():
            multiplying = "; ".join(f"{l['instructions']} instructions, {l.get('dot', 0)} dot, {l.get('mma', 0)} mma" for l in c["loops"])
            if kernel in PER_64_WEIGHTS and c["loops"]:
                multiplying += f"; {per_64_weights(kernel, longest(kernel, c['loops'])):.2f} for 64 weights"
            print(f"{kernel:20} {arch:7} {c['registers']:4} registers {c['shared']:6} B shared {c['spills']:4} B spills "
                  f"{c['instructions']:6} instructions  {multiplying}")


def made_up():
    """Counts of a build in which nothing is wrong: a kernel with two loops, of the fewest kinds of instructions, and all that have weights."""
    plain = {"registers": 40, "shared": 512, "stack": 0, "spills": 0}
    listing = {"some": {**plain, "loops": [{"instructions": 30, "dot": 16}, {"instructions": 12, "dot": 8}]}}
    for kernel, most in PER_64_WEIGHTS.items():
        loop = {"mma": 16} if kernel.endswith("mma") else {"dot": 16}
        listing[kernel] = {**plain, "loops": [{"instructions": int(most * products(kernel, loop) / 64), **loop}]}
    return {kernel: {arch: copy.deepcopy(counts) for arch in ("sm_80", "sm_90")} for kernel, counts in listing.items()}


# What is changed in a good listing, and what must then be said, in one line.
CASES = [
    ("more registers", "some", lambda k: k.update(registers=41), "41 registers, recorded are 40"),
    ("more shared memory", "some", lambda k: k.update(shared=513), "513 shared, recorded are 512"),
    ("a stack", "some", lambda k: k.update(stack=8), "8 of stack"),
    ("spills", "some", lambda k: k.update(spills=4), "4 bytes of spills"),
    ("local memory", "some", lambda k: k.update(local=1), "1 accesses to local memory"),
    ("a fused multiply-add", "some", lambda k: k.update(fused=1), "1 fused multiply-adds"),
    ("a longer first loop", "some", lambda k: k["loops"][0].update(instructions=31), "16 dot, 0 mma and 0 float mma has 31 instructions, recorded are 30"),
    ("a longer second loop behind a shorter first", "some",
     lambda k: (k["loops"][0].update(instructions=29), k["loops"][1].update(instructions=13)), "8 dot, 0 mma and 0 float mma has 13 instructions, recorded are 12"),
    ("fewer products in a loop", "some", lambda k: k["loops"][0].update(dot=12), "a loop has 12 dot, 0 mma and 0 float mma, recorded are 16, 0 and 0"),
    ("other products", "some", lambda k: k["loops"][0].update(mma=1), "a loop has 16 dot, 1 mma and 0 float mma, recorded are 16, 0 and 0"),
    ("other products of floats", "some", lambda k: k["loops"][0].update(float_mma=2), "a loop has 16 dot, 0 mma and 2 float mma, recorded are 16, 0 and 0"),
    ("a loop fewer", "some", lambda k: k["loops"].pop(), "1 loops multiply, recorded are 2"),
    ("a loop more", "some", lambda k: k["loops"].append({"instructions": 5, "dot": 1}), "3 loops multiply, recorded are 2"),
    ("no loop", "some", lambda k: k["loops"].clear(), "0 loops multiply, recorded are 2"),
]


def self_test():
    good, failures = made_up(), []
    def expect(name, now, recorded, want):
        said = list(complaints(now, recorded))
        if len(said) != len(want) or any(text not in line for text, line in zip(want, said)):
            failures.append(f"{name}: {said}")
    expect("a good build", good, good, [])
    expect("a build of one architecture", {kernel: {"sm_90": archs["sm_90"]} for kernel, archs in good.items()}, good, [])
    better = copy.deepcopy(good)
    better["some"]["sm_90"].update(registers=39, loops=[{"instructions": 11, "dot": 8}, {"instructions": 29, "dot": 16}])
    expect("a better build", better, good, [])
    empty = {kernel: {"sm_75": {**archs["sm_90"], "loops": [] if kernel.endswith("_mma") else archs["sm_90"]["loops"]}} for kernel, archs in good.items()}
    expect("kernels that are empty on sm_75", empty, empty, [])
    for name, kernel, change, want in CASES:
        worse = copy.deepcopy(good)
        change(worse[kernel]["sm_90"])
        expect(name, worse, good, [want])
    for kernel, most in PER_64_WEIGHTS.items():
        worse = copy.deepcopy(good)
        worse[kernel]["sm_90"]["loops"][0]["instructions"] += 1 + max(products(kernel, worse[kernel]["sm_90"]["loops"][0]) // 64, 1)
        expect(f"{kernel}, recorded as it is", worse, worse, [f"{kernel} (sm_90): "])
        worse[kernel]["sm_90"]["loops"] = []
        expect(f"{kernel} without a loop", worse, worse, ["no loop multiplies weights"])
    for name, now, recorded, want in (("a kernel that is gone", {k: a for k, a in good.items() if k != "some"}, good, ["sm_80): it is not in", "sm_90): it is not in"]),
                                      ("one that is not recorded", good, {k: a for k, a in good.items() if k != "some"}, ["nothing is recorded"] * 2),
                                      ("an architecture of it that is gone", {**good, "some": {"sm_80": good["some"]["sm_80"]}}, good, ["sm_90): it is not in"]),
                                      ("an architecture that is not recorded", good, {**good, "some": {"sm_80": good["some"]["sm_80"]}}, ["sm_90): nothing is recorded"])):
        expect(name, now, recorded, want)
    for failure in failures:
        print(f"cuda_counts: self-test: {failure}", file=sys.stderr)
    n = len(CASES) + 2 * len(PER_64_WEIGHTS) + 8
    print(f"cuda_counts: self-test: {n - len(failures)} of {n} cases right")
    return 1 if failures else 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        sys.exit(self_test())
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--json")
    parser.add_argument("--check")
    options = parser.parse_args()
    kernels = read(options.folder)
    if options.json:
        recorded = {}
        if os.path.exists(options.json):
            with open(options.json, encoding="utf-8") as file:
                recorded = json.load(file)["kernels"]
        with open(options.json, "w", encoding="utf-8") as file:
            lines = (f'  "{kernel}": {json.dumps(archs, sort_keys=True)}' for kernel, archs in sorted(merged(kernels, recorded).items()))
            file.write('{"kernels": {\n' + ",\n".join(lines) + "\n}}\n")
    elif options.check:
        with open(options.check, encoding="utf-8") as file:
            found = list(complaints(kernels, json.load(file)["kernels"]))
        print("\n".join(found))
        built = sorted({arch for archs in kernels.values() for arch in archs}, key=lambda arch: int(arch[3:]))
        print(f"cuda_counts: {len(kernels)} kernels, {', '.join(built)}: {len(found)} complaints")
        sys.exit(1 if found else 0)
    else:
        print_table(kernels)


if __name__ == "__main__":
    main()
