"""What the `_target_` of a config may name: which classes are ours, and what they were called."""

from typing import Any

# What a config that was read back from a run folder may build; a test compares it with configs/.
TRUSTED_TARGETS = frozenset(
    {
        "torch.optim.Adagrad",
        "torch.optim.Adam",
        "torch.optim.AdamW",
        "torch.optim.RMSprop",
        "torch.optim.SGD",
        "trainwright.data.sources.arrays.load_arrays",
        "trainwright.data.sources.cifar.load_cifar10",
        "trainwright.data.sources.digits.load_digits_dataset",
        "trainwright.data.sources.folder.load_folder",
        "trainwright.data.sources.hf.load_hf",
        "trainwright.data.sources.idx.load_idx",
        "trainwright.data.sources.table.load_table",
        "trainwright.data.sources.tabular.load_tabular",
        "trainwright.data.sources.text.load_shakespeare",
        "trainwright.data.sources.text.load_text",
        "trainwright.engine.optim.muon.Muon",
        "trainwright.engine.schedule.Constant",
        "trainwright.engine.schedule.Cosine",
        "trainwright.engine.schedule.Exponential",
        "trainwright.engine.schedule.Linear",
        "trainwright.engine.schedule.OneCycle",
        "trainwright.engine.schedule.Plateau",
        "trainwright.engine.schedule.Step",
        "trainwright.hooks.loggers.mlflow.MLflow",
        "trainwright.hooks.loggers.tensorboard.TensorBoard",
        "trainwright.hooks.loggers.wandb.WeightsAndBiases",
        "trainwright.nn.airbench.AirbenchNet",
        "trainwright.nn.cnn.CNN",
        "trainwright.nn.cnn1d.CNN1D",
        "trainwright.nn.conv_gan.conv_gan",
        "trainwright.nn.generators.unet.UNet",
        "trainwright.nn.generators.vae.conv_vae",
        "trainwright.nn.generators.vae.mlp_vae",
        "trainwright.nn.generators.velocity.DenseVelocity",
        "trainwright.nn.gpt.gpt.GPT",
        "trainwright.nn.gpt.text_encoder.TextEncoder",
        "trainwright.nn.mlp_gan.mlp_gan",
        "trainwright.nn.mlp.MLP",
        "trainwright.nn.pretrained.causal.CausalLM",
        "trainwright.nn.pretrained.hf_images.hf_images",
        "trainwright.nn.pretrained.timm_images.timm_images",
        "trainwright.nn.resnet.ResNet",
        "trainwright.nn.tables.ft_transformer.FTTransformer",
        "trainwright.nn.tables.resnet_mlp.ResNetMLP",
        "trainwright.tasks.classifier.Classifier",
        "trainwright.tasks.flow.shortcut.Shortcut",
        "trainwright.tasks.flow.task.Flow",
        "trainwright.tasks.gan.task.GANTask",
        "trainwright.tasks.language.Language",
        "trainwright.tasks.masked_language.MaskedLanguage",
        "trainwright.tasks.multilabel.MultiLabel",
        "trainwright.tasks.regression.Regression",
        "trainwright.tasks.suited.suited",
        "trainwright.tasks.vae.task.VariationalAutoencoder",
    }
)

# Where version 0.1 had them: run folders and configs of that time name them so.
_MOVED = {
    "trainwright.data.sources.": "trainwright.data.",
    "trainwright.engine.optim.muon.": "trainwright.engine.muon.",
    "trainwright.hooks.loggers.": "trainwright.loggers.",
    "trainwright.tasks.gan.task.": "trainwright.tasks.gan.",
}
_FIRST_NAMES = {
    target: target.replace(now, first)
    for target in TRUSTED_TARGETS
    for now, first in _MOVED.items()
    if target.startswith(now)
}
_NAMES_NOW = {first: now for now, first in _FIRST_NAMES.items()}


def named_as_now(node: Any) -> Any:
    """A config of plain types, in which what has moved since 0.1 is named by where it is now."""
    return _renamed(node, _NAMES_NOW)


def named_as_first(node: Any) -> Any:
    """The same the other way: what is hashed stays the same whatever moves."""
    return _renamed(node, _FIRST_NAMES)


def _renamed(node: Any, names: dict[str, str]) -> Any:
    if isinstance(node, dict):
        return {
            key: names.get(value, value)
            if key == "_target_" and isinstance(value, str)
            else _renamed(value, names)
            for key, value in node.items()
        }
    return [_renamed(value, names) for value in node] if isinstance(node, list) else node
