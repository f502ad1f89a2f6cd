"""Is a GAN healthy? A diagnosis from what its evaluations have shown, in words.

The thresholds are set by GANs on digits and MNIST, healthy ones and those that tests make ill.
They are meant to be silent on a run that goes well: what they miss shows in the score.
"""

import math
from collections.abc import Sequence

from trainwright.tasks.health import Ailment, Health, Signs

WON = 0.99  # separation from which on a discriminator has nothing left to learn
FOOLED = 0.45  # separation below which it takes fakes for real ones: worse than guessing
BLIND = 0.55  # separation that is no better than guessing, where it has stopped learning too
VANISHED = 1e-3  # of its largest norm so far: a gradient that moves nothing any more
EXPLODED = 100.0  # times its largest norm so far: a gradient that breaks what it moves
ALIKE = 0.5  # diversity of all samples below which they have begun to be one
DEAD = 0.01  # diversity of one image, whatever the latents: nothing on its way has so little
CLASS_ALIKE = 0.35  # the same within a class, which varies less and is measured on fewer
RISING = 1.1  # times the look before: what is low and grows that fast is on its way
MISSING = 0.2  # share of a class among the samples, over its share among real images
WORSE = 4.0  # times the best score so far, and over half of the first: all that was learnt is lost
BETTER = 0.99  # times the best score so far: an improvement worth the name
OVERDUE = 5  # evaluations without a class that has never come, when the others have
PATIENCE = 2  # evaluations without one, before a game counts as decided


def diagnose(history: Sequence[Signs], *, is_critic: bool = False) -> Health:
    """Say what ails a GAN, from the signs of its evaluations so far, oldest first.

    Signs: `objective` (lower is better), `separation` and `diversity` of `trainwright.tasks.
    gan_signs`, `diversity/<class>`, `class_share/<class>` where there is a classifier, and of
    the last training step `discriminator/grad_norm` and `generator/grad_norm`. What is not there
    is not looked at. `is_critic`: a Wasserstein critic is meant to win, and harms nobody by it.
    """
    if not history:
        return Health(is_early=True)
    diverged = _diverged(history)
    if diverged is not None:  # whatever else there is to see comes of this
        return Health((diverged,))
    found = [
        None if is_critic else _discriminator_wins(history),
        _generator_wins(history),
        _collapsing(history),
    ]
    ailments = tuple(ailment for ailment in found if ailment is not None)
    return Health(ailments, is_early=not ailments and _is_early(history, is_critic))


def _diverged(history: Sequence[Signs]) -> Ailment | None:
    now, earlier = history[-1], history[:-1]
    remedy = "a lower optimizer.lr, trainer.clip_norm=1, task.r1=1"
    broken = [name for name, value in now.items() if not math.isfinite(value)]
    if broken:
        return Ailment("diverged", f"{broken[0]} is {now[broken[0]]}", remedy)
    scores = [look["objective"] for look in history if "objective" in look]
    if len(scores) > 1 and scores[-1] > max(WORSE * min(scores[:-1]), scores[0] / 2):
        because = f"the score fell back from {min(scores[:-1]):.3g} to {scores[-1]:.3g}"
        return Ailment("diverged", because, remedy)
    for player in ("discriminator", "generator"):
        norms = _course(earlier, f"{player}/grad_norm")
        norm = now.get(f"{player}/grad_norm", 0.0)
        if len(norms) >= PATIENCE and norm > EXPLODED * max(norms):
            because = f"the {player}'s gradient norm went from {norms[-1]:.3g} to {norm:.3g}"
            return Ailment("diverged", because, remedy)
    return None


def _discriminator_wins(history: Sequence[Signs]) -> Ailment | None:
    recent = _course(history[-PATIENCE:], "separation")
    if len(recent) < PATIENCE or min(recent) < WON:
        return None
    gradients = ("discriminator/grad_norm", "generator/grad_norm")  # of either: the game is over
    if not _has_stalled(history) and not any(_has_vanished(history, name) for name in gradients):
        return None
    return Ailment(
        "discriminator wins",
        f"it tells {recent[-1]:.1%} of the pairs of a real image and a fake apart,"
        " and has nothing more to teach",
        "a lower optimizer.players.discriminator.lr, task.r1=1, task.instance_noise=0.2,"
        " task.diff_augment=[translation]",
    )


def _generator_wins(history: Sequence[Signs]) -> Ailment | None:
    separation = history[-1].get("separation", 1.0)
    is_blind = separation <= BLIND and _has_vanished(history, "discriminator/grad_norm")
    if separation >= FOOLED and not is_blind:
        return None
    return Ailment(
        "generator wins",
        f"the discriminator ranks only {separation:.1%} of the pairs of a real image and a fake"
        " right",
        "a lower optimizer.players.generator.lr, task.critic_steps=2,"
        " a larger model.discriminator_width",
    )


def _collapsing(history: Sequence[Signs]) -> Ailment | None:
    """Low is not enough: a generator begins with samples that are alike, and has yet to vary."""
    now = history[-1]
    alike = _of_classes(history, "diversity/", CLASS_ALIKE)
    missing = _missing(history)
    reasons = []
    if _stays_low(history, "diversity", ALIKE):
        reasons.append(f"samples differ {now['diversity']:.2f} times as much as real images do")
    if alike:
        reasons.append(f"samples of one class are all alike: {', '.join(alike)}")
    if missing:
        reasons.append(f"classes are missing: {', '.join(missing)}")
    if not reasons:
        return None
    remedy = (
        "task.r1=1, model.spectral_norm=true, task.diff_augment=[translation], a lower optimizer.lr"
    )
    return Ailment("collapsing", "; ".join(reasons), remedy)


def _is_early(history: Sequence[Signs], is_critic: bool) -> bool:
    """Whether samples are as those of a collapsed GAN are, and of one that has just begun.

    They are alike, or of few classes; or the discriminator is right about all of them, as it is at
    first, before the generator has learnt anything.
    """
    now = history[-1]
    is_told_apart = not is_critic and now.get("separation", 0.0) >= WON
    return (
        now.get("diversity", 1.0) < ALIKE
        or not _has_formed(now)
        or (is_told_apart and len(history) <= OVERDUE)
    )


def _has_formed(look: Signs) -> bool:
    """Whether at least half of the classes have come, as far as there is a classifier to tell."""
    shares = [share for name, share in look.items() if name.startswith("class_share/")]
    return 2 * sum(share >= MISSING for share in shares) >= len(shares)


def _has_stalled(history: Sequence[Signs]) -> bool:
    """Whether the score has not improved on what it was before the last looks."""
    scores = _course(history, "objective")
    before, recent = scores[:-PATIENCE], scores[-PATIENCE:]
    return bool(before) and min(recent) > BETTER * min(before)


def _has_vanished(history: Sequence[Signs], name: str) -> bool:
    norms = _course(history, name)
    return len(norms) > 1 and norms[-1] < VANISHED * max(norms)


def _course(history: Sequence[Signs], name: str) -> list[float]:
    return [look[name] for look in history if name in look]


def _missing(history: Sequence[Signs]) -> list[str]:
    """The classes that were there and have gone, or are overdue.

    First samples are no digits yet, and a classifier takes them for one or two classes: what is
    missing counts only beside samples of which at least half of the classes have come.
    """
    prefix = "class_share/"
    names = [name for name in history[-1] if name.startswith(prefix)]

    def has(look: Signs, name: str) -> bool:
        return look.get(name, 0.0) >= MISSING

    formed = [_has_formed(look) for look in history]
    gone = []
    for name in names:
        if len(history) < PATIENCE or any(has(look, name) for look in history[-PATIENCE:]):
            continue
        was_there = any(f and has(look, name) for f, look in zip(formed, history, strict=True))
        never_came = not any(has(look, name) for look in history)
        if was_there or (never_came and formed[-1] and len(history) >= OVERDUE):
            gone.append(name.removeprefix(prefix))
    return gone


def _stays_low(history: Sequence[Signs], name: str, low: float) -> bool:
    """Whether a sign is low and is not on its way up from the look before."""
    course = _course(history, name)
    if course and name == "diversity" and course[-1] < DEAD:
        return True
    return len(course) > 1 and course[-1] < low and course[-1] <= RISING * course[-2]


def _of_classes(history: Sequence[Signs], prefix: str, low: float) -> list[str]:
    names = [name for name in history[-1] if name.startswith(prefix)]
    return [n.removeprefix(prefix) for n in names if _stays_low(history, n, low)]
