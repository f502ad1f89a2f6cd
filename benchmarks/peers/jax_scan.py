"""JAX: many steps in one jitted `lax.scan`, each of which takes its batch from all images.

https://docs.jax.dev/en/latest/_autosummary/jax.lax.scan.html

Where a whole process is measured, a scan is an epoch, but for its last, shorter batch: those of a
scan are all alike. Where turns are, it is the steps of a turn, counted once they are made.
"""

from functools import partial

import jax
import numpy as np
from gate import WARM_UP
from jax import lax
from jax import numpy as jnp
from job import Job, Predict

from peers.jax_step import State, predicts, ready


def classify(job: Job) -> Predict:
    """Scan after scan."""
    images, classes, state, step = ready(job)
    on_device = jnp.array(images), jnp.array(classes)
    size, in_turns = job.work.batch_size, job.epochs > job.work.epochs
    per_epoch = len(images) // size
    length = job.work.turn if in_turns else per_epoch

    @partial(jax.jit, donate_argnums=0)
    def several(state: State, every: tuple[jax.Array, jax.Array], index: jax.Array) -> State:
        def one(state: State, chosen: jax.Array) -> tuple[State, None]:
            return step(state, every[0][chosen], every[1][chosen]), None

        return lax.scan(one, state, index)[0]

    if in_turns:  # compiled before it is timed
        state = several(state, on_device, jnp.zeros((length, size), dtype=int))
    rng = np.random.default_rng(0)
    for number in range(job.epochs * (per_epoch // length)):
        if in_turns:
            for _ in range(1 if number else WARM_UP + 1):
                job.gate.step()
        order = rng.permutation(len(images))[: length * size].reshape(length, size)
        state = jax.block_until_ready(several(state, on_device, jnp.array(order)))
        for _ in range(length if in_turns else 0):
            job.gate.step()
    return predicts(state[0])
