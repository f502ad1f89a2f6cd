"""A network and data that a program has made, in the place of names."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits
from torch import nn

import trainwright as tw

FEW = ("trainer.threads=1", "trainer.plots=false", "optimizer.lr=1e-2")


def network():
    return nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


@pytest.fixture(scope="module")
def fitted(program, digits):
    module = network()
    return module, tw.fit(*FEW, model=module, data=digits, epochs=2)


def test_the_module_itself_is_trained_and_ends_with_the_best_weights(fitted, digits):
    module, run = fitted
    assert run.metrics["test/accuracy"] > 0.7
    batch = run.preprocess(digits[0][:20])["inputs"]
    with torch.no_grad():
        assert torch.equal(module(batch), run.model(batch))
    assert run.model is not module
    assert run.name.endswith("Sequential-given")


def test_it_is_measured_goes_on_and_is_forked_like_any_other(fitted, digits):
    _, run = fitted
    before = run.predict(digits[0][:9]).probabilities
    assert run.evaluate(resamples=0).metrics["accuracy"] == run.metrics["test/accuracy"]
    fork = run.fork("trainer.epochs=1")
    assert fork.summary["lineage"]["step"] == run.summary["best"]["step"]
    assert np.array_equal(run.predict(digits[0][:9]).probabilities, before)
    longer = run.resume("trainer.epochs=3", "trainer.schedule_until=100%")
    assert (longer.path, longer.history["step"][-1]) == (run.path, 68)


def test_another_program_gives_its_objects_again(fitted, digits):
    _, run = fitted
    alone = tw.load(run.path)
    with pytest.raises(tw.ConfigError, match=r"a program gave this run its network"):
        alone.predict(digits[0][:3])
    again = tw.load(run.path, model=network())
    assert np.array_equal(again.predict(digits[0][:3]).labels, run.predict(digits[0][:3]).labels)
    with pytest.raises(tw.ConfigError, match=r"a program gave this run its data"):
        again.evaluate()
    with_data = tw.load(run.path, model=network(), data=digits)
    assert with_data.evaluate(resamples=0).metrics["accuracy"] == run.metrics["test/accuracy"]


def test_a_network_of_another_shape_is_refused(program, digits):
    with pytest.raises(tw.ConfigError, match=r"it must be a tensor of shape \(2, 10\)"):
        tw.fit(*FEW, model=nn.Sequential(nn.Linear(64, 3)), data=digits, epochs=1)
    with pytest.raises(tw.ConfigError, match=r"model: the class Linear; right would be a torch"):
        tw.fit(*FEW, model=nn.Linear, data=digits)
    with pytest.raises(tw.ConfigError, match=r"right would be inputs and targets"):
        tw.fit(*FEW, model=network(), data=digits[0])


def test_a_pandas_table_has_named_features_and_values_to_predict(program):
    pandas = pytest.importorskip("pandas")
    table = load_diabetes(as_frame=True)
    run = tw.fit(*FEW, model="mlp", data=(table.data, table.target), epochs=2)
    assert run.config["task"]["_target_"].endswith("Regression")
    values = run.predict(table.data[:4]).values
    assert values.shape == (4,)
    turned = table.data[:4][list(reversed(table.data.columns))]
    assert run.predict(turned).values == pytest.approx(values)
    table.data[:4].to_csv("rows.csv", index=False)
    assert run.predict("rows.csv").values == pytest.approx(values, rel=1e-5)
    assert run.predict(table.data[:4].to_dict("records")).values == pytest.approx(values)
    assert run.predict(table.data[:4].to_numpy()).values == pytest.approx(values)
    assert run.predict(table.data[:4].to_dict("list")).values == pytest.approx(values)
    with pytest.raises(tw.DataError, match=r"example 0: there is no age"):
        run.predict(table.data[:1].drop(columns="age"))
    assert isinstance(run.predict(table.data[:2]).to_pandas(), pandas.DataFrame)


def test_words_are_classes(program, digits):
    x, y = digits
    words = np.where(y < 5, "low", "high")
    run = tw.fit(*FEW, model="mlp", data=(x, words), epochs=1)
    assert run.predict(x[:2]).classes == ("high", "low")
    listed = tw.fit(*FEW, model="mlp", data=(x.tolist(), list(words)), epochs=1)
    assert np.array_equal(listed.predict(x[:9]).probabilities, run.predict(x[:9]).probabilities)
