"""The estimators: scikit-learn's contract, weights that mean what they say, and sequences of every form."""

import gzip
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import log_loss, r2_score
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import heldout as ho
from heldout import LSTMClassifier, LSTMRegressor
from heldout.check import InputError
from heldout.data.samples import split_samples
from heldout.recipe import Recipe
from heldout.training.temperature import fit_temperature

SMALL = {"hidden_size": 8, "lr": 0.03, "max_epochs": 40, "batch_size": 50, "shortcut": "none"}
QUICK = {"hidden_size": 4, "max_epochs": 2, "random_state": 0}


def sequences(n=240, steps=10, columns=2, seed=0):
    """Sequences, the sum of a column, and whether it is above zero."""
    X = np.random.default_rng(seed).normal(size=(n, steps, columns)) * [3.0, 100.0] + [50.0, -7.0]
    total = (X[:, :, 0] - 50).sum(axis=1)
    return X, total, np.where(total > 0, "up", "down")


@pytest.mark.slow
@parametrize_with_checks([LSTMRegressor(), LSTMClassifier()])
def test_scikit_learns_own_checks_pass(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind", [LSTMRegressor, LSTMClassifier])
def test_every_hyper_parameter_is_the_recipes_unless_it_is_for_series(kind):
    ours = kind().get_params()
    own = {"validation_fraction", "shuffle", "n_seeds", "random_state", "class_weight"}
    declared = {item.name: item for item in Recipe.describe()}
    assert ours.keys() - own <= declared.keys()
    missing = {"lookback", "transform", "fill_limit", "scale_by", "window_norm", "shared_columns", "shrink"}
    loss = {"label_smoothing"} if kind is LSTMRegressor else {"loss", "huber_delta", "quantiles"}
    assert declared.keys() - ours.keys() == missing | loss
    for name in ours:
        assert f"\n{name} : " in kind.__doc__


@pytest.mark.parametrize("kind", [LSTMRegressor, LSTMClassifier])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("units", "here it is hidden_size"),
        ("epochs", "here it is max_epochs"),
        ("dropout", "here it is input_dropout, recurrent_dropout"),
        ("seed", "here it is random_state"),
        ("hiden_size", "did you mean 'hidden_size'"),
        ("lookback", "'lookback' is no hyper-parameter of"),
    ],
)
def test_another_librarys_name_raises_an_error_that_gives_ours(kind, name, said):
    with pytest.raises(InputError, match=said):
        kind(**{name: 3})
    with pytest.raises(InputError, match=said):
        kind().set_params(**{name: 3})


def test_it_learns_a_sum_and_undoes_the_scale_of_the_targets():
    X, total, _ = sequences()
    model = LSTMRegressor(**SMALL, random_state=0).fit(X[:200], 1e4 + 1e3 * total[:200])
    assert model.score(X[200:], 1e4 + 1e3 * total[200:]) > 0.8
    assert model.n_features_in_ == 2
    assert model.history_.epochs[model.best_epoch_]["valid_loss"] < 0.3
    assert model.n_iter_ >= model.best_epoch_ > 0
    assert model.n_parameters_ == sum(p.numel() for p in model.model_.networks[0].parameters())


def test_what_was_learned_of_the_inputs_can_be_looked_at():
    X, total, label = sequences()
    model = LSTMRegressor(**QUICK, validation_fraction=0).fit(X, total)
    inputs, targets = model.prepare_
    np.testing.assert_allclose(inputs.center, X.mean(axis=(0, 1)), rtol=1e-9)
    np.testing.assert_allclose(inputs.width, X.std(axis=(0, 1)), rtol=1e-9)
    np.testing.assert_allclose([targets.center[0], targets.width[0]], [total.mean(), total.std()], rtol=1e-9)
    assert "center" in repr(model.prepare_)
    assert LSTMClassifier(**QUICK).fit(X, label).prepare_.targets is None


def test_by_default_the_network_learns_what_ridge_leaves_and_nothing_where_ridge_leaves_nothing():
    X, total, _ = sequences()
    options = {**SMALL, "shortcut": "auto", "random_state": 0}
    linear = LSTMRegressor(**options).fit(X[:200], total[:200])
    assert linear.best_epoch_ == 0
    assert linear.score(X[200:], total[200:]) > 0.999
    bent = np.abs(X[:, -1, 0] - 50) + total
    both = LSTMRegressor(**options).fit(X[:200], bent[:200])
    ridge = both.prepare_.targets.undo(both.model_.linear.predict(both.prepare_.inputs.apply(X)))[:, 0]
    assert both.best_epoch_ > 0
    assert both.score(X[200:], bent[200:]) > r2_score(bent[200:], ridge[200:]) + 0.02


def test_the_default_shortcut_is_ridge_only_where_it_can_be():
    X, total, _ = sequences(n=30)
    long = np.random.default_rng(0).normal(size=(30, 2049))
    fits = [LSTMRegressor(**QUICK).fit(x, total) for x in (X, list(X), long)]
    assert [model.model_.recipe.shortcut for model in fits] == ["ridge", "none", "none"]
    assert [model.model_.linear is None for model in fits] == [False, True, True]
    with pytest.raises(InputError, match="shortcut='ridge' is for numbers"):
        LSTMClassifier(**QUICK, shortcut="ridge").fit(X, total > 0)


def test_several_outputs_are_predicted_each_in_its_own_units():
    X, total, _ = sequences()
    Y = np.column_stack([total, 1e5 - 1e3 * total, X[:, -1, 1]])
    model = LSTMRegressor(**SMALL, patience=30, random_state=0).fit(X[:200], Y[:200])
    assert model.predict(X[200:]).shape == (40, 3)
    assert (np.corrcoef(model.predict(X[200:]).T, Y[200:].T).diagonal(3) > 0.8).all()


def test_a_table_is_one_feature_with_a_step_per_column():
    X, total, _ = sequences()
    flat, three = (LSTMRegressor(**QUICK).fit(x, total) for x in (X[:, :, 0], X[:, :, :1]))
    np.testing.assert_array_equal(flat.predict(X[:, :, 0]), three.predict(X[:, :, :1]))
    assert (flat.n_features_in_, three.n_features_in_) == (10, 1)


@pytest.mark.parametrize("kind", [list, tuple, "objects"])
def test_sequences_of_unequal_length_come_as_a_list_and_what_pads_them_is_not_seen(kind):
    X, _, label = sequences(columns=2)
    lengths = np.random.default_rng(1).integers(3, 11, len(X))
    ragged = [x[:length] for x, length in zip(X, lengths, strict=True)]
    if kind == "objects":
        given = np.empty(len(ragged), object)
        given[:] = ragged
    else:
        given = kind(ragged)
    model = LSTMClassifier(**QUICK).fit(given, label)
    together = model.predict_proba(given)
    alone = np.vstack([model.predict_proba([x]) for x in ragged[:20]])
    np.testing.assert_allclose(together[:20], alone, rtol=1e-9)
    longer = [np.vstack([ragged[0], np.full((30, 2), 5.0)]), ragged[1]]
    np.testing.assert_allclose(model.predict_proba(longer)[1], together[1], rtol=1e-9)


@pytest.mark.parametrize(
    ("X", "said"),
    [
        ([np.ones((3, 2)), np.ones((3, 1))], r"shape \(steps, 2\) .* sample 1 of shape \(3, 1\)"),
        ([np.ones((3, 2)), np.ones((0, 2))], "one step at least"),
        ([np.ones((3, 2)), np.full((3, 2), np.nan)], "must be finite"),
        ([np.ones((3, 2))], "got 1 sample"),
        (np.full((4, 3, 2), np.nan), "contains NaN"),
    ],
)
def test_sequences_that_break_a_rule_are_named(X, said):
    with pytest.raises(ValueError, match=said):
        LSTMRegressor(**QUICK).fit(X, np.arange(len(X)))


def test_samples_of_another_shape_than_the_fits_are_refused():
    X, total, _ = sequences()
    model = LSTMRegressor(**QUICK).fit(X, total)
    for wrong in (X[:, :5], X[:, :, :1], [x[:4] for x in X]):
        with pytest.raises(InputError, match="must have the shape of the fit, 10 steps of 2 features"):
            model.predict(wrong)
    assert model.predict(list(X)).shape == total.shape


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hidden_size": 0}, "hidden_size must be in"),
        ({"validation_fraction": 1.0}, "validation_fraction must be in"),
        ({"n_seeds": 0}, "n_seeds must be in"),
        ({"loss": "cross_entropy"}, "use LSTMClassifier"),
        ({"segment": 11}, "a segment of 11 rows is longer"),
    ],
)
def test_a_bad_value_is_named_at_fit(options, said):
    X, total, _ = sequences()
    with pytest.raises(InputError, match=said):
        LSTMRegressor(**options).fit(X, total)


def test_shortcut_and_segment_need_one_length():
    X, total, _ = sequences()
    for options in ({"shortcut": "linear"}, {"segment": 2}):
        with pytest.raises(InputError, match="needs samples of one length"):
            LSTMRegressor(**options).fit(list(X), total)


@pytest.mark.parametrize("options", [{}, {"n_seeds": 2}, {"recurrent_dropout": 0.3, "batch_size": 16}])
def test_a_weight_of_two_is_the_sample_twice_and_zero_is_without_it(options):
    X, total, label = sequences(n=60)
    weight = np.random.default_rng(0).integers(0, 3, 60)
    twice = np.repeat(np.arange(60), weight)
    for kind, y in ((LSTMRegressor, total), (LSTMClassifier, label)):
        model = kind(**QUICK, **options)
        weighted = clone(model).fit(X, y, sample_weight=weight)
        repeated = clone(model).fit(X[twice], y[twice])
        said = "predict" if kind is LSTMRegressor else "predict_proba"
        np.testing.assert_array_equal(getattr(weighted, said)(X), getattr(repeated, said)(X))


def test_a_heavier_class_is_said_more_often():
    X, _, label = sequences(n=120)
    noisy = np.where(np.random.default_rng(0).random(len(X)) < 0.3, "up", label)
    shares = [
        (LSTMClassifier(**SMALL, class_weight=weight, random_state=0).fit(X, noisy).predict(X) == "up").mean()
        for weight in ({"up": 0.2, "down": 1.0}, None, {"up": 5.0, "down": 1.0})
    ]
    assert shares[0] < shares[1] < shares[2]


def test_balanced_weights_are_those_of_the_shares():
    X, _, label = sequences(n=80)
    rare = np.concatenate([np.flatnonzero(label == "up")[:6], np.flatnonzero(label == "down")[:30]])
    by_hand = {"up": 36 / 12, "down": 36 / 60}
    a, b = (
        LSTMClassifier(**QUICK, class_weight=weight).fit(X[rare], label[rare]).predict_proba(X)
        for weight in ("balanced", by_hand)
    )
    np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("weight", [np.zeros(60), -np.ones(60), np.full(60, np.inf), np.ones(59)])
def test_weights_that_are_none_are_refused(weight):
    X, total, _ = sequences(n=60)
    with pytest.raises(
        InputError, match="sample_weight must be 60 finite numbers of 0 or more, not all zero"
    ):
        LSTMRegressor(**QUICK).fit(X, total, sample_weight=weight)


def test_quantiles_do_not_cross_and_predict_is_their_median():
    X, total, _ = sequences()
    options = {**SMALL, "max_epochs": 15, "loss": "quantile", "quantiles": (0.1, 0.5, 0.9), "random_state": 0}
    model = LSTMRegressor(**options).fit(X, total)
    levels = model.predict_quantiles(X)
    assert levels.shape == (240, 3)
    assert (np.diff(levels) >= 0).all()
    np.testing.assert_array_equal(model.predict(X), levels[:, 1])
    assert 0.5 < np.mean((levels[:, 0] <= total) & (total <= levels[:, 2])) <= 1
    with pytest.raises(InputError, match="quantiles are predicted with loss='quantile'"):
        LSTMRegressor(**QUICK).fit(X, total).predict_quantiles(X)


def test_temperature_finds_what_logits_were_multiplied_by_and_helps_on_other_samples():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3000, 3))
    codes = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    for factor in (0.3, 1.0, 6.0):
        assert fit_temperature(factor * logits, codes, np.ones(3000)) == pytest.approx(factor, rel=0.1)
    # A few samples that are all right prove no certainty.
    assert fit_temperature(np.eye(3), np.arange(3), np.ones(3)) > 0.8
    assert fit_temperature(np.eye(3), np.arange(3), np.full(3, 7.0)) == fit_temperature(
        np.eye(3), np.arange(3), np.ones(3)
    )


def test_temperature_changes_probabilities_and_never_the_class():
    X, _, label = sequences()
    model = LSTMClassifier(**SMALL, random_state=0).fit(X[:150], label[:150])
    said = model.predict(X)
    before = log_loss(label[150:], model.predict_proba(X[150:]))
    model.temperature_ *= 100
    np.testing.assert_array_equal(model.predict(X), said)
    assert before < log_loss(label[150:], model.predict_proba(X[150:]))
    assert LSTMClassifier(**QUICK, validation_fraction=0).fit(X, label).temperature_ == 1


def test_label_smoothing_makes_a_classifier_less_certain():
    X, _, label = sequences()
    options = {**SMALL, "max_epochs": 20, "validation_fraction": 0, "regularization": 0.0, "random_state": 0}
    sure, smooth = (
        LSTMClassifier(**options, label_smoothing=share).fit(X, label).predict_proba(X).max(axis=1).mean()
        for share in (0.0, 0.4)
    )
    assert smooth < sure - 0.05


def test_several_seeds_are_averaged_and_one_is_the_first_of_them():
    X, total, _ = sequences()
    one, three = (LSTMRegressor(**QUICK, n_seeds=n).fit(X, total) for n in (1, 3))
    assert len(three.histories_) == len(three.model_.networks) == 3
    assert one.history_ == three.history_
    samples = three._read(X, reset=False)
    each = [replace(three.model_, networks=(network,)) for network in three.model_.networks]
    mean = np.mean([model.outputs(samples)[:, 0, 0] for model in each], axis=0)
    np.testing.assert_allclose(three.predict(X), mean, rtol=1e-9)
    assert three.n_parameters_ == one.n_parameters_


@pytest.mark.parametrize("kind", [LSTMRegressor, LSTMClassifier])
def test_the_same_state_gives_the_same_fit_another_another_and_nothing_global_changes(kind):
    X, total, label = sequences(n=80)
    y = total if kind is LSTMRegressor else label
    said = "predict" if kind is LSTMRegressor else "predict_proba"
    torch.manual_seed(3)
    before = torch.get_rng_state()
    options = {**QUICK, "lr": 0.03}
    a, b, c, d, e = (
        getattr(kind(**{**options, "random_state": state}).fit(X, y), said)(X)
        for state in (1, 1, 2, None, None)
    )
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    assert not np.array_equal(d, e)
    assert torch.equal(torch.get_rng_state(), before)
    order = np.random.default_rng(0).permutation(len(X))
    shuffled = kind(**{**options, "random_state": 1}).fit(X[order], y[order])
    np.testing.assert_array_equal(getattr(shuffled, said)(X), a)


def test_unshuffled_rows_that_stop_are_the_last_and_nothing_is_learned_of_their_scale():
    X, total, _ = sequences(n=100)
    wild = X.copy()
    wild[80:] *= 1e6
    options = {**QUICK, "shuffle": False, "validation_fraction": 0.2, "restore_best": False, "outliers": 0.0}
    a, b = (LSTMRegressor(**options).fit(x, total) for x in (X, wild))
    np.testing.assert_array_equal(a.predict(X[:80]), b.predict(X[:80]))


def test_drawn_rows_keep_the_shares_of_the_classes_and_each_class_a_row_to_train_on():
    groups = np.repeat([0, 1, 2], [100, 20, 1])
    train, valid = split_samples(groups, 0.2, np.random.default_rng(0), shuffle=True)
    assert np.bincount(groups[valid]).tolist() == [20, 4]
    assert sorted([*train, *valid]) == list(range(121))
    assert [
        len(part) for part in split_samples(groups[:3], 0.01, np.random.default_rng(0), shuffle=True)
    ] == [2, 1]
    assert [
        len(part) for part in split_samples(np.arange(4), 0.3, np.random.default_rng(0), shuffle=True)
    ] == [4, 0]
    assert [len(part) for part in split_samples(groups, 0.0, np.random.default_rng(0), shuffle=False)] == [
        121,
        0,
    ]


def test_without_validation_samples_it_trains_on_all_of_them_to_the_last_epoch():
    X, total, _ = sequences(n=60)
    model = LSTMRegressor(**{**QUICK, "max_epochs": 7}, patience=1, lr=0.5, validation_fraction=0).fit(
        X, total
    )
    assert model.n_iter_ == model.best_epoch_ == 7


class Purged:
    """Folds in order of time as skfolio's splitters give them, ``gap`` samples dropped before each test block."""

    def __init__(self, gap):
        self.gap = gap

    def get_n_splits(self, X=None, y=None, groups=None):
        return 2

    def split(self, X, y=None, groups=None):
        third = len(X) // 3
        for start in (third, 2 * third):
            yield np.arange(start - self.gap), np.arange(start, start + third)


@pytest.mark.parametrize("cv", [TimeSeriesSplit(3, gap=2), Purged(4)])
def test_splitters_in_order_of_time_take_them(cv):
    X, total, label = sequences(n=60)
    for kind, y in ((LSTMRegressor, total), (LSTMClassifier, label)):
        scores = cross_val_score(kind(**QUICK, shuffle=False), X, y, cv=cv, error_score="raise")
        assert len(scores) == cv.get_n_splits()
        assert np.isfinite(scores).all()
        search = GridSearchCV(kind(**QUICK, shuffle=False), {"hidden_size": [2]}, cv=cv, error_score="raise")
        assert search.fit(X, y).best_params_ == {"hidden_size": 2}


def test_pipeline_and_search_take_them():
    X, total, label = sequences(n=90, columns=2)
    table = X[:, :, 0]
    piped = make_pipeline(StandardScaler(), LSTMRegressor(**QUICK)).fit(table, total)
    assert piped.predict(table).shape == (90,)
    piped.set_params(lstmregressor__hidden_size=3)
    assert clone(piped).fit(table, total).predict(table).shape == (90,)
    search = GridSearchCV(LSTMClassifier(**QUICK), {"hidden_size": np.array([2, 3]), "lr": [0.01]}, cv=2)
    assert search.fit(X, label).best_params_["hidden_size"] in (2, 3)
    ragged = [x[: 3 + n % 7] for n, x in enumerate(X)]
    assert len(cross_val_score(LSTMClassifier(**QUICK), ragged, label, cv=2, error_score="raise")) == 2


@pytest.mark.parametrize(
    ("name", "ours"), [("units", "hidden_size"), ("epochs", "max_epochs"), ("dropout", "output_dropout")]
)
def test_a_keras_name_in_a_grid_or_a_pipeline_raises_an_error_that_gives_ours(name, ours):
    X, total, _ = sequences(n=30)
    with pytest.raises(InputError, match=f"here it is .*{ours}"):
        GridSearchCV(LSTMRegressor(**QUICK), {name: [2, 3]}, cv=2).fit(X, total)
    with pytest.raises(InputError, match=f"here it is .*{ours}"):
        make_pipeline(StandardScaler(), LSTMRegressor()).set_params(**{f"lstmregressor__{name}": 2})


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output_reaches_the_steps_before_and_names_are_remembered(library):
    X, total, _ = sequences(n=40)
    names = [f"step {number}" for number in range(X.shape[1])]
    table = pd.DataFrame(X[:, :, 0], columns=names)
    piped = make_pipeline(StandardScaler(), LSTMRegressor(**QUICK)).set_output(transform=library)
    assert piped.fit(table, total).predict(table).shape == (40,)
    assert list(piped[-1].feature_names_in_) == names
    with pytest.raises(ValueError, match="feature names should match"):
        piped[-1].predict(table[names[::-1]])


@pytest.mark.parametrize("kind", [LSTMRegressor, LSTMClassifier])
def test_a_copy_has_its_parameters_and_a_pickle_its_predictions(kind):
    X, total, label = sequences(n=60)
    model = kind(**QUICK, dense=(3,), pooling="attention").fit(X, total if kind is LSTMRegressor else label)
    assert clone(model).get_params() == model.get_params()
    again = pickle.loads(pickle.dumps(model))  # noqa: S301 - our own bytes
    np.testing.assert_array_equal(model.predict(X), again.predict(X))


def read_ts(path):
    """Sequences (T_i, F) and labels of a file in the UCR/UEA archive's format."""
    with gzip.open(path, "rt") as file:
        lines = file.read().partition("@data")[2].split("\n")[1:]
    rows = [line.strip().split(":") for line in lines if line.strip()]
    X = [np.array([[float(value) for value in column.split(",")] for column in row[:-1]]).T for row in rows]
    return X, np.array([row[-1] for row in rows])


@pytest.mark.parametrize(("name", "least"), [("ItalyPowerDemand", 0.9), ("JapaneseVowels", 0.9)])
def test_it_tells_the_classes_of_real_sequences(shared, name, least):
    folder = shared / "ts_classification"
    if not (folder / f"{name}_TRAIN.ts.gz").exists():
        pytest.skip(f"{name} is not among the data sets")
    (X, y), (X_test, y_test) = (read_ts(folder / f"{name}_{part}.ts.gz") for part in ("TRAIN", "TEST"))
    model = LSTMClassifier(random_state=0, lr=0.02, batch_size=32, max_epochs=30).fit(X, y)
    assert model.score(X_test, y_test) > least


def test_they_are_public():
    assert ho.LSTMRegressor is LSTMRegressor
