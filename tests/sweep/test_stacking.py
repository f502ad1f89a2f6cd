"""Which jobs are stacked, read from their configs alone."""

import pytest

from trainwright.sweep.job import Job
from trainwright.sweep.stacking import Stacking, against, stack_key


@pytest.fixture(scope="module")
def config(composed):
    from omegaconf import OmegaConf

    return lambda *overrides: OmegaConf.to_container(composed(*overrides), resolve=True)


def jobs(configs):
    return [Job(str(n), n, "run", {}, (), config) for n, config in enumerate(configs)]


@pytest.mark.parametrize(
    "own",
    ["seed=3", "optimizer.lr=0.1", "optimizer=sgd", "schedule=one_cycle", "trainer.clip_norm=1",
     "trainer.ema=0.9", "task.label_smoothing=0.1", "model.dropout=0.2",
     "trainer.early_stopping.patience=2", "trainer.log_every=7", "data.augment.shift=1"],
)  # fmt: skip
def test_members_may_differ_in_what_is_each_ones_own(config, own):
    base = ("model.dropout=0.1",)
    assert stack_key(config(*base)) == stack_key(config(*base, own))


def test_gans_may_differ_in_the_weights_of_their_losses_and_not_in_which_there_are(config):
    plain = stack_key(config("model=mlp_gan"))
    for own in ("task.r1=1", "task.auxiliary_weight=2", "task.penalty_weight=1"):
        assert stack_key(config("model=mlp_gan", own)) == plain
    for other in ("task.r1=0", "task.r1_every=2", "task.loss=wasserstein_gp"):
        assert stack_key(config("model=mlp_gan", other)) != plain


@pytest.mark.parametrize(
    "other",
    ["model.widths=[8]", "data.validation=0.2", "trainer.batch_size=32", "trainer.steps=7",
     "trainer.precision=fp32", "model.dropout=0.2", "task.top_k=3", "model.norm=batch"],
)  # fmt: skip
def test_what_is_computed_must_be_the_same(config, other):
    """A rate of dropout may differ from another, but not from none: that is another network."""
    assert stack_key(config()) != stack_key(config(other))


@pytest.mark.parametrize(
    "wrong",
    [["model.dropout=oops"], ["model.dropout=null"], ["model=mlp_gan", "task.r1=oops"]],
)
def test_a_value_of_a_wrong_type_is_left_to_who_builds_it(config, wrong):
    assert stack_key(config(*wrong))


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [(["trainer.accumulate=2"], "accumulate"), (["trainer.precision=fp16"], "fp16"),
     (["model=gan", "model.spectral_norm=true"], "spectral_norm"),
     (["model=gan", "task.instance_noise=0.1"], "instance_noise"), ([], None)],
)  # fmt: skip
def test_what_cannot_be_stacked_is_known_beforehand(config, overrides, reason):
    found = against(config(*overrides))
    assert found is None if reason is None else reason in found


@pytest.mark.parametrize(("section", "kind"), [("model", "models"), ("task", "tasks")])
def test_a_model_or_task_of_the_user_s_own_is_refused_in_words(config, section, kind):
    own = config()
    own[section]["_target_"] = "mine.Own"
    assert against(own) == f"only trainwright's own {kind} are stacked, not mine.Own"


def test_groups_are_cut_into_a_stack_for_each_slot_that_memory_holds(config):
    sizes = {(2, 64): [4, 4], (2, 3): [3, 2, 3], (16, 64): [2, 2, 2, 2], (1, 64): [8]}
    for (num_slots, most), expected in sizes.items():
        stacking = Stacking("on", jobs([config()] * 8), begun_alone=())
        stacking.share_out(num_slots, most)
        assert [len(stack) for stack in stacking.stacks] == expected


def test_auto_stacks_what_is_faster_and_on_whatever_can_be(config):
    all_jobs = jobs([config(), config(), config("model.widths=[8]"), config("model.widths=[8]")])
    gains = [{"speedup": 2.0, "refused": None}, {"speedup": 0.8, "refused": None}]
    for wanted, num_stacked in (("auto", 2), ("on", 4)):
        stacking = Stacking(wanted, all_jobs, begun_alone=())
        stacking.hear(gains)
        stacking.share_out(1, 64)
        assert sum(map(len, stacking.stacks)) == num_stacked
    refused = Stacking("on", all_jobs, begun_alone=("0",))
    refused.hear([{"speedup": 0.0, "refused": "vmap says no"}])
    assert refused.groups == []
    assert "alone: 2 jobs: vmap says no" in refused.lines()
    assert "alone: 1 job: started alone, and goes on so" in refused.lines()
