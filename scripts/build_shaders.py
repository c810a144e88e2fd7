#!/usr/bin/env python3
"""Compiles the shaders of a list and writes them as one C file. Standard library only.

usage: build_shaders.py --list FILE --sources FOLDER --include FOLDER --glslang PROGRAM --spirv FOLDER [--out FILE.c]
Without --out the modules in the --spirv folder are all that is made.

Every module gets NoContraction on each OpFAdd, OpFSub and OpFMul: glslang leaves it out in called functions and in expressions that are
stored at once, `precise` or not, and a device may then fuse them, which changes bits. Buffer variables that share a binding are decorated
Aliased, which glslang never does: a device may otherwise take a load through one to be independent of a store through the other. Operations that no decoration makes exact are
refused: fused multiply-add, float division, float remainders, square roots, dot products and matrix products; isnan and isinf too, which
devices may take for false.
"""
import argparse
import hashlib
import os
import struct
import subprocess
import sys

MAGIC = 0x07230203
OP_EXT_INST, OP_EXT_INST_IMPORT, OP_VARIABLE, OP_DECORATE = 12, 11, 59, 71
NO_CONTRACTION, ALIASED, BINDING, STORAGE_BUFFER = 42, 20, 33, 12
EXACT_OPS = {129: "OpFAdd", 131: "OpFSub", 133: "OpFMul"}
REFUSED_OPS = {136: "OpFDiv", 140: "OpFRem", 141: "OpFMod", 142: "OpVectorTimesScalar", 143: "OpMatrixTimesScalar", 144: "OpVectorTimesMatrix",
               145: "OpMatrixTimesVector", 146: "OpMatrixTimesMatrix", 147: "OpOuterProduct", 148: "OpDot", 156: "OpIsNan", 157: "OpIsInf"}
# Of GLSL.std.450, those that leave every bit alone or work on integers: FAbs, SAbs, FSign.., UMin, SMin, UMax, SMax, UClamp, SClamp,
# FindILsb, FindSMsb, FindUMsb, UnpackHalf2x16 is not among them (it may flush).
ALLOWED_EXT = {4, 5, 38, 39, 41, 42, 44, 45, 73, 74, 75}
ANNOTATIONS_END = {19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33}  # the first type ends the decorations


def instructions(words):
    at = 5
    while at < len(words):
        length, op = words[at] >> 16, words[at] & 0xFFFF
        if length == 0 or at + length > len(words):
            raise ValueError("the module ends inside an instruction")
        yield at, op, words[at:at + length]
        at += length


def aliases(words):
    """Buffer variables whose binding another one has too. All are of set 0."""
    buffers = {i[2] for _, op, i in instructions(words) if op == OP_VARIABLE and i[3] == STORAGE_BUFFER}
    by_binding = {}
    for _, op, i in instructions(words):
        if op == OP_DECORATE and i[2] == BINDING and i[1] in buffers:
            by_binding.setdefault(i[3], []).append(i[1])
    return [v for variables in by_binding.values() if len(variables) > 1 for v in variables]


def decorated(name, words):
    """The module with NoContraction on all that could be fused, and Aliased on what shares memory."""
    if words[0] != MAGIC:
        raise ValueError(f"{name}: not SPIR-V")
    have = {i[1] for _, op, i in instructions(words) if op == OP_DECORATE and i[2] == NO_CONTRACTION}
    wanted, place = [], None
    for at, op, i in instructions(words):
        if op in REFUSED_OPS:
            raise ValueError(f"{name}: {REFUSED_OPS[op]} has no exact form on every device: write it as + - *, or by bits")
        if op == OP_EXT_INST and i[4] not in ALLOWED_EXT:
            raise ValueError(f"{name}: instruction {i[4]} of GLSL.std.450 has no exact form on every device")
        if op in EXACT_OPS and i[2] not in have:
            wanted.append(i[2])
        if place is None and op in ANNOTATIONS_END:
            place = at
    extra = [w for result in wanted for w in ((3 << 16) | OP_DECORATE, result, NO_CONTRACTION)]
    extra += [w for variable in aliases(words) for w in ((3 << 16) | OP_DECORATE, variable, ALIASED)]
    return words[:place] + extra + words[place:]


def compile_shader(options, name, source, defines):
    path = os.path.join(options.spirv, name + ".spv")
    command = [options.glslang, "-V", "--quiet", "--target-env", "vulkan1.2", "-DTN_GLSL", "-I" + options.include, *defines,
               os.path.join(options.sources, source), "-o", path]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise ValueError(f"{name}: {done.stdout.strip()}")
    with open(path, "rb") as file:
        data = file.read()
    words = decorated(name, list(struct.unpack(f"<{len(data) // 4}I", data)))
    with open(path, "wb") as file:
        file.write(struct.pack(f"<{len(words)}I", *words))
    return words


def rows_of(path):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            fields = line.split("#")[0].split()
            if fields:
                yield fields[0], fields[1], fields[2:]


def write_c(path, shaders):
    digest = hashlib.sha256()
    with open(path, "w", encoding="utf-8") as out:
        out.write('// Made by scripts/build_shaders.py.\n#include "vulkan/vk_shaders.h"\n')
        for name, words in shaders:
            digest.update(name.encode() + struct.pack(f"<{len(words)}I", *words))
            out.write(f"static const uint32_t words_{name}[] = {{\n")
            for at in range(0, len(words), 12):
                out.write("    " + " ".join(f"0x{w:08x}," for w in words[at:at + 12]) + "\n")
            out.write("};\n")
        out.write("const tn_vk_shader tn_vk_shaders[] = {\n")
        for name, words in shaders:
            out.write(f'    {{"{name}", words_{name}, {len(words)}}},\n')
        out.write(f'}};\nconst uint32_t tn_vk_n_shaders = {len(shaders)};\nconst char tn_vk_shaders_hash[] = "{digest.hexdigest()}";\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option in ("--list", "--sources", "--include", "--glslang", "--spirv"):
        parser.add_argument(option, required=True)
    parser.add_argument("--out")
    options = parser.parse_args()
    os.makedirs(options.spirv, exist_ok=True)
    try:
        shaders = [(name, compile_shader(options, name, source, defines)) for name, source, defines in rows_of(options.list)]
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    if options.out:
        write_c(options.out, shaders)
    return 0


if __name__ == "__main__":
    sys.exit(main())
