"""JAX: parameters in and parameters out of one jitted step, by optax's Adam.

https://docs.jax.dev/en/latest/notebooks/neural_network_with_tfds_data.html
https://optax.readthedocs.io/en/latest/getting_started.html

As it comes and fast are the same: fp32. It has the classifiers without batch normalisation.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
import torch
from jax import lax
from jax import numpy as jnp
from job import Job, Predict
from torch import Tensor, nn
from works import LR, classifier

Params = list[tuple[jax.Array, jax.Array]]  # weights and biases, layer by layer
State = tuple[Params, Any]  # and Adam's means
Step = Callable[[State, jax.Array, jax.Array], State]


def classify(job: Job) -> Predict:
    """A jitted step for each batch; a shorter one at the end of an epoch is compiled too."""
    images, classes, state, step = ready(job)
    step, size = jax.jit(step, donate_argnums=0), job.work.batch_size
    rng = np.random.default_rng(0)
    for _ in range(job.epochs):
        order = rng.permutation(len(images))
        for start in range(0, len(images), size):
            job.gate.step()
            index = order[start : start + size]
            state = step(state, images[index], classes[index])
            jax.block_until_ready(state)  # as a loop that looks at its loss; and turns are timed
    return predicts(state[0])


def ready(job: Job) -> tuple[np.ndarray, np.ndarray, State, Step]:
    """Images (N, H, W, C) and classes (N,), the network as torch begins it, and a step."""
    images = np.ascontiguousarray(job.images.train.permute(0, 2, 3, 1).numpy())
    params = params_of(classifier(job.work))
    adam = optax.adam(LR)

    def loss(params: Params, inputs: jax.Array, classes: jax.Array) -> jax.Array:
        costs = optax.softmax_cross_entropy_with_integer_labels(logits(params, inputs), classes)
        return costs.mean()

    def step(state: State, inputs: jax.Array, classes: jax.Array) -> State:
        params, means = state
        updates, means = adam.update(jax.grad(loss)(params, inputs, classes), means)
        return optax.apply_updates(params, updates), means

    return images, job.images.train_classes.int().numpy(), (params, adam.init(params)), step


def params_of(model: nn.Module) -> Params:
    """Its layers as JAX has them: (in, out) and (3, 3, in, out)."""
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    found = []
    for layer in layers:
        order = (1, 0) if layer.weight.dim() == 2 else (2, 3, 1, 0)
        assert layer.bias is not None
        arrays = layer.weight.detach().permute(order).numpy(), layer.bias.detach().numpy()
        found.append((jnp.array(arrays[0]), jnp.array(arrays[1])))
    return found


def logits(params: Params, inputs: jax.Array) -> jax.Array:
    """Of images (B, H, W, C): the networks of works.py."""
    maps = inputs
    dense = [pair for pair in params if pair[0].ndim == 2]
    for weight, bias in params[: len(params) - len(dense)]:
        maps = lax.conv_general_dilated(
            maps, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        maps = lax.reduce_window(
            maps + bias, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
        )
        maps = jax.nn.relu(maps)
    features = maps.reshape(len(maps), -1)
    for number, (weight, bias) in enumerate(dense):
        features = features @ weight + bias
        if number + 1 < len(dense):
            features = jax.nn.relu(features)
    return features


def predicts(params: Params) -> Predict:
    """Of trained parameters."""
    jitted = jax.jit(logits)

    def predict(images: Tensor) -> Tensor:
        inputs = images.permute(0, 2, 3, 1).numpy()
        return torch.from_numpy(np.asarray(jitted(params, inputs)).copy())

    return predict
