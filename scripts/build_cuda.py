#!/usr/bin/env python3
"""Compiles one file of kernels for every architecture into a fatbin. Standard library only.

usage: build_cuda.py --nvcc NVCC --include DIR --archs 80,90 [--ptx 100] --out X.fatbin X.cu

Beside X.fatbin lie what tests look at: X.sm_80.cubin, and X.sm_80.log with the resources of each kernel as ptxas tells them. An
architecture of one chip alone (90a) is named without its letter there.
The exact mode's flags stand here and nowhere else: no fused multiply-add, no flushing of subnormals.
"""
import argparse
import os
import subprocess
import sys

FLAGS = ["-std=c++17", "-O3", "--fmad=false", "-ftz=false", "-prec-div=true", "-prec-sqrt=true", "-Xptxas", "-v", "-Werror", "all-warnings"]


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"build_cuda: {' '.join(command)} failed:\n{done.stdout}")
    return done.stdout


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nvcc", required=True)
    parser.add_argument("--include", required=True)
    parser.add_argument("--archs", required=True)
    parser.add_argument("--ptx", default="")
    parser.add_argument("--out", required=True)
    parser.add_argument("source")
    options = parser.parse_args()
    stem = os.path.splitext(options.out)[0]
    nvcc = [options.nvcc, *FLAGS, "-I" + options.include]
    images = []
    for arch in options.archs.split(","):
        named = f"{stem}.sm_{arch.rstrip('a')}"
        cubin = named + ".cubin"
        log = run([*nvcc, "-cubin", f"-gencode=arch=compute_{arch},code=sm_{arch}", options.source, "-o", cubin])
        if "C7510" in log:
            sys.exit(f"build_cuda: products of warpgroups in {options.source} wait for one another:\n{log}")
        with open(named + ".log", "w", encoding="utf-8") as out:
            out.write(log)
        images.append(f"--image3=kind=elf,sm={arch},file={cubin}")
    if options.ptx:
        ptx = f"{stem}.compute_{options.ptx}.ptx"
        run([*nvcc, "-ptx", f"-arch=compute_{options.ptx}", options.source, "-o", ptx])
        images.append(f"--image3=kind=ptx,sm={options.ptx},file={ptx}")
    fatbinary = os.path.join(os.path.dirname(os.path.realpath(options.nvcc)), "fatbinary")
    run([fatbinary, "-64", f"--create={options.out}", *images])


if __name__ == "__main__":
    main()
