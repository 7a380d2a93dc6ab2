"""The parts of regret: their sum, their signs, and one fault at a time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from mlc import distribution
from mlc.metrics import decomposition, regret
from mlc.temperature import tempered

CRITERIA = regret.criteria()
# Its best decision is a search, which takes seconds to compile.
NAMES = [
  pytest.param(name, marks=pytest.mark.slow) if name == 'f1_example' else name
  for name in CRITERIA
]
ROWS, LABELS = 40, 4
# The time of these tests is compilation, for programs that run once.
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)
decompose = quick_jit(decomposition.decompose, static_argnums=0)
way = quick_jit(decomposition.way, static_argnums=0)
fit = quick_jit(decomposition.fit_temperature)


def tables(seed, scale=1.5, rows=ROWS):
  rng = np.random.default_rng(seed)
  logits = scale * rng.normal(size=(rows, 2**LABELS))
  return jax.nn.log_softmax(jnp.asarray(logits, jnp.float32), axis=-1)


def mean_regret(criterion, truth, answers, weight=None):
  each = np.asarray(regret.regret(criterion, truth, answers).regret, float)
  return np.average(each, weights=weight)


def answers_of(criterion, seed=0):
  rng = np.random.default_rng(seed)
  drawn = rng.random((ROWS, LABELS))
  if criterion.takes == 'decisions':
    drawn = drawn < 0.4
  return jnp.asarray(drawn, jnp.float32)


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_the_parts_add_up_and_two_are_never_negative(name):
  criterion = CRITERIA[name]
  truth = tables(0)
  model = jax.nn.log_softmax(truth + 0.3 * tables(1), axis=-1)
  answers = answers_of(criterion)
  weight = jnp.asarray(np.arange(ROWS) % 3, jnp.float32)
  parts = decompose(
    criterion, truth, model, answers, temperature=1.7, weight=weight
  )
  total = mean_regret(criterion, truth, answers, weight)
  assert sum(map(float, parts)) == pytest.approx(total, abs=1e-6)
  assert parts.model > -1e-7
  assert parts.threshold >= 0
  # Answers drawn blindly: most of it is the decoder's fault.
  assert parts.decoding > 0.01


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_the_truth_has_nothing_but_what_the_decoder_loses(name):
  criterion = CRITERIA[name]
  truth = tables(0)
  answers = answers_of(criterion)
  parts = decompose(criterion, truth, truth, answers)
  total = mean_regret(criterion, truth, answers)
  assert parts.decoding == pytest.approx(total, abs=1e-6)
  np.testing.assert_allclose(parts[1:], 0.0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['hamming_loss', 'jaccard_example'])
def test_a_model_that_is_only_too_flat_is_mended_by_its_temperature(name):
  criterion = CRITERIA[name]
  truth = tables(2, scale=3.0)
  model = tempered(truth, 3.0)
  parts = decompose(
    criterion, truth, model, criterion.bayes(model), temperature=1 / 3
  )
  total = mean_regret(criterion, truth, criterion.bayes(model))
  assert total > 0.01
  assert parts.calibration == pytest.approx(total, abs=1e-6)
  np.testing.assert_allclose((parts.threshold, parts.model), 0.0, atol=1e-6)
  assert parts.decoding == pytest.approx(0.0, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['hamming_loss', 'subset_accuracy'])
def test_a_model_that_only_likes_labels_too_much_is_mended_by_a_shift(name):
  criterion = CRITERIA[name]
  truth = tables(3)
  model = decomposition.shifted(truth, 1.0)
  parts = decompose(criterion, truth, model, criterion.bayes(model))
  total = mean_regret(criterion, truth, criterion.bayes(model))
  assert total > 0.01
  assert parts.threshold == pytest.approx(total, abs=1e-6)
  assert parts.model == pytest.approx(0.0, abs=1e-6)


def test_a_shift_is_a_threshold_where_labels_are_independent():
  rng = np.random.default_rng(0)
  logits = 2 * rng.normal(size=(50, LABELS))
  vectors = np.asarray(distribution.label_vectors(LABELS))
  table = jax.nn.log_softmax(jnp.asarray(logits @ vectors.T, jnp.float32))
  p = 1 / (1 + np.exp(-logits))
  for shift in decomposition.SHIFTS:
    moved = distribution.table_marginals(decomposition.shifted(table, shift))
    np.testing.assert_array_equal(moved > 0.5, p > 1 / (1 + np.exp(shift)))


@pytest.mark.slow
def test_the_way_is_the_value_of_each_answer():
  criterion = CRITERIA['jaccard_example']
  truth, model = tables(4), tables(5)
  rungs = way(criterion, truth, model, 2.0)
  q = np.exp(np.asarray(model, float)) ** 0.5
  size = np.asarray(distribution.label_vectors(LABELS)).sum(-1)
  expected = [model]
  expected += [np.log(q * np.exp(b * size)) for b in decomposition.SHIFTS]
  expected += [truth]
  for rung, logits in enumerate(expected):
    table = jax.nn.log_softmax(jnp.asarray(logits, jnp.float32), axis=-1)
    value = criterion.expected(truth, criterion.bayes(table))
    np.testing.assert_allclose(rungs[:, rung], value, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize('flatter', [0.5, 1.0, 3.0])
def test_the_temperature_is_that_of_largest_likelihood(flatter):
  truth = tables(6, rows=3000)
  y = distribution.table_sample(truth, jax.random.key(0), 1)[0]
  model = tempered(truth, flatter)
  weight = np.arange(3000) % 4.0
  found = fit(model, y, jnp.asarray(weight, jnp.float32))
  code = np.asarray(distribution.code(y))

  def loss(log_t):
    scaled = np.asarray(model, float) / np.exp(log_t)
    total = np.log(np.exp(scaled).sum(-1))
    return np.average(total - scaled[np.arange(3000), code], weights=weight)

  best = scipy.optimize.minimize_scalar(loss, bounds=(-2, 2)).x
  assert float(found) == pytest.approx(np.exp(best), rel=1e-3)
  assert float(found) == pytest.approx(1 / flatter, rel=0.1)


@pytest.mark.slow
def test_rows_that_say_nothing_of_the_temperature():
  model = tables(7)
  y = distribution.table_sample(model, jax.random.key(1), 1)[0]
  assert fit(model, y, jnp.zeros(ROWS)) == 1.0
  assert fit(model[:0], y[:0]) == 1.0
  # A row that the model rules out, and vectors that it does.
  code = int(distribution.code(y)[0])
  other = (code + 1) % 2**LABELS
  ruled_out = model.at[0, code].set(-jnp.inf).at[0, other].set(-jnp.inf)
  weight = jnp.ones(ROWS)
  found = fit(ruled_out, y, weight)
  assert jnp.isfinite(found)
  assert found == fit(model, y, weight.at[0].set(0.0))
