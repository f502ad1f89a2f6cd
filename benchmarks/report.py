"""From results.jsonl to RESULTS.md and the plot."""

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Record = dict[str, Any]
LABELS = {
    "bare": "bare loop",
    "bare_fused": "bare loop, fused Adam",
    "compiled": "bare loop, torch.compile",
    "lightning": "Lightning",
    "ignite": "Ignite",
    "accelerate": "Accelerate",
    "transformers": "HF Trainer",
    "skorch": "skorch",
    "keras": "Keras (torch)",
    "jax_step": "JAX, a jitted step",
    "jax_scan": "JAX, lax.scan",
}
PEERS = tuple(side for side in LABELS if not side.startswith(("bare", "compiled", "jax")))
WORK_LABELS = {
    "small64": "MLP 64-64, batch 64",
    "mlp64": "MLP, batch 64",
    "mlp512": "MLP, batch 512",
    "cnn128": "CNN, batch 128",
    "gan128": "GAN, batch 128",
    "resnet128": "ResNet-20, batch 128",
}
SETTING_TITLES = {
    "fp32": "fp32 for everybody, fast options",
    "default": "as it comes, everybody's defaults",
}

INTRO = """# What trainwright costs, and what others do

Written by `make bench` (benchmarks/bench.py) from results.jsonl; the same work for every side: the
same network, images in memory, batches, Adam at 1e-3, the same number of epochs. The sides are in
[peers/](peers), one file each, written as their own documentation has it.

- **Steady state**: images a second while training. All sides are started and warmed up, then take
  turns of about half a second, so that a machine whose speed drifts slows all of them alike; a
  ratio is taken between neighbouring turns. Given is the median over the turns, in brackets the
  quartiles. trainwright trains with its hooks on (log, progress, checks for finite numbers); what
  comes once an epoch (an evaluation, a checkpoint) is in a few turns, but not in their median.
- **Whole process**: seconds from Enter to exit, imports, reading the data, training and the score
  on the test split, and the peak of resident memory; for trainwright that is the command `train`,
  which beyond the others evaluates a validation split, saves checkpoints and draws pictures.
- **fp32**: everybody computes in fp32, and has the options that its documentation names for speed
  (Lightning `barebones=True`; the HF Trainer without saving, logs and clipping; skorch and Keras
  silent, Keras with channels first). trainwright: `trainer.precision=fp32 schedule=constant
  trainer.ema=null`; that it lays out maps channels last is its default, and part of what it does.
- **As it comes**: nobody is told anything but network, data, batch size, length and learning rate.
- The score shows that nobody wins by computing less: test accuracy; for the GAN the sliced
  Wasserstein distance to test images after those few steps (smaller is better).
- *bare loop* is what one writes by hand over tensors in memory, *fused* adds `fused=True` to Adam.
  JAX's sides are loops by hand too, and so is that around torch.compile, whose seconds are in the
  whole process. The HF Trainer and skorch have no GANs. skorch trains on all images
  (`train_split=None`).
"""


def read(path: Path) -> list[Record]:
    """All records; none where there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(results: Path, folder: Path) -> None:
    """RESULTS.md and speed.png in `folder`, from the newest state of src/ in `results`."""
    records = read(results)
    if not records:
        return
    newest = [r for r in records if r["source"] == records[-1]["source"]]
    parts = [INTRO, *_provenance(newest)]
    for setting, title in SETTING_TITLES.items():
        turns = [r for r in newest if r["kind"] == "turns" and r["setting"] == setting]
        whole = [r for r in newest if r["kind"] == "whole" and r["setting"] == setting]
        if turns:
            parts += [f"## Steady state: {title}", *_turns_table(turns)]
        if whole:
            parts += [f"## Whole process: {title}", *_whole_tables(whole)]
    if plot(newest, folder / "speed.png"):
        parts.append("![Images a second, relative to the bare loop](speed.png)")
    (folder / "RESULTS.md").write_text("\n".join(parts).rstrip() + "\n")


def _provenance(records: Sequence[Record]) -> list[str]:
    last = records[-1]
    dates = sorted(r["date"] for r in records)
    versions = ", ".join(f"{name} {number}" for name, number in last["versions"].items())
    data = sorted({f"{WORK_LABELS[r['work']]}: {r['data']}" for r in records if "data" in r})
    return [
        f"Machine: {last['machine']}  ",
        f"Versions: {versions}  ",
        f"Measured: {dates[0]} to {dates[-1]} UTC, commit {last['commit']}  ",
        f"Data: {'; '.join(data)}",
        "",
    ]


def ratios(record: Record, side: str) -> list[float]:
    """Our images a second over the side's, turn by turn."""
    rates = record["images_per_second"]
    return [ours / other for ours, other in zip(rates["ours"], rates[side], strict=True)]


def _turns_table(records: Sequence[Record]) -> list[str]:
    """A row a side, a column a work: images a second, and how many times as fast ours is."""
    works = [w for w in WORK_LABELS if any(r["work"] == w for r in records)]
    by_work = {w: [r for r in records if r["work"] == w][-1] for w in works}
    lines = [_row(["images/s", *(WORK_LABELS[w] for w in works)]), _rule(len(works))]
    ours = [f"**{statistics.median(by_work[w]['images_per_second']['ours']):,.0f}**" for w in works]
    lines.append(_row(["**trainwright**", *ours]))
    for side, label in LABELS.items():
        cells = []
        for work in works:
            rates = by_work[work]["images_per_second"].get(side)
            cells.append(f"{statistics.median(rates):,.0f}" if rates else "")
        if any(cells):
            lines.append(_row([label, *cells]))
    lines += ["", _row(["trainwright is, times as fast as", *(WORK_LABELS[w] for w in works)])]
    lines.append(_rule(len(works)))
    for side, label in LABELS.items():
        cells = [_spread(ratios(by_work[w], side)) if _has(by_work[w], side) else "" for w in works]
        if any(cells):
            lines.append(_row([label, *cells]))
    return [*lines, ""]


def _whole_tables(records: Sequence[Record]) -> list[str]:
    """A row a side, and per work: seconds, ours over theirs, peak memory, score."""
    lines: list[str] = []
    for work in (w for w in WORK_LABELS if any(r["work"] == w for r in records)):
        of_work = [r for r in records if r["work"] == work]
        by_side: dict[str, list[Record]] = defaultdict(list)
        for record in of_work:
            by_side[record["side"]].append(record)
        metric = next(iter(of_work[0]["score"]))
        images = f"{of_work[0]['images']:,} images, {of_work[0]['data']}"
        head = [
            f"{WORK_LABELS[work]} ({images})",
            "seconds",
            "trainwright takes",
            "peak MB",
            metric,
        ]
        lines += [_row(head), _rule(len(head) - 1)]
        for side, label in {"ours": "**trainwright**", **LABELS}.items():
            runs = by_side.get(side)
            if not runs:
                continue
            pairs = _paired(by_side.get("ours", []), runs)
            share = "" if side == "ours" or not pairs else _spread([a / b for a, b in pairs])
            seconds = statistics.median(r["seconds"] for r in runs)
            peak = statistics.median(r["peak_mb"] for r in runs)
            score = statistics.median(r["score"][metric] for r in runs)
            shown = f"{score:.2%}" if metric == "accuracy" else f"{score:.3f}"
            lines.append(_row([label, f"{seconds:.1f}", share, f"{peak:,.0f}", shown]))
        lines.append("")
    return lines


def _paired(ours: Sequence[Record], others: Sequence[Record]) -> list[tuple[float, float]]:
    """Seconds of both sides in the rounds that both have."""
    by_round = {r["round"]: r["seconds"] for r in ours}
    return [(by_round[r["round"]], r["seconds"]) for r in others if r["round"] in by_round]


def plot(records: Sequence[Record], path: Path) -> bool:
    """A bar a side and work, the bare loop being 1; False where there is nothing to draw."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    by_setting = {
        setting: {r["work"]: r for r in records if r["kind"] == "turns" and r["setting"] == setting}
        for setting in SETTING_TITLES
    }
    shown = {s: w for s, w in by_setting.items() if any(_has(r, "bare") for r in w.values())}
    if not shown:
        return False
    figure, axes = plt.subplots(
        len(shown), 1, figsize=(10, 3.6 * len(shown)), layout="constrained", squeeze=False
    )
    for axis, (setting, by_work) in zip(axes[:, 0], shown.items(), strict=True):
        works = [w for w in WORK_LABELS if w in by_work and _has(by_work[w], "bare")]
        present = {s for w in works for s in by_work[w]["images_per_second"]}
        sides = [s for s in ("ours", *LABELS) if s in present]
        width = 0.85 / len(sides)
        for number, side in enumerate(sides):
            color = "tab:blue" if side == "ours" else plt.colormaps["Greys"](0.75 - 0.07 * number)
            places = [i for i, w in enumerate(works) if _has(by_work[w], side)]
            heights = [_relative(by_work[works[i]], side) for i in places]
            offset = (number - (len(sides) - 1) / 2) * width
            label = "trainwright" if side == "ours" else LABELS[side]
            axis.bar([i + offset for i in places], heights, width, color=color, label=label)
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set_xticks(range(len(works)), [WORK_LABELS[w] for w in works])
        axis.set_ylabel("images/s, bare loop = 1")
        axis.set_title(SETTING_TITLES[setting])
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].legend(ncols=1, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True


def _relative(record: Record, side: str) -> float:
    rates = record["images_per_second"]
    return statistics.median(a / b for a, b in zip(rates[side], rates["bare"], strict=True))


def _has(record: Record, side: str) -> bool:
    return side in record["images_per_second"] and "ours" in record["images_per_second"]


def _spread(values: Sequence[float]) -> str:
    """Median and quartiles; the extremes where there are fewer than four."""
    if len(values) < 4:
        low, high = min(values), max(values)
    else:
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{statistics.median(values):.2f} ({low:.2f} to {high:.2f})"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(num_columns: int) -> str:
    return "|---|" + "---:|" * num_columns
