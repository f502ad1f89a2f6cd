"""Run the tests that compare numbers as other processors would: `make test-cpus`.

Torch, oneDNN and MKL each choose their kernels by what the processor can do, and can be told to
choose as for a lesser one (one that is beyond this processor is passed over by the library). With
`--quick` there is one run, in which each library is set for the least processor, and computes as a
processor that nobody has.
"""

import os
import subprocess
import sys
import time

ATEN = [{"ATEN_CPU_CAPABILITY": v} for v in ("default", "avx2", "avx512")]
ONEDNN = [{"ONEDNN_MAX_CPU_ISA": v} for v in ("AVX2", "AVX512_CORE_BF16", "ALL")]
MKL = [{"MKL_CBWR": v} for v in ("COMPATIBLE", "AVX2", "AVX512")]
TESTS = ["-m", "numeric and not slow", "-q", "-p", "no:cacheprovider"]
TESTS += ["-n", "2", "--dist", "worksteal"]
NOBODYS = ("-p", "another_processor")


def passes(settings, threads, *more):
    """One run of the tests, in two processes with so many threads each."""
    env = os.environ | settings | {
        "TEST_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "passive",
    }  # fmt: skip
    begun = time.monotonic()
    command = [sys.executable, "-m", "pytest", *TESTS, *more]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    names = " ".join([*(f"{k}={v}" for k, v in settings.items()), *more])
    plural = "" if threads == 1 else "s"
    verdict = done.stdout.strip().splitlines()[-1:] or ["no answer"]
    seconds = time.monotonic() - begun
    print(f"{seconds:4.0f} s  {threads} thread{plural}  {names}: {verdict[0]}", flush=True)
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n", flush=True)
    return done.returncode == 0


def main(words):
    if words == ["--quick"]:
        runs = [(ATEN[0] | ONEDNN[0] | MKL[0], 1, *NOBODYS)]
    else:
        each = [*ATEN, *ONEDNN, *MKL]
        runs = [(settings, threads) for threads in (1, 2) for settings in each]
        runs.append(({}, 1, *NOBODYS))
    verdicts = [passes(*run) for run in runs]
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
