"""Many runs: planned, run, remembered and compared (docs/sweeps.md).

- What is wanted: settings, axes, points, composer, job, identity.
- The plan: conduct, plan, first_batch, slots, stacking.
- At work: running, scheduler, queue, search, pruning, show.
- A job's process: workers (the sweep's side of them), server, forks, child, tasks, attempt,
  incumbent.
- What is remembered: store.
- What is compared: ranking, verdict, significance, report, written, pictures.
"""
