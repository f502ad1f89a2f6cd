"""trainwright, a loop by hand and other libraries on the same work: `make bench`.

    python benchmarks/bench.py --quick                        # a few minutes
    python benchmarks/bench.py --only mlp64 --sides ours,bare,lightning
    python benchmarks/bench.py --seconds 200                  # a piece; run it again for the next
    python benchmarks/bench.py --report                       # RESULTS.md and the plot anew

Every result is appended to benchmarks/results.jsonl at once. What is there already for this state
of src/ is not measured again, so that a benchmark that was interrupted, or is run in pieces, goes
on where it was. `pip install -e '.[bench]'` brings the other libraries; those that are not there
are left out. How it is measured is said in RESULTS.md.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import machine
import report
from measure import SideError, run_turns, run_whole
from works import WORKS, Work

HERE = Path(__file__).resolve().parent
SETTINGS = ("fp32", "default")
KINDS = ("turns", "whole")
# The sides, the package each needs, and the networks that it has.
CLASSIFIERS = {"mlp", "cnn", "resnet"}
ALL = {*CLASSIFIERS, "gan"}
SIDES = {
    "ours": ("torch", ALL),
    "bare": ("torch", ALL),
    "bare_fused": ("torch", ALL),
    "compiled": ("torch", CLASSIFIERS),
    "lightning": ("lightning", ALL),
    "ignite": ("pytorch-ignite", ALL),
    "accelerate": ("accelerate", ALL),
    "transformers": ("transformers", CLASSIFIERS),
    "skorch": ("skorch", CLASSIFIERS),
    "keras": ("keras", ALL),
    "jax_step": ("optax", {"mlp", "cnn"}),
    "jax_scan": ("optax", {"mlp", "cnn"}),
}
NUM_TURNS = 12
# How often whole processes are measured: the first work's seconds are what people feel.
NUM_ROUNDS = {"small64": 1, "mlp64": 3, "mlp512": 1, "cnn128": 1, "gan128": 1, "resnet128": 1}
Record = dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """Something to be measured, the facts by which it is found again, and how."""

    facts: Record
    measure: Callable[[], Record]


def main() -> None:
    """Measure what is missing, then write the report."""
    args = _arguments()
    results = args.results
    mnist = _mnist(args.root)
    deadline = time.monotonic() + args.seconds if args.seconds else float("inf")
    if not args.report:
        source = machine.source()
        for measurement in _plan(args, mnist):
            if measurement.facts["kind"] not in args.kinds:
                continue
            measurement.facts["source"] = source
            if time.monotonic() > deadline:
                print("the time is over; run it again to go on")
                break
            if _is_there(measurement.facts, results):
                continue
            _announce(measurement.facts)
            try:
                outcome = measurement.measure()
            except SideError as error:
                print(f"failed:\n{error}", file=sys.stderr)
                continue
            record = {
                **measurement.facts,
                **outcome,
                "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
                "commit": machine.commit(),
                "machine": machine.describe(),
                "versions": machine.versions(),
            }
            with results.open("a") as file:
                file.write(json.dumps(record) + "\n")
    report.write(results, results.parent)
    print(results.parent / "RESULTS.md")


def _plan(args: argparse.Namespace, mnist: Path | None) -> Iterator[Measurement]:
    """Turns of every work, then whole processes, round by round, the sides in alternating order."""
    works, settings = [WORKS[name] for name in args.only], args.settings
    num_turns = 6 if args.quick else NUM_TURNS
    for setting in settings:
        for work in works:
            sides = _sides(args.sides, work)
            facts = {"kind": "turns", "work": work.name, "setting": setting, "sides": sides}
            yield Measurement(
                {**facts, "turns": num_turns, "data": _data(work, mnist)},
                lambda sides=sides, work=work, setting=setting: {
                    "images_per_second": run_turns(sides, work, setting, mnist, num_turns)
                },
            )
    if args.quick:
        works = [_shortened(work) for work in works]
    for number in range(1 if args.quick else args.rounds or max(NUM_ROUNDS.values())):
        for setting in settings:
            for work in works:
                if number >= (args.rounds or NUM_ROUNDS[work.name]):
                    continue
                sides = _sides(args.sides, work)
                for side in sides if number % 2 == 0 else sides[::-1]:
                    facts = {"kind": "whole", "work": work.name, "setting": setting, "side": side}
                    facts |= {"round": number, "images": work.num_images * work.epochs}
                    yield Measurement(
                        {**facts, "data": _data(work, mnist)},
                        lambda side=side, work=work, setting=setting: vars(
                            run_whole(side, work, setting, mnist)
                        ),
                    )


def _sides(wanted: list[str], work: Work) -> list[str]:
    """Those of the wanted that are installed and can do this work."""
    return [
        side
        for side in wanted
        if machine.is_installed(SIDES[side][0]) and work.network in SIDES[side][1]
    ]


def _shortened(work: Work) -> Work:
    return replace(work, num_images=min(work.num_images, 20 * work.batch_size), epochs=1)


def _is_there(facts: Record, results: Path) -> bool:
    """Whether this was measured already."""
    return any(facts.items() <= record.items() for record in report.read(results))


def _announce(facts: Record) -> None:
    parts = [facts["kind"], facts["work"], facts["setting"]]
    parts += [facts["side"], f"round {facts['round'] + 1}"] if "side" in facts else facts["sides"]
    print(" ".join(parts), flush=True)


def _data(work: Work, mnist: Path | None) -> str:
    return "drawn images" if mnist is None or work.shape[0] == 3 else "MNIST"


def _mnist(root: str | None) -> Path | None:
    """The folder of MNIST's files, downloaded where there is a network; None without them."""
    from trainwright.data.sources.fetch import data_root
    from trainwright.data.sources.idx import load_idx
    from trainwright.errors import TrainwrightError

    try:
        load_idx(name="mnist", root=root)
    except TrainwrightError as error:
        print(f"no MNIST, images are drawn instead: {error}", file=sys.stderr)
        return None
    return data_root(root) / "mnist"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def names(valid: list[str]) -> Callable[[str], list[str]]:
        def parse(text: str) -> list[str]:
            for name in text.split(","):
                if name not in valid:
                    raise argparse.ArgumentTypeError(f"{name} is not one of {', '.join(valid)}")
            return text.split(",")

        return parse

    parser.add_argument("--only", type=names(list(WORKS)), default=list(WORKS), help="works")
    parser.add_argument("--sides", type=names(list(SIDES)), default=list(SIDES))
    parser.add_argument("--settings", type=names(list(SETTINGS)), default=list(SETTINGS))
    parser.add_argument("--kinds", type=names(list(KINDS)), default=list(KINDS))
    parser.add_argument("--rounds", type=int, help="of whole processes")
    parser.add_argument("--quick", action="store_true", help="few images, one round")
    parser.add_argument("--seconds", type=float, help="begin nothing new after so long")
    parser.add_argument("--report", action="store_true", help="measure nothing, only write")
    parser.add_argument("--root", help="folder with mnist/*.gz, as data.root of train")
    parser.add_argument(
        "--results", type=Path, default=HERE / "results.jsonl", help="RESULTS.md comes beside it"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
