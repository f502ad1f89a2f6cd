"""Checkpoints of earlier versions, read as if this one had written them."""

from typing import Any

FORMAT = 3  # 2 had an example of one input, and its facts in a flat list


def as_now(metadata: dict[str, Any]) -> dict[str, Any]:
    """The metadata of a checkpoint of format 2 as those of format 3; others as they are.

    What is not of its kind is left for the check that follows.
    """
    data = metadata.get("data")
    if metadata.get("format") != 2 or not isinstance(data, dict) or "columns" in data:
        return metadata
    statistics = {"mean": data.get("mean"), "std": data.get("std")}
    columns: dict[str, Any] = {"inputs": {"kind": "numbers", **statistics}}
    shape, target = data.get("input_shape"), data.get("target")
    if isinstance(shape, list) and len(shape) == 3:
        columns["inputs"] |= {"kind": "image", "size": shape, "fit": _fit(metadata)}
    else:
        columns["inputs"]["names"] = data.get("feature_names", [])
    if target == "classes":
        columns["targets"] = {"kind": "classes", "names": data.get("class_names")}
    elif target == "values":
        mean, std = data.get("target_mean", 0.0), data.get("target_std", 1.0)
        columns["targets"] = {"kind": "values", "mean": [mean], "std": [std]}
    elif target != "none":
        columns["targets"] = {"kind": target}
    targets = [name for name in columns if name == "targets"]
    now = {
        "name": data.get("name", ""),
        "columns": columns,
        "inputs": ["inputs"],
        "targets": targets,
    }
    return {**metadata, "format": FORMAT, "data": now}


def _fit(metadata: dict[str, Any]) -> str:
    """How images were brought to their size, which only the config said."""
    config = metadata.get("config")
    data = config.get("data") if isinstance(config, dict) else None
    fit = data.get("fit") if isinstance(data, dict) else None
    return fit if fit in ("crop", "pad", "stretch") else "crop"
