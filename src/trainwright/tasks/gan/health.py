"""Is a GAN healthy? A diagnosis from what its evaluations have shown, in words.

The thresholds are set by GANs on digits and MNIST, healthy ones and those that tests make ill.
They are meant to be silent on a run that goes well: what they miss shows in the score.
"""

from collections.abc import Sequence

from trainwright.tasks.generated.health import (
    ALIKE,
    OVERDUE,
    PATIENCE,
    course,
    diverged,
    has_formed,
    memorising,
    missing,
    stays_low,
)
from trainwright.tasks.health import Ailment, Health, Signs

WON = 0.99  # separation from which on a discriminator has nothing left to learn
FOOLED = 0.45  # separation below which it takes fakes for real ones: worse than guessing
BLIND = 0.55  # separation that is no better than guessing, where it has stopped learning too
VANISHED = 1e-3  # of its largest norm so far: a gradient that moves nothing any more
CLASS_ALIKE = 0.35  # the same within a class, which varies less and is measured on fewer
BETTER = 0.99  # times the best score so far: an improvement worth the name


def diagnose(history: Sequence[Signs], *, is_critic: bool = False) -> Health:
    """Say what ails a GAN, from the signs of its evaluations so far, oldest first.

    Signs: `objective` (lower is better), `separation` and `diversity` of `trainwright.tasks.
    generated.signs`, `diversity/<class>`, `class_share/<class>` where there is a classifier, and of
    the last training step `discriminator/grad_norm` and `generator/grad_norm`. What is not there
    is not looked at. `is_critic`: a Wasserstein critic is meant to win, and harms nobody by it.
    """
    if not history:
        return Health(is_early=True)
    lost = diverged(history, ("discriminator", "generator"))
    if lost is not None:  # whatever else there is to see comes of this
        return Health((lost,))
    found = [
        None if is_critic else _discriminator_wins(history),
        _generator_wins(history),
        _collapsing(history),
        memorising(history),
    ]
    ailments = tuple(ailment for ailment in found if ailment is not None)
    return Health(ailments, is_early=not ailments and _is_early(history, is_critic))


def _discriminator_wins(history: Sequence[Signs]) -> Ailment | None:
    recent = course(history[-PATIENCE:], "separation")
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
    gone = missing(history)
    reasons = []
    if stays_low(history, "diversity", ALIKE):
        reasons.append(f"samples differ {now['diversity']:.2f} times as much as real images do")
    if alike:
        reasons.append(f"samples of one class are all alike: {', '.join(alike)}")
    if gone:
        reasons.append(f"classes are missing: {', '.join(gone)}")
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
        or not has_formed(now)
        or (is_told_apart and len(history) <= OVERDUE)
    )


def _has_stalled(history: Sequence[Signs]) -> bool:
    """Whether the score has not improved on what it was before the last looks."""
    scores = course(history, "objective")
    before, recent = scores[:-PATIENCE], scores[-PATIENCE:]
    return bool(before) and min(recent) > BETTER * min(before)


def _has_vanished(history: Sequence[Signs], name: str) -> bool:
    norms = course(history, name)
    return len(norms) > 1 and norms[-1] < VANISHED * max(norms)


def _of_classes(history: Sequence[Signs], prefix: str, low: float) -> list[str]:
    names = [name for name in history[-1] if name.startswith(prefix)]
    return [n.removeprefix(prefix) for n in names if stays_low(history, n, low)]
