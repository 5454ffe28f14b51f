"""The linear part: scikit-learn's ridge, and residuals of samples that truly were left out."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from heldout.training.linear import PENALTIES, fit_linear


@pytest.mark.parametrize(("n", "steps", "columns"), [(40, 4, 2), (15, 10, 3)])
def test_it_is_weighted_ridge_with_the_penalty_that_leaves_out_best_however_wide(n, steps, columns):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, steps, columns)) + 3
    y = x[:, -1] @ rng.normal(size=(columns, 2)) + rng.normal(size=(n, 2))
    weight = rng.uniform(0.5, 2, n)
    part, left = fit_linear(x, y, weight)
    flat, losses = x.reshape(n, -1), []
    for penalty in PENALTIES:
        out = np.empty_like(y)
        for sample in range(n):
            others = np.arange(n) != sample
            alone = Ridge(alpha=penalty * weight.sum(), solver="svd")
            alone.fit(flat[others], y[others], sample_weight=weight[others])
            out[sample] = y[sample] - alone.predict(flat[[sample]])[0]
        losses.append(weight @ (out**2).sum(axis=1))
        if penalty == part.penalty:
            np.testing.assert_allclose(left, out, rtol=1e-4, atol=1e-6)
    assert part.penalty == PENALTIES[int(np.argmin(losses))]
    whole = Ridge(alpha=part.penalty * weight.sum(), solver="svd").fit(flat, y, sample_weight=weight)
    np.testing.assert_allclose(part.predict(x), whole.predict(flat), rtol=1e-6)


def test_more_numbers_than_samples_leave_what_a_sample_left_out_would_not_zero():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(20, 30, 2)), rng.normal(size=(20, 1))
    part, left = fit_linear(x, y, np.ones(20))
    assert left.std() > 0.8 * y.std()
    assert (y - part.predict(x)).std() <= left.std()


def test_constant_inputs_and_a_single_sample_say_the_mean():
    part, left = fit_linear(np.zeros((4, 3, 1)), np.array([[1.0], [2.0], [3.0], [6.0]]), np.ones(4))
    np.testing.assert_allclose(part.predict(np.zeros((2, 3, 1))), 3.0)
    np.testing.assert_allclose(left[0, 0], 1 - np.mean([2, 3, 6]))
    part, left = fit_linear(np.ones((1, 3, 1)), np.array([[5.0]]), np.ones(1))
    assert (part.predict(np.ones((1, 3, 1)))[0, 0], left[0, 0]) == (5.0, 0.0)
