#!/usr/bin/env python3
"""Shows that no barrier of a kernel can be left out without a test that fails.

    barriers.py PROGRAM...

Each PROGRAM is a GoogleTest program over the emulated GPU. It is run once as it is, to learn which barriers (tn_sync, tn_sync_or,
tn_sync_warp, tn_async_wait, tn_bulk_wait) of which kernels it meets, and then once for each of them with that barrier left out: the test that met it
first, and where that does not fail all of them. A barrier whose absence fails nothing is either superfluous, or the emulation is blind to what it is for. A program that crashes without a barrier is an error too:
its tests end before they have told what is wrong. A kernel that no program launches has barriers that nobody saw: an error.
"""
import concurrent.futures
import os
import subprocess
import sys
import tempfile


def run(program, **extra):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("GTEST_", "TN_CUDA_HOST_"))}
    environment.update({"GTEST_FAIL_FAST": "1", "GTEST_BRIEF": "1"}, **extra)
    return subprocess.run([program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                          timeout=1200)


def learn(program):
    """The lines that the emulation writes of a run of the program as it is."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "barriers")
        done = run(program, TN_CUDA_HOST_BARRIERS=path)
        if done.returncode != 0:
            sys.exit(f"barriers: {program} fails as it is\n{done.stdout[-2000:]}")
        if not os.path.exists(path):
            sys.exit(f"barriers: {program} launches nothing")
        with open(path, encoding="utf-8") as file:
            return [line.split() for line in file]


def without(kernel, place, programs):
    """What comes of leaving the barrier out, where it is noticed first: (is it noticed, a line about it). programs: with tests that meet it."""
    for program, test in [(program, test) for program, test in programs if test != "-"] + [(program, "*") for program, _ in programs]:
        done = run(program, TN_CUDA_HOST_LEAVE_OUT=f"{kernel} {place}", GTEST_FILTER=test)
        complaint = next((line for line in done.stdout.splitlines() if line.startswith(f"{kernel}: ")), None)
        if done.returncode < 0 or done.returncode > 1:
            return False, f"{os.path.basename(program)} ends with {done.returncode}; {complaint or done.stdout[-300:]}"
        if done.returncode == 1:
            return True, complaint or "another result"
    return False, "nobody notices"


def main():
    programs = sys.argv[1:]
    if not programs:
        sys.exit(__doc__)
    barriers, kernels, launched = {}, set(), set()
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for program, lines in zip(programs, pool.map(learn, programs)):
            for kind, kernel, *rest in lines:
                if kind == "met":
                    what, place, test = rest
                    barriers.setdefault((kernel, place, what), []).append((program, test))
                else:
                    (kernels if kind == "kernel" else launched).add(kernel)
        results = pool.map(lambda item: without(item[0][0], item[0][1], item[1]), barriers.items())
        n_bad = 0
        for (kernel, place, what), (is_noticed, line) in zip(barriers, results):
            n_bad += not is_noticed
            print(f"{'ok  ' if is_noticed else 'FAIL'} {kernel} without the {what} of {place}: {line}", flush=True)
    for kernel in sorted(kernels - launched):
        n_bad += 1
        print(f"FAIL {kernel}: no program launches it")
    print(f"barriers: {len(barriers)} left out, {len(launched)} kernels, {n_bad} bad")
    if not barriers or n_bad:
        sys.exit(1)


if __name__ == "__main__":
    main()
