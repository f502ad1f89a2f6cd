"""Two trainings at once on the same cores: how many threads each, and how they wait.

    python benchmarks/parallel.py [--seconds 5]

An MLP (784-512-256-10, batch 64) is trained by a bare loop, once alone with two threads, then in
two processes at once: with one thread each, with two, and with two that wait passively
(OMP_WAIT_POLICY). Threads that wait actively hold a core that the other process needs: by default
two jobs with two threads each on two cores all but stop. `train -m` with several jobs at once
gives each its share of the cores. Prints steps a second of each process.
"""

import argparse
import os
import subprocess
import sys
import time

from measure import HERE, environment

WAIT = 12.0  # seconds in which all processes have imported torch and are warm
CASES = {
    "1 job of 2 threads": (1, {"OMP_NUM_THREADS": "2"}),
    "2 jobs of 1 thread": (2, {"OMP_NUM_THREADS": "1"}),
    "2 jobs of 2 threads": (2, {"OMP_NUM_THREADS": "2"}),
    "2 jobs of 2 threads, passive": (2, {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}),
}


def steps_a_second(begin: float, seconds: float) -> float:
    """Train from the moment `begin` (of time.time) for so long; return steps a second."""
    import torch
    from torch.nn import functional
    from works import LR, WORKS, classifier

    torch.manual_seed(0)
    images, classes = torch.randn(6400, 784), torch.randint(10, (6400,))
    model = classifier(WORKS["mlp64"])
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, fused=True)
    while time.time() < begin:
        time.sleep(0.01)
    num_steps, warm = 0, time.perf_counter() + 1.0
    while time.perf_counter() < warm + seconds:
        index = torch.randint(6400, (64,))
        loss = functional.cross_entropy(model(images[index]), classes[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        num_steps += time.perf_counter() > warm
    return num_steps / seconds


def measure(num_jobs: int, extra: dict[str, str], seconds: float) -> list[float]:
    """Steps a second of each of `num_jobs` processes that compute at the same time."""
    begin = str(time.time() + WAIT)
    jobs = [
        subprocess.Popen(
            [sys.executable, str(HERE / "parallel.py"), "--job", begin, "--seconds", str(seconds)],
            env=environment(extra),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(num_jobs)
    ]
    return [float(job.communicate()[0]) for job in jobs]


def main() -> None:
    """Measure every case, or be one of the jobs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--job", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job is not None:
        print(steps_a_second(args.job, args.seconds))
        return
    if os.cpu_count() != 2:
        print(f"this machine has {os.cpu_count()} cores; what is shown needs as many as threads")
    for name, (num_jobs, extra) in CASES.items():
        rates = measure(num_jobs, extra, args.seconds)
        each = " + ".join(f"{rate:.0f}" for rate in rates)
        print(f"{name:30} {each:>12} = {sum(rates):5.0f} steps/s", flush=True)


if __name__ == "__main__":
    main()
