"""Keras on the torch backend: `compile` and `fit`, and its guide's GAN with a step of one's own.

https://keras.io/guides/sequential_model/
https://keras.io/guides/custom_train_step_in_torch/

Fast: channels first, as torch has them, no metrics and no bar. As it comes: channels last, with
accuracy and the bar.
"""

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import torch
from gate import Gate
from job import Generate, Job, Predict
from keras import layers
from torch import Tensor
from works import GAN_BETAS, LATENT_DIM, LR, NUM_CLASSES, Work


class Gated(keras.Model):
    """A model that tells the gate of every step."""

    gate: Gate

    def train_step(self, data: object) -> object:
        """Keras's own step."""
        self.gate.step()
        return super().train_step(data)


class GAN(keras.Model):
    """Both players, after the guide's end-to-end example."""

    def __init__(self, discriminator: keras.Model, generator: keras.Model, gate: Gate) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.generator = generator
        self.gate = gate
        self.d_loss_tracker = keras.metrics.Mean(name="d_loss")
        self.g_loss_tracker = keras.metrics.Mean(name="g_loss")
        self.seed_generator = keras.random.SeedGenerator(1337)
        self.built = True

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Both losses."""
        return [self.d_loss_tracker, self.g_loss_tracker]

    def compile(self, d_optimizer: object, g_optimizer: object, loss_fn: object) -> None:
        """Remember what to train with."""
        super().compile()
        self.d_optimizer = d_optimizer
        self.g_optimizer = g_optimizer
        self.loss_fn = loss_fn

    def train_step(self, real_images: object) -> dict[str, object]:
        """The discriminator's move, then the generator's."""
        self.gate.step()
        if isinstance(real_images, tuple | list):
            real_images = real_images[0]
        size = real_images.shape[0]
        fakes = self.generator(self._latents(size))
        combined_images = torch.concat([fakes, real_images], dim=0)
        labels = torch.concat([torch.zeros((size, 1)), torch.ones((size, 1))], dim=0)

        self.zero_grad()
        d_loss = self.loss_fn(labels, self.discriminator(combined_images))
        d_loss.backward()
        grads = [v.value.grad for v in self.discriminator.trainable_weights]
        with torch.no_grad():
            self.d_optimizer.apply(grads, self.discriminator.trainable_weights)

        self.zero_grad()
        predictions = self.discriminator(self.generator(self._latents(size)))
        g_loss = self.loss_fn(torch.ones((size, 1)), predictions)
        g_loss.backward()
        grads = [v.value.grad for v in self.generator.trainable_weights]
        with torch.no_grad():
            self.g_optimizer.apply(grads, self.generator.trainable_weights)

        self.d_loss_tracker.update_state(d_loss)
        self.g_loss_tracker.update_state(g_loss)
        return {"d_loss": self.d_loss_tracker.result(), "g_loss": self.g_loss_tracker.result()}

    def _latents(self, size: int) -> Tensor:
        return keras.random.normal(shape=(size, LATENT_DIM), seed=self.seed_generator)


def classify(job: Job) -> Predict:
    """Compile and fit."""
    _choose_layout(job.fast)
    keras.utils.set_random_seed(0)
    inputs = keras.Input(_shape(job.work))
    model = Gated(inputs, _outputs(job.work, inputs))
    model.gate = job.gate
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=LR),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=None if job.fast else ["accuracy"],
    )
    model.fit(
        _laid_out(job.images.train),
        job.images.train_classes,
        batch_size=job.work.batch_size,
        epochs=job.epochs,
        verbose=0 if job.fast else "auto",
    )
    return lambda images: torch.as_tensor(model.predict_on_batch(_laid_out(images)))


def play(job: Job) -> Generate:
    """Compile and fit both players."""
    _choose_layout(job.fast)
    keras.utils.set_random_seed(0)
    discriminator, generator = _players(job.work)
    model = GAN(discriminator, generator, job.gate)
    model.compile(
        d_optimizer=keras.optimizers.Adam(LR, *GAN_BETAS),
        g_optimizer=keras.optimizers.Adam(LR, *GAN_BETAS),
        loss_fn=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    model.fit(
        _laid_out(job.images.train),
        batch_size=job.work.batch_size,
        epochs=job.epochs,
        verbose=0 if job.fast else "auto",
    )
    channels_first = keras.config.image_data_format() == "channels_first"

    @torch.no_grad()
    def generate(number: int) -> Tensor:
        fakes = generator(keras.random.normal((number, LATENT_DIM)), training=False)
        return fakes if channels_first else fakes.permute(0, 3, 1, 2)

    return generate


def _choose_layout(fast: bool) -> None:
    keras.config.set_image_data_format("channels_first" if fast else "channels_last")


def _shape(work: Work) -> tuple[int, ...]:
    channels, height, width = work.shape
    if keras.config.image_data_format() == "channels_first":
        return (channels, height, width)
    return (height, width, channels)


def _laid_out(images: Tensor) -> Tensor:
    """(B, C, H, W) as Keras is set to want it."""
    if keras.config.image_data_format() == "channels_first":
        return images
    return images.permute(0, 2, 3, 1).contiguous()


def _outputs(work: Work, inputs: keras.KerasTensor) -> keras.KerasTensor:
    """The networks of works.py, layer by layer."""
    if work.network == "resnet":
        return _resnet(inputs)
    maps = inputs
    if work.network == "cnn":
        for channels in (32, 64, 64):
            maps = layers.Conv2D(channels, 3, padding="same")(maps)
            maps = layers.ReLU()(layers.MaxPooling2D()(maps))
    features = layers.Flatten()(maps)
    for width in (64,) if work.network == "cnn" else work.widths:
        features = layers.Dense(width, activation="relu")(features)
    return layers.Dense(NUM_CLASSES)(features)


def _resnet(inputs: keras.KerasTensor) -> keras.KerasTensor:
    axis = 1 if keras.config.image_data_format() == "channels_first" else -1

    def convolved(maps: keras.KerasTensor, channels: int, size: int, strides: int) -> object:
        maps = layers.Conv2D(channels, size, strides, padding="same", use_bias=False)(maps)
        return layers.BatchNormalization(axis=axis)(maps)

    maps = layers.ReLU()(convolved(inputs, 16, 3, 1))
    for stage, channels in enumerate((16, 32, 64)):
        for block in range(3):
            strides = 2 if stage > 0 and block == 0 else 1
            branch = layers.ReLU()(convolved(maps, channels, 3, strides))
            branch = convolved(branch, channels, 3, 1)
            shortcut = maps if strides == 1 else convolved(maps, channels, 1, strides)
            maps = layers.ReLU()(layers.Add()([shortcut, branch]))
    return layers.Dense(NUM_CLASSES)(layers.GlobalAveragePooling2D()(maps))


def _players(work: Work) -> tuple[keras.Model, keras.Model]:
    channels_first = keras.config.image_data_format() == "channels_first"
    axis = 1 if channels_first else -1
    discriminator = keras.Sequential(
        [
            keras.Input(_shape(work)),
            layers.Conv2D(32, 4, 2, padding="same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Conv2D(64, 4, 2, padding="same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Conv2D(64, 3, padding="same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    generator = keras.Sequential(
        [
            keras.Input((LATENT_DIM,)),
            layers.Dense(64 * 7 * 7),
            layers.Reshape((64, 7, 7) if channels_first else (7, 7, 64)),
            layers.BatchNormalization(axis=axis),
            layers.ReLU(),
            layers.Conv2DTranspose(32, 4, 2, padding="same", use_bias=False),
            layers.BatchNormalization(axis=axis),
            layers.ReLU(),
            layers.Conv2DTranspose(16, 4, 2, padding="same", use_bias=False),
            layers.BatchNormalization(axis=axis),
            layers.ReLU(),
            layers.Conv2D(work.shape[0], 3, padding="same", activation="tanh"),
        ]
    )
    return discriminator, generator
