"""Multi-class metrics against scikit-learn, with ties and absent classes."""

import contextlib
import functools
import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from mlc import metrics
from mlc.metrics.multiclass import top_k_accuracy

CLASSES, ROWS = 7, 20


def random_case(rng):
  truth = rng.integers(0, rng.integers(2, CLASSES + 1), ROWS)
  steps = rng.choice([1, 3, 8, 2**20])
  scores = np.round(rng.random((ROWS, CLASSES)) * steps) / steps
  decided = np.where(
    rng.random(ROWS) < 0.5, truth, rng.integers(0, CLASSES, ROWS)
  )
  weight = rng.integers(0, 4, ROWS) / 2
  weight[rng.integers(ROWS)] = 1
  return truth, scores, decided, weight


def reference(truth, scores, decided, weight):
  labels = range(CLASSES)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    top = {
      f'top_{k}_accuracy': sk.top_k_accuracy_score(
        truth, scores, k=k, labels=labels, sample_weight=weight
      )
      for k in (3, 5)
    }
    f1 = sk.f1_score(
      truth,
      decided,
      labels=labels,
      average='macro',
      zero_division=0,
      sample_weight=weight,
    )
  accuracy = sk.accuracy_score(truth, decided, sample_weight=weight)
  return {'accuracy': accuracy, 'f1_macro': f1, **top}


@pytest.mark.slow
@pytest.mark.parametrize(
  ('context', 'dtype', 'tolerance'),
  [
    (contextlib.nullcontext, jnp.float32, 1e-5),
    (functools.partial(jax.enable_x64, True), jnp.float64, 1e-9),
  ],
)
def test_equal_to_sklearn(context, dtype, tolerance):
  rng = np.random.default_rng(0)
  cases = [random_case(rng) for _ in range(300)]
  truth, scores, decided, weight = map(np.stack, zip(*cases, strict=True))
  with context():
    real = functools.partial(jnp.asarray, dtype=dtype)
    table = metrics.multiclass()
    ours = jax.jit(jax.vmap(functools.partial(metrics.evaluate, table)))(
      metrics.Predictions(
        y=real(np.eye(CLASSES)[truth]),
        decisions=real(np.eye(CLASSES)[decided]),
        scores=real(scores),
        log_prob=real(np.zeros(weight.shape)),
        weight=real(weight),
      )
    )
  expected = [reference(*case) for case in cases]
  for name in expected[0]:
    np.testing.assert_allclose(
      ours[name], [row[name] for row in expected], atol=tolerance, err_msg=name
    )


@pytest.mark.slow
@pytest.mark.parametrize('k', [1, 2, 3])
def test_average_ties_are_the_mean_over_orders_of_the_classes(k):
  rng = np.random.default_rng(k)
  truth = rng.integers(0, 4, 30)
  scores = rng.integers(0, 3, (30, 4)) / 2
  means = []
  for order in itertools.permutations(range(4)):
    place = np.argsort(order)
    means.append(
      sk.top_k_accuracy_score(
        place[truth], scores[:, order], k=k, labels=range(4)
      )
    )
  metric = top_k_accuracy(k, ties='average')
  predictions = metrics.Predictions(
    jnp.asarray(np.eye(4)[truth], jnp.float32),
    scores=jnp.asarray(scores, jnp.float32),
  )
  ours = metrics.evaluate({'it': metric}, predictions)['it']
  assert ours == pytest.approx(np.mean(means), abs=1e-6)


def test_a_decision_for_no_class_or_several_is_wrong():
  y = jnp.asarray([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
  decisions = jnp.asarray([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
  table = {'accuracy': metrics.multiclass()['accuracy']}
  ours = metrics.evaluate(table, metrics.Predictions(y, decisions))
  assert ours['accuracy'] == 0.25


@pytest.mark.slow
def test_a_row_without_a_known_class_is_left_out():
  y = jnp.asarray([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
  where = jnp.asarray([[True] * 3, [False, True, True]])
  scores = jnp.asarray([[0.2, 0.5, 0.3], [0.2, 0.5, 0.3]])
  predictions = metrics.Predictions(y, scores=scores, where=where)
  for ties in ('last', 'average'):
    table = {'it': top_k_accuracy(2, ties=ties)}
    sums = metrics.update(table, metrics.init(table, 2, 3), predictions)
    assert metrics.compute(table, sums)['it'] == 0.0
    assert metrics.num_undefined(table, sums)['it'] == 1


def test_options_that_make_no_sense_are_refused():
  with pytest.raises(ValueError, match='k is 0'):
    top_k_accuracy(0)
