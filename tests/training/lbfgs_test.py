"""L-BFGS reaches the optimum of scikit-learn's LogisticRegression.

How near is near enough is computed, not guessed. At the end no derivative by
a parameter in its unit s_i is above the tolerance, so that the gradient has
norm g <= tolerance sqrt(sum_i s_i^-2), and s_i^-2 = |H_i| is at most that of
the Hessian with p (1 - p) at its maximum, 1/4. With m the least eigenvalue of
the Hessian at the optimum, the parameters are within g / m of the optimum and
the objective within g^2 / 2m. Both get a factor of 2, s being estimated and m
that of the optimum, not of the way there.
"""

import functools
import logging
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mlc.base import Batch
from mlc.training import curvature
from mlc.training import runs as training_runs
from mlc.training.loop import TrainOptions, fit

pytestmark = pytest.mark.usefixtures('compiled_once')


def init(key, rows):
  """Label j sees all features, or, where `links` is asked, labels before it."""
  d, labels = rows.x.shape[1], rows.y.shape[1]
  return {
    'kernel': 0.1 * jax.random.normal(key, (d, labels), rows.x.dtype),
    'bias': jnp.zeros(labels, rows.x.dtype),
    'links': jnp.zeros((labels, labels), rows.x.dtype),
  }


def logits(params, batch, chained):
  f = batch.x @ params['kernel'] + params['bias'][None, :]
  if chained:
    f = f + batch.y @ jnp.triu(params['links'], 1)
  return f


def loss(params, batch, *, key=None, chained=True):
  f = logits(params, batch, chained)
  return jnp.sum(jax.nn.softplus(f) - batch.y * f, axis=-1)


def solve(data, splits, l2s, **options):
  runs, _ = training_runs.from_splits(splits, [0.0], l2s)
  options = TrainOptions(optimizer='lbfgs', **options)
  return fit(init, loss, data, runs, options)


def sklearn_fit(x, y, l2, chained):
  """For each label: weights, bias last; objective; m; and (g / tolerance)^2."""
  out = []
  for j in range(y.shape[1]):
    before = y[:, : j if chained else 0]
    inputs = np.hstack([x, before, np.ones((len(x), 1))])
    model = LogisticRegression(
      C=1.0 / l2, tol=1e-12, max_iter=10_000, solver='newton-cholesky'
    ).fit(inputs[:, :-1], y[:, j])
    w = np.append(model.coef_[0], model.intercept_)
    f = inputs @ w
    objective = np.sum(np.logaddexp(0.0, f) - y[:, j] * f)
    objective += l2 / 2.0 * np.sum(w[:-1] ** 2)
    p = 1.0 / (1.0 + np.exp(-f))
    ridge = np.diag(np.append(np.full(len(w) - 1, l2), 0.0))
    hessian = (inputs * (p * (1.0 - p))[:, None]).T @ inputs + ridge
    least = np.linalg.eigvalsh(hessian)[0] / len(x)
    rows = np.linalg.norm((inputs.T @ inputs / 4.0 + ridge) / len(x), axis=1)
    out.append((w, objective, least, rows.sum()))
  return out


def agrees(fitted, run, x, y, l2, tolerance, chained=True):
  """Compares one run with scikit-learn, label by label and in sum."""
  params = {
    name: np.asarray(leaf[run], np.float64)
    for name, leaf in fitted.params.items()
  }
  expected = sklearn_fit(x, y, l2, chained)
  slack = 0.0
  for j, (w, _, least, rows) in enumerate(expected):
    got = np.concatenate(
      [
        params['kernel'][:, j],
        params['links'][: j if chained else 0, j],
        params['bias'][[j]],
      ]
    )
    bound = 2.0 * tolerance * np.sqrt(rows) / least
    assert np.linalg.norm(got - w) <= bound, (j, np.linalg.norm(got - w), bound)
    slack += 2.0 * tolerance**2 * rows / (2.0 * least)
  optimum = sum(objective for _, objective, _, _ in expected) / len(x)
  # What one sum of this many terms is worth in the precision of the fit.
  slack += 8.0 * np.finfo(fitted.params['kernel'].dtype).eps * optimum
  gap = fitted.last_train_loss[run] - optimum
  assert abs(gap) <= slack, (gap, slack)


@pytest.mark.slow
@pytest.mark.parametrize(
  ('dtype', 'tolerance'), [('float32', 1e-5), ('float64', 1e-9)]
)
def test_chain_reaches_the_optimum_of_sklearn(setting, dtype, tolerance):
  with jax.enable_x64(dtype == 'float64'):
    data, splits = setting.data(dtype=dtype), setting.splits(2)
    l2s = [1.0, 0.1]
    fitted = solve(data, splits, l2s, tolerance=tolerance)
    assert fitted.params['kernel'].dtype == dtype
    assert fitted.converged.all() and not fitted.diverged.any()
    for run in range(4):
      rows = splits[run // 2].train
      x, y = (np.asarray(a[rows], np.float64) for a in (data.x, data.y))
      agrees(fitted, run, x, y, l2s[run % 2], tolerance)


@pytest.mark.slow
def test_emotions_as_independent_problems(data_dir):
  from mlc.data import sources

  dataset = sources.load('emotions', data_dir=data_dir)
  train = np.flatnonzero(dataset.split == 0)
  x = np.asarray(dataset.x, np.float64)
  x = (x - x[train].mean(axis=0)) / x[train].std(axis=0)
  y = np.asarray(dataset.y, np.float64)
  data = Batch(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
  runs, _ = training_runs.from_splits(
    [
      types.SimpleNamespace(
        train=train, validation=np.zeros(0, np.int32), seed=0, fold=0
      )
    ],
    [0.0],
    [1.0],
  )
  independent = functools.partial(loss, chained=False)
  fitted = fit(init, independent, data, runs, TrainOptions(optimizer='lbfgs'))
  assert fitted.converged.all()
  agrees(
    fitted, 0, x[train], y[train], 1.0, TrainOptions().tolerance, chained=False
  )


@pytest.mark.slow
def test_features_in_wild_units(setting, caplog):
  data, splits = setting.data(), setting.splits(1)
  units = 10.0 ** jnp.arange(-3.0, 4.0)
  with caplog.at_level(logging.WARNING):
    fitted = solve(data._replace(x=data.x * units[None, :]), splits, [1.0])
  assert fitted.converged.all() and fitted.steps[0] < 200
  assert not caplog.records


@pytest.mark.slow
def test_a_run_cut_short_says_so(setting, caplog):
  with caplog.at_level(logging.WARNING):
    fitted = solve(setting.data(), setting.splits(2), [1.0], max_iterations=7)
  np.testing.assert_array_equal(fitted.steps, 7)
  assert not fitted.converged.any() and not fitted.diverged.any()
  assert '2 of 2 runs (0, 1) had a gradient above the tolerance' in caplog.text
  assert 'after 7 iterations' in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(('tolerance', 'reached'), [(0.0, False), (3e-7, True)])
def test_rounding_ends_a_run(setting, caplog, tolerance, reached):
  """float32 leaves gradients of about 1e-7: within ten times 3e-7, not of 0."""
  with caplog.at_level(logging.WARNING):
    fitted = solve(
      setting.data(), setting.splits(1), [1.0], tolerance=tolerance
    )
  assert fitted.steps[0] < 200
  assert fitted.converged[0] == reached
  assert ('could no longer lower the objective' in caplog.text) != reached


@pytest.mark.slow
def test_units_are_the_norms_of_the_rows_of_the_hessian():
  random = np.random.default_rng(0)
  scale = 10.0 ** np.arange(-2.0, 3.0)
  hessian = random.normal(size=(5, 5)) * scale[:, None] * scale[None, :]
  hessian = jnp.asarray(hessian @ hessian.T, jnp.float32)
  w = jnp.asarray(random.normal(size=5), jnp.float32)
  objective = lambda w: 0.5 * w @ hessian @ w
  estimate = jax.vmap(lambda key: curvature.units(objective, w, key)[2])
  got = estimate(jax.random.split(jax.random.key(0), 1000))
  norm = jnp.linalg.norm(hessian, axis=1)
  value, gradient, _ = curvature.units(objective, w, jax.random.key(0))
  np.testing.assert_allclose(value, objective(w), rtol=1e-5)
  np.testing.assert_allclose(gradient, hessian @ w, rtol=1e-4)
  # E (H v)_i^2 = |H_i|^2, of which s is the power -1/4; the mean of s^-4 over
  # 8000 probes is within 5 of its standard errors, sqrt(2 / 8000) at most.
  np.testing.assert_allclose(
    jnp.mean(got**-4, axis=0), norm**2, rtol=5 * (2 / 8000) ** 0.5
  )


@pytest.mark.slow
def test_flat_directions_have_unit_one():
  objective = lambda w: w[0] ** 2 + w[1]
  _, _, units = curvature.units(objective, jnp.ones(3), jax.random.key(0))
  np.testing.assert_allclose(units, [2.0**-0.5, 1.0, 1.0], rtol=1e-6)


@pytest.mark.slow
def test_links_with_a_penalty_of_their_own(setting):
  """A hundredth of the penalty on v is all of it on v / 10.

  With u = v / 10 the term y v is (10 y) u, and 0.01 |v|^2 is |u|^2: what
  scikit-learn gives for labels that count tenfold.
  """
  data, splits = setting.data(), setting.splits(1)
  runs, _ = training_runs.from_splits(splits, [0.0], [1.0], {'links': [0.01]})
  options = TrainOptions(optimizer='lbfgs', tolerance=1e-5)
  fitted = fit(init, loss, data, runs, options)
  rows = splits[0].train
  x, y = (np.asarray(a[rows], np.float64) for a in (data.x, data.y))
  for j in range(y.shape[1]):
    inputs = np.hstack([x, 10.0 * y[:, :j]])
    model = LogisticRegression(
      C=1.0, tol=1e-12, max_iter=10_000, solver='newton-cholesky'
    ).fit(inputs, y[:, j])
    links = fitted.params['links'][0, :j, j]
    np.testing.assert_allclose(
      links, 10.0 * model.coef_[0, x.shape[1] :], atol=2e-3
    )
    np.testing.assert_allclose(
      fitted.params['kernel'][0, :, j], model.coef_[0, : x.shape[1]], atol=2e-3
    )
