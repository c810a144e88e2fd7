#!/usr/bin/env python3
"""Tells what nvcc made of the CUDA kernels: registers, spills, shared memory, and the instructions of their loops. Standard library only.

usage: cuda_counts.py BUILD/cuda                   prints a table
       cuda_counts.py BUILD/cuda --json FILE       records it there as JSON; what FILE has of architectures that this build lacks stays
       cuda_counts.py BUILD/cuda --check FILE      fails where a kernel needs more than recorded there, spills, or one for the exact mode
                                                   fuses a multiply-add

There is no disassembler in the toolkit's small packages, and none is needed to count: a cubin is an ELF file in which .text.<kernel> holds
16-byte instructions whose low 12 bits are the opcode.
"""
import argparse
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
    "mma": {0x037},           # IMMA
    "float_mma": {0x03c},     # HMMA
    "barrier": {0x11d},       # BAR
    "load": {0x181},          # LDG
    "shared_access": {0x184, 0x188, 0x03b},  # LDS, STS, LDSM
    "local": {0x183, 0x187},  # LDL, STL: spills and arrays that are indexed by variables
    "branch": {0x147},        # BRA
}
RESOURCES = re.compile(
    r"Compiling entry function '(\w+)' for '(sm_\d+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads.*?"
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
    """Innermost loops that multiply, longest first: [begin, end) by their backward branches."""
    spans = []
    for i, op in enumerate(ops):
        if op & 0x1ff in CLASSES["branch"]:
            target = branch_target(code, i, arch)
            if 0 <= target <= i:
                spans.append((target, i + 1))
    inner = [s for s in spans if not any(o != s and s[0] <= o[0] and o[1] <= s[1] for o in spans)]
    found = [count(ops[a:b]) for a, b in inner]
    return sorted((f for f in found if any(f.get(what) for what in ("dot", "mma", "float_mma"))), key=lambda f: -f["instructions"])


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


def rounding_complaint(kernel, now):
    """Of instructions that round a product and a sum together: only kernels for fast numerics have them, and all of those do."""
    fused, products = now.get("fused", 0), now.get("float_mma", 0)
    if is_fast(kernel):
        return None if fused or products else "rounds as the exact mode does, in a kernel for fast numerics"
    return f"{fused} fused multiply-adds and {products} float products on tensor cores, of which the exact mode has none" if fused or products else None


def complaints(kernels, recorded):
    for kernel, archs in sorted(kernels.items()):
        for arch, now in archs.items():
            where = f"{kernel} ({arch})"
            complaint = rounding_complaint(kernel, now)
            if complaint:
                yield f"{where}: {complaint}"
            if now["spills"] or now["stack"] or now.get("local"):
                yield f"{where}: {now['spills']} bytes of spills, {now['stack']} of stack, {now.get('local', 0)} accesses to local memory"
            bound = recorded.get(kernel, {}).get(arch)
            if bound is None:
                yield f"{where}: nothing is recorded: run scripts/cuda_counts.py BUILD/cuda --json"
                continue
            for what in ("registers", "shared"):
                if now[what] > bound[what]:
                    yield f"{where}: {now[what]} {what}, recorded are {bound[what]}"
            if [loop["instructions"] for loop in now["loops"]] > [loop["instructions"] for loop in bound["loops"]]:
                yield f"{where}: its loops have {now['loops']}, recorded are {bound['loops']}"


def merged(kernels, recorded):
    """The kernels of this build with what is recorded of them for architectures that it lacks."""
    return {kernel: {**recorded.get(kernel, {}), **archs} for kernel, archs in kernels.items()}


def print_table(kernels):
    for kernel, archs in sorted(kernels.items()):
        for arch, c in archs.items():
            multiplying = "; ".join(f"{l['instructions']} instructions, {l.get('dot', 0)} dot, {l.get('mma', 0)} mma" for l in c["loops"])
            print(f"{kernel:20} {arch:7} {c['registers']:4} registers {c['shared']:6} B shared {c['spills']:4} B spills "
                  f"{c['instructions']:6} instructions  {multiplying}")


def main():
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
