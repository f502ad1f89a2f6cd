"""What is swept: Hydra's grammar, and the points of grids, zips, unions and draws, by hand."""

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from trainwright.config.compose import register_schema
from trainwright.config_folder import config_folder
from trainwright.errors import ConfigError
from trainwright.sweep.points.axes import Axis, Interval, Swept, take_apart
from trainwright.sweep.points.points import drawn, grid, union, zipped


@pytest.fixture(scope="module")
def loader():
    register_schema()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return GlobalHydra.instance().config_loader()


@pytest.fixture
def swept(loader):
    return lambda *typed, seed=0, **params: take_apart(typed, params, loader, seed=seed)


def shown(points):
    return [" ".join(point.values()) for point in points]


def test_a_grid_is_every_combination_and_the_last_key_changes_fastest(swept):
    typed = swept("model=mlp,cnn", "optimizer.lr=1e-3,3e-4", "trainer.epochs=2", "seed=0,1")
    assert typed.fixed == ("trainer.epochs=2",)
    assert list(grid(typed)) == [
        {"model": "mlp", "optimizer.lr": "0.001", "seed": "0"},
        {"model": "mlp", "optimizer.lr": "0.001", "seed": "1"},
        {"model": "mlp", "optimizer.lr": "0.0003", "seed": "0"},
        {"model": "mlp", "optimizer.lr": "0.0003", "seed": "1"},
        {"model": "cnn", "optimizer.lr": "0.001", "seed": "0"},
        {"model": "cnn", "optimizer.lr": "0.001", "seed": "1"},
        {"model": "cnn", "optimizer.lr": "0.0003", "seed": "0"},
        {"model": "cnn", "optimizer.lr": "0.0003", "seed": "1"},
    ]


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("range(0.1,0.4,0.1)", "0.1 0.2 0.3"),
        ("sort(range(0.1,0.4,0.1),reverse=true)", "0.3 0.2 0.1"),
        ("range(0.4,0.1,-0.1)", "0.4 0.3 0.2"),
        ("range(0,1,0.1)", "0.0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9"),
        ("range(1e-4,1e-3,3e-4)", "0.0001 0.0004 0.0007"),
        ("range(1,4)", "1 2 3"),
    ],
)
def test_a_range_is_what_decimal_numbers_make_of_it_without_its_end(typed, values, swept):
    (axis,) = swept(f"optimizer.lr={typed}").axes
    assert " ".join(axis.values) == values


def test_texts_of_a_file_need_no_quotes(swept):
    (axis,) = swept("data=folder", **{"data.path": ["фото", "it's", 2024]}).axes
    assert [text.strip("'\"") for text in axis.values] == ["фото", "it's", "2024"]


def test_a_zip_pairs_values_and_runs_each_pair_with_every_seed(swept):
    typed = swept("a=64,128", "seed=7,8", "b=x,y")
    assert list(zipped(typed)) == [
        {"a": "64", "b": "x", "seed": "7"},
        {"a": "64", "b": "x", "seed": "8"},
        {"a": "128", "b": "y", "seed": "7"},
        {"a": "128", "b": "y", "seed": "8"},
    ]


def test_a_zip_pairs_a_value_that_comes_twice_with_two_others(swept):
    assert shown(zipped(swept("a=64,64,128", "b=1,2,2"))) == ["64 1", "64 2", "128 2"]


def test_a_union_is_the_base_and_each_value_by_itself(swept):
    assert list(union(swept("a=1,2", "b=x,y"))) == [
        {},
        {"a": "1"},
        {"a": "2"},
        {"b": "x"},
        {"b": "y"},
    ]
    assert list(union(swept("a=1,5", "seed=0,1"))) == [
        {"seed": "0"},
        {"seed": "1"},
        {"a": "1", "seed": "0"},
        {"a": "1", "seed": "1"},
        {"a": "5", "seed": "0"},
        {"a": "5", "seed": "1"},
    ]


def test_hydras_own_grammar_is_understood(swept):
    assert shown(grid(swept("seed=range(1,8,3)"))) == ["1", "4", "7"]
    assert shown(grid(swept("a=choice(x,[1,2])"))) == ["x", "[1,2]"]
    assert shown(grid(swept("model=glob([mlp*,cnn])"))) == [
        "cnn",
        "mlp",
        "mlp_flow",
        "mlp_gan",
        "mlp_vae",
    ]
    once, again = (shown(grid(swept("a=shuffle(range(20))", seed=3))) for _ in range(2))
    assert once == again != sorted(once, key=int)
    assert swept("a=tag(log,interval(1e-4,1))").axes == (
        Axis("a", interval=Interval(1e-4, 1, log=True)),
    )
    assert swept("a=int(interval(1,10))").axes[0].interval.is_integer


def test_what_is_typed_replaces_what_a_file_says(swept):
    typed = swept("a=5", **{"a": "1,2", "b": [3, 4], "c": "range(2)"})
    assert typed.fixed == ("a=5",)
    assert {axis.key: axis.values for axis in typed.axes} == {"b": ("3", "4"), "c": ("0", "1")}


def test_of_a_key_that_is_typed_twice_the_last_counts(swept):
    assert shown(grid(swept("a=1,2", "a=3,4"))) == ["3", "4"]
    assert shown(grid(swept("a=1", "a=3,4"))) == ["3", "4"]
    for last in ("a=3", "++a=3"):
        typed = swept("a=1,2", "b=5,6", last)
        assert typed.fixed == (last,)
        assert shown(grid(typed)) == ["5", "6"]


def test_a_list_in_a_file_is_a_choice_of_whatever_is_in_it(swept):
    lists, others, one = swept(a=[[16], [64, 32], []], b=[1e-3, None, True, "x"], c=[[8, 4]]).axes
    assert lists.values == ("[16]", "[64,32]", "[]")
    assert others.values == ("0.001", "null", "True", "x")
    assert one.values == ("[8,4]",)


@pytest.mark.parametrize(
    ("kind", "typed", "says"),
    [
        (grid, ["a=interval(0,1)"], "sweep=random and sweep=optuna draw"),
        (zipped, ["a=1,2", "b=1,2,3"], "a has 2, b has 3"),
        (lambda s: drawn(s, num_trials=2, seed=0), ["seed=0,1"], "nothing to draw"),
        (lambda s: drawn(s, num_trials=2, seed=0), ["a=1,2", "seed=interval(0,9)"], "seed is an"),
    ],
)
def test_what_makes_no_sense_is_refused(kind, typed, says, swept):
    with pytest.raises(ConfigError, match=says):
        list(kind(swept(*typed)))


@pytest.mark.parametrize(
    "typed",
    [
        "a=interval(1,0)",
        "a=tag(log,interval(0,1))",
        "a=tag(quick,interval(0,1))",
        "a=tag(log,choice(1,2))",
    ],
)
def test_tags_and_intervals_that_cannot_be_meant_are_refused(typed, swept):
    with pytest.raises(ConfigError):
        swept(typed)


LR = Axis("lr", interval=Interval(1e-4, 1e-1, log=True))
WIDTH = Axis("width", interval=Interval(2, 5, log=False))
KIND = Axis("kind", values=("a", "b"))


def test_draws_stay_within_their_bounds_and_reach_all_of_them():
    points = list(drawn(Swept((), (LR, WIDTH, KIND)), num_trials=300, seed=0))
    rates = sorted(float(point["lr"]) for point in points)
    assert 1e-4 <= rates[0] < 2e-4
    assert 5e-2 < rates[-1] <= 1e-1
    # Logarithmic: half of the draws are below the geometric mean, 10^-2.5.
    assert 0.4 < sum(rate < 10**-2.5 for rate in rates) / len(rates) < 0.6
    assert {point["width"] for point in points} == {"2", "3", "4", "5"}
    assert {point["kind"] for point in points} == {"a", "b"}


def test_more_draws_or_another_key_leave_the_others_as_they_were():
    few = list(drawn(Swept((), (LR,)), num_trials=3, seed=1))
    more = list(drawn(Swept((), (KIND, LR)), num_trials=5, seed=1))
    assert [point["lr"] for point in more[:3]] == [point["lr"] for point in few]
    assert few != list(drawn(Swept((), (LR,)), num_trials=3, seed=2))
