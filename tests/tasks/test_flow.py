"""Flow matching beside its formulas, and beside flows that are known exactly."""

import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image

from trainwright.data.columns import Classes, Numbers
from trainwright.data.dataset import DataInfo
from trainwright.nn.generators.unet import UNet
from trainwright.nn.generators.velocity import DenseVelocity, Velocity
from trainwright.tasks.flow.coupling import coupled
from trainwright.tasks.flow.likelihood import log_density
from trainwright.tasks.flow.paths import PATHS, cosine, drawn_times, linear
from trainwright.tasks.flow.samplers import follow
from trainwright.tasks.flow.sampling import Sampling
from trainwright.tasks.flow.task import Flow
from trainwright.tasks.generated import draw
from trainwright.tasks.generated.health import diagnose

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]
TEN = DataInfo.of_one_input("ten", (1, 8, 8), "classes", tuple("0123456789"), (0.5,), (0.3,))
PLAIN = DataInfo.of_one_input("plain", (1, 8, 8), "none", (), (0.5,), (0.3,))
MEAN, STD = 1.5, 0.4  # of the data of the flow that is known


class Noting(Velocity):
    """Says `class + 1` everywhere, 11 without a class, and notes what it was given."""

    def __init__(self, num_classes=10, shape=(1, 8, 8)):
        super().__init__(shape, num_classes, 4)
        self.seen = []

    def forward(self, points, times, classes=None):
        self.seen.append((points, times, classes))
        said = times.new_full(times.shape, 3.0) if classes is None else classes + 1.0
        return said.view(-1, *(1 for _ in self.shape)).expand(points.shape)


class Still(Noting):
    """Moves nothing, whatever it is told."""

    def forward(self, points, times, classes=None):
        super().forward(points, times, classes)
        return points * 0


def flow(model=None, info=TEN, **options):
    torch.manual_seed(0)
    if model is None:
        model = UNet(input_shape=info.input_shape, num_classes=info.num_classes, width=8)
        for parameter in model.parameters():  # as if trained: what it says is not small
            torch.nn.init.normal_(parameter, std=0.1)
    return Flow(model=model, info=info, seed=0, **options).eval()


@pytest.mark.parametrize("path", ["linear", "cosine"])
def test_the_loss_is_the_squared_error_of_the_velocity_of_the_path(path):
    task = flow(Noting(), path=path, drop_classes=0.0)
    data, classes = torch.rand(6, 1, 8, 8) * 2 - 1, torch.arange(6)
    loss, metrics = task("model", {"inputs": data, "targets": classes}, {})
    ((points, times, told),) = task.model.seen
    t = times.view(-1, 1, 1, 1)
    if path == "linear":
        noise = (points - t * data) / (1 - t)
        wanted = data - noise
    else:
        a, s = torch.sin(t * math.pi / 2), torch.cos(t * math.pi / 2)
        noise = (points - a * data) / s
        wanted = math.pi / 2 * (s * data - a * noise)
    said = told.view(-1, 1, 1, 1) + 1.0
    assert torch.equal(told, classes)
    assert noise.std() == pytest.approx(1, abs=0.15)  # 384 draws
    torch.testing.assert_close(loss, (said - wanted).square().mean())
    assert torch.equal(metrics["loss"], loss)


@pytest.mark.parametrize("name", PATHS)
def test_a_path_leads_from_noise_to_data_and_its_changes_are_its_slopes(name):
    times = torch.linspace(0, 1, 11).requires_grad_()
    weights = PATHS[name](times)
    for value, change in (
        (weights.data, weights.data_change),
        (weights.noise, weights.noise_change),
    ):
        (slope,) = torch.autograd.grad(value.sum(), times, retain_graph=True)
        torch.testing.assert_close(slope, change)
    ends = torch.stack([weights.data[[0, -1]], weights.noise[[0, -1]]])
    torch.testing.assert_close(ends.detach(), torch.tensor([[0.0, 1.0], [1.0, 0.0]]))


def test_times_fill_their_distribution_one_in_each_part():
    uniform = drawn_times("uniform", 50, torch.device("cpu"))
    assert torch.equal((uniform * 50).floor(), torch.arange(50.0))
    normal = torch.distributions.Normal(0.0, 1.0).cdf(
        torch.logit(drawn_times("logit_normal", 50, torch.device("cpu")))
    )
    assert torch.equal((normal * 50).floor(), torch.arange(50.0))


def test_so_many_examples_are_not_told_their_class_in_training_and_all_are_in_evaluation():
    task = flow(Noting(), drop_classes=0.25)
    batch = {"inputs": torch.zeros(4000, 1, 8, 8), "targets": torch.full((4000,), 4)}
    task("model", batch, {})
    task.evaluate(batch)
    trained, evaluated = (classes for _, _, classes in task.model.seen)
    assert set(trained.tolist()) == {4, 10}
    assert (trained == 10).double().mean() == pytest.approx(0.25, abs=0.03)  # 4 deviations
    assert set(evaluated.tolist()) == {4}


@pytest.mark.parametrize("classes", [None, [0, 1, 0, 1, 1]])
def test_the_optimal_coupling_is_the_best_of_all_orders_within_each_class(classes):
    noise, data = torch.randn(5, 1, 2, 2), torch.randn(5, 1, 2, 2)
    told = None if classes is None else torch.tensor(classes)
    found = coupled(noise, data, told)
    orders = [
        list(order)
        for order in itertools.permutations(range(5))
        if classes is None or all(classes[a] == classes[b] for a, b in enumerate(order))
    ]
    assert len(orders) == (120 if classes is None else 12)
    lengths = [(noise[order] - data).square().sum() for order in orders]
    best = min(range(len(orders)), key=lambda n: float(lengths[n]))
    assert torch.equal(found, noise[orders[best]])


def test_a_flow_learns_from_the_noise_that_its_coupling_gives_to_an_example():
    data, classes = torch.rand(6, 1, 8, 8) * 2 - 1, torch.tensor([0, 0, 0, 1, 1, 1])
    drawn = {}
    for coupling in ("independent", "optimal"):
        task = flow(Noting(), coupling=coupling, drop_classes=0.0)
        torch.manual_seed(1)
        task("model", {"inputs": data, "targets": classes}, {})
        ((points, times, _),) = task.model.seen
        t = times.view(-1, 1, 1, 1)
        drawn[coupling] = (points - t * data) / (1 - t)
    torch.testing.assert_close(drawn["optimal"], coupled(drawn["independent"], data, classes))
    assert not torch.allclose(drawn["optimal"], drawn["independent"])


def gaussian_velocity(path):
    """That of the way from N(0, 1) to N(MEAN, STD^2): the mean of the change given the point."""

    def velocity(points, times, rows):
        a, s, a_change, s_change = path(times.view(-1, 1))
        variance = (a * STD) ** 2 + s**2
        covariance = a_change * a * STD**2 + s_change * s
        return a_change * MEAN + covariance / variance * (points - a * MEAN)

    return velocity


def error_of(sampler, steps, path, begin=0.0):
    points = torch.linspace(-2, 2, 9).view(-1, 1)
    start = points
    if begin:
        weights = path(torch.tensor(begin))
        spread = ((weights.data * STD) ** 2 + weights.noise**2).sqrt()
        start = weights.data * MEAN + spread * points
    found = follow(
        gaussian_velocity(path), start, sampler=sampler, steps=steps, path=path, begin=begin
    )
    return float((found.points - (MEAN + STD * points)).abs().max()), found.evaluations


@pytest.mark.parametrize("path", [linear, cosine])
@pytest.mark.parametrize(("sampler", "order"), [("euler", 1), ("heun", 2), ("midpoint", 2)])
def test_the_flow_between_two_gaussians_is_found_with_the_samplers_order(path, sampler, order):
    coarse, fine = (error_of(sampler, steps, path)[0] for steps in (40, 80))
    assert fine < 0.05**order
    # An order more: on the straight path between Gaussians midpoints happen to be exact so far.
    assert order - 0.25 < math.log2(coarse / fine) < order + 1.1


@pytest.mark.parametrize("path", [linear, cosine])
def test_the_adaptive_sampler_finds_it_to_its_tolerance_from_wherever_it_begins(path):
    for begin in (0.0, 0.6):
        error, evaluations = error_of("adaptive", 1, path, begin)
        assert error < 3e-3
        assert len(set((evaluations % 7).tolist())) == 1  # whole steps


@pytest.mark.parametrize("path", [linear, cosine])
def test_the_density_of_gaussian_data_is_found(path):
    points = torch.linspace(-2, 2, 9).repeat(2, 1).T * STD + MEAN
    found = log_density(gaussian_velocity(path), points)
    exact = torch.distributions.Normal(MEAN, STD).log_prob(points).sum(dim=1)
    torch.testing.assert_close(found, exact, atol=1e-3, rtol=0)


def test_of_many_numbers_the_density_is_right_on_average():
    """Data N(0, S) of 20 numbers that hang together: the velocity is a matrix times the point."""
    torch.manual_seed(0)
    turn, _ = torch.linalg.qr(torch.randn(20, 20))
    variances = torch.linspace(0.2, 3, 20)
    data = torch.distributions.MultivariateNormal(torch.zeros(20), turn * variances @ turn.T)

    def velocity(points, times, rows):
        t = times[:, None]
        slope = (t * variances - (1 - t)) / (t**2 * variances + (1 - t) ** 2)
        return (points @ turn * slope) @ turn.T

    point = data.sample()
    found = log_density(velocity, point.repeat(500, 1), steps=100)
    assert len(set(found.tolist())) > 400  # each with signs of its own
    error = found.std() / 500**0.5
    assert float(found.mean()) == pytest.approx(float(data.log_prob(point)), abs=float(4 * error))


def test_a_pixel_of_a_flow_that_moves_nothing_is_as_likely_as_a_normal_number():
    """So many bits as a level of 1/128 has of the standard normal density."""
    task = flow(Still(0), PLAIN)
    levels = torch.arange(256.0).repeat(2000, 1).T[..., :64].reshape(256, 1, 8, 8)
    nats = task.log_likelihood({"inputs": levels / 127.5 - 1})
    edges = torch.arange(257.0) / 128 - 1
    exact = torch.distributions.Normal(0.0, 1.0).cdf(edges).diff().log() * 64
    # A level's draws lie about its middle, 64 of them; the density's slope there is 1 at most.
    torch.testing.assert_close(nats, exact, atol=64 / 256 * 4 / 64**0.5, rtol=0)
    torch.testing.assert_close(
        task.anomaly_score({"inputs": levels / 127.5 - 1}), -exact, atol=0.13, rtol=0
    )


def test_how_strange_an_example_is_does_not_hang_on_its_class():
    told = flow(Still())
    told.anomaly_score({"inputs": torch.zeros(2, 1, 8, 8), "targets": torch.tensor([3, 4])})
    assert {int(c) for _, _, classes in told.model.seen for c in classes} == {10}
    with pytest.raises(ValueError, match="drop_classes"):
        flow(Still(), drop_classes=0.0).anomaly_score({"inputs": torch.zeros(2, 1, 8, 8)})


def test_the_evaluations_are_counted():
    assert [int(error_of(name, 5, linear)[1][0]) for name in ("euler", "midpoint", "heun")] == [
        5, 10, 9,
    ]  # fmt: skip


def test_ddim_finds_data_of_one_point_in_one_step_and_is_euler_on_the_linear_path():
    point, noise = torch.full((4, 2), 0.7), torch.randn(4, 2)

    def velocity(points, times, rows):
        a, s, a_change, s_change = cosine(times.view(-1, 1))
        return a_change * point + s_change * (points - a * point) / s

    found = follow(velocity, noise, sampler="ddim", steps=1, path=cosine).points
    torch.testing.assert_close(found, point)
    ways = [
        follow(gaussian_velocity(linear), noise, sampler=name, steps=7, path=linear).points
        for name in ("ddim", "euler")
    ]
    torch.testing.assert_close(*ways)


def test_ancestral_steps_draw_from_the_distribution_that_ddpm_has_of_the_step_before():
    """q(x_then | x_now, data), a Gaussian by Bayes' rule: Ho et al. 2020, equation 6."""
    data, steps, num = 0.7, 4, 4000
    seen = []

    def velocity(points, times, rows):
        seen.append(points)
        a, s, a_change, s_change = cosine(times.view(-1, 1))
        return a_change * data + s_change * (points - a * data) / s

    noise = torch.randn(num, 1)
    found = follow(velocity, noise, sampler="ancestral", steps=steps, path=cosine).points
    torch.testing.assert_close(found, torch.full_like(found, data))
    for step in range(1, steps - 1):
        (a, s, *_), (b, r, *_) = (cosine(torch.tensor(n / steps)) for n in (step, step + 1))
        # alpha of Ho et al. is the squared ratio of the data's weights, beta 1 minus that.
        alpha = (a / b) ** 2
        variance = r**2 / s**2 * (1 - alpha)
        now, then = seen[step], seen[step + 1]
        mean = b * (1 - alpha) / s**2 * data + alpha.sqrt() * r**2 / s**2 * now
        scaled = (then - mean) / variance.sqrt()
        assert abs(float(scaled.mean())) < 4 / num**0.5
        assert float(scaled.var()) == pytest.approx(1, abs=4 * (2 / num) ** 0.5)
        assert abs(float((scaled * now).mean())) < 4 / num**0.5


def test_guidance_leads_from_no_class_to_the_class_and_beyond_and_1_is_the_class_alone():
    classes, points = torch.tensor([0, 4]), torch.zeros(2, 1, 8, 8)
    for guidance, expected in ((1, [1.0, 5.0]), (0, [11.0, 11.0]), (2, [-9.0, -1.0])):
        how = Sampling("euler", 1, guidance)
        found, cost = how.follow(Noting(), points, classes, linear)
        assert found.mean(dim=(1, 2, 3)).tolist() == expected
        assert cost.tolist() == [1 if guidance == 1 else 2] * 2


@pytest.mark.parametrize("sampler", ["heun", "adaptive", "ancestral"])
def test_a_seed_gives_the_same_images_however_many_are_made_at_once(monkeypatch, sampler):
    path = "cosine" if sampler == "ancestral" else "linear"
    task = flow(sampler=sampler, steps=3, path=path)
    with torch.no_grad():
        whole = task.generate(7, seed=3, guidance=2.0)
        monkeypatch.setattr(draw, "BATCH", 2)
        again, fewer = (task.generate(n, seed=3, guidance=2.0) for n in (7, 3))
        other = task.generate(3, seed=4, guidance=2.0)
    torch.testing.assert_close(again.images, whole.images)
    torch.testing.assert_close(fewer.images, whole.images[:3])
    assert not torch.allclose(other.images, fewer.images)
    assert whole.classes.tolist() == list(range(7))
    assert whole.note.startswith("10 evaluations" if sampler == "heun" else "")


def test_an_edited_image_is_itself_and_noise_by_strength_and_of_no_class_unless_asked(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    task = flow(Noting(), steps=1, sampler="euler", guidance=1.0)
    task.generate(2, seed=0, edit=tmp_path / "photo.png", strength=0.25)
    task.generate(2, seed=0, edit=tmp_path / "photo.png", strength=0.25, classes=[3])
    (points, times, nobody), (_, _, asked) = task.model.seen
    data = torch.from_numpy(pixels) / 127.5 - 1
    noise = (points[:, 0] - 0.75 * data) / 0.25
    torch.testing.assert_close(noise, task.noise(2, draw.generator_for(0, "sample"))[:, 0])
    assert times.tolist() == [0.75, 0.75]
    assert nobody is None
    assert asked.tolist() == [3, 3]


SAMPLERS = [("linear", "heun"), ("linear", "adaptive"), ("cosine", "ddim"), ("cosine", "ancestral")]


@pytest.mark.parametrize(("path", "sampler"), SAMPLERS)
def test_an_image_is_made_anew_where_the_mask_is_white_and_else_on_its_way(tmp_path, path, sampler):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    hole = np.zeros((8, 8), dtype=np.uint8)
    hole[2:5, 3:8] = 255
    Image.fromarray(hole).save(tmp_path / "hole.png")
    data, is_new = torch.from_numpy(pixels) / 127.5 - 1, torch.from_numpy(hole > 0)
    model, seen = flow(path=path).model, []
    task = flow(model, path=path, sampler=sampler, steps=4)
    model.register_forward_pre_hook(lambda _, given: seen.append(given))
    with torch.no_grad():
        made = task.generate(3, seed=0, edit=tmp_path / "photo.png", mask=tmp_path / "hole.png")
    known = (made.images[:, 0] * 255).round().byte()[:, ~is_new]
    assert torch.equal(known, torch.from_numpy(pixels)[~is_new].expand(3, -1))
    assert len(set(made.images[:, 0, 3, 4].tolist())) == 3
    noise = task.noise(3, draw.generator_for(0, "sample"))
    for points, times, _ in seen:
        if len(points) < 3:  # some have arrived
            continue
        a, s, *_ = (weight.view(-1, 1, 1) for weight in PATHS[path](times))
        expected = a * data + s * noise[:, 0]
        torch.testing.assert_close(points[:, 0, ~is_new], expected[:, ~is_new])
    assert torch.equal(seen[0][0], noise)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps=0 is below 1"),
        ({"sampler": "hoin"}, "sampler=hoin is not one of euler"),
        ({"sampler": "ancestral"}, "sampler=ancestral is of diffusion models"),
        ({"guidance": math.nan}, "guidance=nan is not a number"),
        ({"drop_classes": 1.0}, "drop_classes=1.0 is not a share"),
        ({"drop_classes": 0.0, "guidance": 2.0}, "train it with task.drop_classes=0.1"),
        ({"info": PLAIN, "guidance": 2.0}, "guidance=2: this flow was not told of classes"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        flow(**options)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"steps": 4, "sampler": "adaptive"}, "steps=4 has no effect with sampler=adaptive"),
        ({"strength": 0.3}, "strength=0.3 is of edit=photo.png"),
        ({"edit": "nowhere.png"}, "edit=nowhere.png: "),
        ({"edit": "photo.png", "strength": 0.0}, "strength=0 is not a share"),
        ({"mask": "photo.png"}, "mask=photo.png is of edit=photo.png; give both"),
        ({"edit": "photo.png", "mask": "photo.png"}, "mask=photo.png is black"),
        ({"edit": "photo.png", "mask": "wide.png"}, "mask=wide.png has 9x8 pixels, and edit=pho"),
    ],
)
def test_what_cannot_be_asked_of_a_flow_is_refused(asked, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8)).save("photo.png")
    Image.new("L", (9, 8), 255).save("wide.png")
    with pytest.raises(ValueError, match=message):
        flow().generate(1, seed=0, **asked)


def test_a_unet_takes_images_of_any_size_and_tells_classes_and_times_apart():
    for shape in ((1, 8, 8), (3, 17, 50), (1, 9, 7), (2, 2, 3)):
        info = DataInfo.of_one_input("any", shape, "classes", ("a", "b"), (0.5,), (0.3,))
        model = flow(info=info).model
        points = torch.randn(1, *shape)
        asked = ((0.1, None), (0.9, None), (0.1, torch.tensor([0])), (0.1, torch.tensor([1])))
        with torch.no_grad():
            said = [model(points, torch.tensor([time]), classes) for time, classes in asked]
        assert said[0].shape == points.shape
        assert len({float(velocity.sum()) for velocity in said}) == 4
    with pytest.raises(ValueError, match="at least 2x2"):
        UNet(input_shape=(1, 1, 9), num_classes=0)


def test_a_unet_computes_the_same_with_blocks_that_are_computed_again():
    models = [
        UNet(input_shape=(1, 8, 8), num_classes=0, width=8, checkpoint_blocks=again)
        for again in (False, True)
    ]
    models[1].load_state_dict(models[0].state_dict())
    points, times = torch.randn(2, 1, 8, 8), torch.rand(2)
    grads = [
        torch.autograd.grad(m(points, times).square().sum(), list(m.parameters())) for m in models
    ]
    for plain, again in zip(*grads, strict=True):
        torch.testing.assert_close(plain, again)


def test_rows_are_made_in_the_units_of_the_table_with_their_class_and_without_what_is_missing():
    column = Numbers((10.0, -2.0), (4.0, 0.5), ("a", "b"), fill=(0.0, 0.0), flagged=(1,))
    info = DataInfo("t", {"inputs": column, "targets": Classes(("x", "y"))}, targets=("targets",))
    task = flow(Noting(2, (3,)), info, steps=1, sampler="euler", guidance=1.0)
    made = task.generate(2, seed=0)
    noise = task.noise(2, draw.generator_for(0, "sample"))
    assert made.header == ("a", "b", "class")
    for row, drawn, name in zip(made.rows, noise, ("x", "y"), strict=True):
        moved = drawn + (1.0 if name == "x" else 2.0)
        assert float(row[0]) == pytest.approx(float(10 + 4 * moved[0]), rel=1e-5)
        assert row[1] == "" if moved[2] > 0.5 else float(row[1])
        assert row[2] == name
    with pytest.raises(ValueError, match="makes rows, not images"):
        task.interpolate(1, frames=3, seed=0)


def test_a_dense_velocity_learns_a_flow_between_two_gaussians():
    info = DataInfo.of_one_input("line", (1,), "none", (), (0.0,), (1.0,))
    torch.manual_seed(0)
    task = flow(DenseVelocity(input_shape=(1,), num_classes=0, widths=(32, 32)), info)
    optimizer = torch.optim.Adam(task.parameters(), 1e-2)
    for _ in range(200):
        loss, _ = task("model", {"inputs": MEAN + STD * torch.randn(256, 1)}, {})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        noise = torch.linspace(-1.5, 1.5, 7).view(-1, 1)
        found, _ = Sampling("heun", 20).follow(task.model, noise, None, linear)
    assert (found - (MEAN + STD * noise)).abs().max() < 0.1


GOOD = {"diversity": 1.0, "contrast": 1.0, "copying": 0.5, "copying_error": 0.02,
        **{f"class_share/{c}": 1.0 for c in "abcd"}}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "healthy"),
        ({"copying": 0.9}, "memorising"),
        ({"copying": 0.79}, "healthy"),
        ({"contrast": 0.3}, "grey images"),
        ({"diversity": 0.2}, "collapsing"),
        ({"class_share/a": 0.0}, "collapsing"),
        ({"grad_norm": math.inf}, "diverged"),
        ({"objective": 50.0}, "diverged"),
    ],
)
def test_what_ails_a_generator_is_said(changes, words):
    before = [{**GOOD, "objective": 5.0 - n, "grad_norm": 1.0} for n in range(3)]
    ill = {**before[-1], "objective": 1.9, **changes}
    assert str(diagnose([*before, ill, ill])) == words


def test_samples_that_have_only_begun_to_vary_are_no_illness():
    grey = {**GOOD, "objective": 5.0, "contrast": 0.1}
    assert str(diagnose([])) == str(diagnose([grey])) == "too early to tell"
    assert str(diagnose([grey, {**grey, "contrast": 0.2}])) == "too early to tell"
