"""What may ail any generator, from what its evaluations have shown, in words.

The thresholds are set by runs on digits and MNIST, healthy ones and those that tests make ill.
They are meant to be silent on a run that goes well: what they miss shows in the score.
"""

import math
from collections.abc import Sequence

from trainwright.tasks.health import Ailment, Health, Signs

EXPLODED = 100.0  # times its largest norm so far: a gradient that breaks what it moves
ALIKE = 0.5  # diversity of all samples below which they have begun to be one
GREY = 0.5  # contrast of samples, over that of real images, below which they are grey
DEAD = 0.01  # diversity of one image, whatever the noise: nothing on its way has so little
RISING = 1.1  # times the look before: what is low and grows that fast is on its way
MISSING = 0.2  # share of a class among the samples, over its share among real images
WORSE = 4.0  # times the best score so far, and over half of the first: all that was learnt is lost
OVERDUE = 5  # evaluations without a class that has never come, when the others have
PATIENCE = 2  # evaluations without one, before it counts as gone
COPIED = 0.75  # probability that a sample is nearer to a training image than a new one; guided: 0.7
ERRORS = 3  # standard errors above it, before that is said


def diagnose(
    history: Sequence[Signs], *, players: Sequence[str] = ("",), also: Sequence[Ailment] = ()
) -> Health:
    """Say what ails a generator, from the signs of its evaluations so far, oldest first.

    Signs: `objective` (lower is better), `diversity` and `contrast` of the samples beside real
    images, `class_share/<class>`, `copying`, and of the last training step `grad_norm`. What is
    not there is not looked at. `also`: what its own task has found.
    """
    if not history:
        return Health(is_early=True)
    lost = diverged(history, players)
    if lost is not None:  # whatever else there is to see comes of this
        return Health((lost,))
    found = [*also, _alike(history), _grey(history), memorising(history)]
    ailments = tuple(ailment for ailment in found if ailment is not None)
    now = history[-1]
    has_begun = now.get("diversity", 1.0) < ALIKE or now.get("contrast", 1.0) < GREY
    return Health(ailments, is_early=not ailments and (has_begun or not has_formed(now)))


def diverged(history: Sequence[Signs], players: Sequence[str]) -> Ailment | None:
    """Numbers that are not finite, a score that fell back, a gradient that exploded."""
    now, earlier = history[-1], history[:-1]
    remedy = "a lower optimizer.lr, trainer.clip_norm=1" + (
        ", task.r1=1" if len(players) > 1 else ""
    )
    broken = [name for name, value in now.items() if not math.isfinite(value)]
    if broken:
        return Ailment("diverged", f"{broken[0]} is {now[broken[0]]}", remedy)
    scores = [look["objective"] for look in history if "objective" in look]
    if len(scores) > 1 and scores[-1] > max(WORSE * min(scores[:-1]), scores[0] / 2):
        because = f"the score fell back from {min(scores[:-1]):.3g} to {scores[-1]:.3g}"
        return Ailment("diverged", because, remedy)
    for player in players:
        name = f"{player}/grad_norm" if player else "grad_norm"
        norms, norm = course(earlier, name), now.get(name, 0.0)
        if len(norms) >= PATIENCE and norm > EXPLODED * max(norms):
            because = (
                f"the {player or 'network'}'s gradient norm went from {norms[-1]:.3g} to {norm:.3g}"
            )
            return Ailment("diverged", because, remedy)
    return None


def has_formed(look: Signs) -> bool:
    """Whether at least half of the classes have come, as far as there is a classifier to tell."""
    shares = [share for name, share in look.items() if name.startswith("class_share/")]
    return 2 * sum(share >= MISSING for share in shares) >= len(shares)


def course(history: Sequence[Signs], name: str) -> list[float]:
    """A sign at all evaluations that have it."""
    return [look[name] for look in history if name in look]


def missing(history: Sequence[Signs]) -> list[str]:
    """The classes that were there and have gone, or are overdue.

    First samples are no digits yet, and a classifier takes them for one or two classes: what is
    missing counts only beside samples of which at least half of the classes have come.
    """
    prefix = "class_share/"
    names = [name for name in history[-1] if name.startswith(prefix)]

    def has(look: Signs, name: str) -> bool:
        return look.get(name, 0.0) >= MISSING

    formed = [has_formed(look) for look in history]
    gone = []
    for name in names:
        if len(history) < PATIENCE or any(has(look, name) for look in history[-PATIENCE:]):
            continue
        was_there = any(f and has(look, name) for f, look in zip(formed, history, strict=True))
        never_came = not any(has(look, name) for look in history)
        if was_there or (never_came and formed[-1] and len(history) >= OVERDUE):
            gone.append(name.removeprefix(prefix))
    return gone


def stays_low(history: Sequence[Signs], name: str, low: float) -> bool:
    """Whether a sign is low and is not on its way up from the look before."""
    found = course(history, name)
    if found and name == "diversity" and found[-1] < DEAD:
        return True
    return len(found) > 1 and found[-1] < low and found[-1] <= RISING * found[-2]


def memorising(history: Sequence[Signs]) -> Ailment | None:
    """Samples that lie nearer to training images than new images do."""
    now = history[-1]
    share = now.get("copying", 0.0)
    if share - ERRORS * now.get("copying_error", 0.0) <= COPIED:
        return None
    return Ailment(
        "memorising",
        f"{share:.0%} of the samples are nearer to a training image than new images are (new: 50%)",
        "more data, data.augment, a smaller model.width, fewer trainer.steps",
    )


def _alike(history: Sequence[Signs]) -> Ailment | None:
    gone, reasons = missing(history), []
    if stays_low(history, "diversity", ALIKE):
        share = history[-1]["diversity"]
        reasons.append(f"samples differ {share:.2f} times as much as real images do")
    if gone:
        reasons.append(f"classes are missing: {', '.join(gone)}")
    if not reasons:
        return None
    return Ailment(
        "collapsing", "; ".join(reasons), "longer training, a larger model.width, another seed"
    )


def _grey(history: Sequence[Signs]) -> Ailment | None:
    if not stays_low(history, "contrast", GREY):
        return None
    return Ailment(
        "grey images",
        f"samples have {history[-1]['contrast']:.2f} of the contrast of real images",
        "longer training, a higher optimizer.lr, a larger model.width",
    )
