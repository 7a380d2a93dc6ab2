"""Regrets of decisions and scores, all expected losses enumerated."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from mlc.metrics.decomposition import Components, regrets
from mlc.report import vocabulary


def random_world(labels=3, rows=6):
  """p(y | x) of some rows, decisions of two decoders, scores, weights."""
  generator = np.random.default_rng(3)
  vectors = np.array(
    [[(code >> j) & 1 for j in range(labels)] for code in range(2**labels)]
  )
  p = generator.dirichlet(np.ones(2**labels), size=rows)
  decisions = generator.integers(0, 2, size=(2, rows, labels))
  scores = generator.random((rows, labels))
  return vectors, p, decisions, scores, np.array([1, 1, 0, 1, 1, 1], float)


def test_the_report_knows_the_parts_of_a_regret():
  assert Components._fields == vocabulary.REGRET_PARTS
  measure = vocabulary.measure('regret_f1_example_decoding')
  assert measure.title == 'regret in F1 by example, decoding'
  assert (measure.better, measure.scale) == ('lower', 100.0)


@pytest.mark.slow
def test_regret_is_the_expected_loss_over_that_of_the_best_decision():
  vectors, p, decisions, scores, weight = random_world()

  def losses(d):
    hamming = np.mean(vectors != d, axis=-1)
    subset = np.any(vectors != d, axis=-1).astype(float)
    both = (vectors * d).sum(axis=-1)
    below = vectors.sum(axis=-1) + d.sum()
    f1 = np.where(below > 0, 2 * both / np.maximum(below, 1), 1.0)
    union = below - both
    jaccard = np.where(union > 0, both / np.maximum(union, 1), 1.0)
    return np.stack([hamming, subset, 1 - f1, 1 - jaccard])

  def orders(s):
    """Of scores without ties."""
    wrong = (s[:, None] < s[None, :]) * vectors[:, :, None]
    wrong = (wrong * (1 - vectors[:, None, :])).sum(axis=(1, 2))
    size = vectors.sum(axis=-1)
    pairs = np.maximum(size * (vectors.shape[1] - size), 1)
    return np.stack([wrong / pairs, 1 - vectors[:, np.argmax(s)]])

  def mean_regret(of, answers, every):
    total = 0.0
    for b, answer in enumerate(answers):
      best = np.min([of(other) @ p[b] for other in every], axis=0)
      total += weight[b] * (of(answer) @ p[b] - best) / weight.sum()
    return total

  found = regrets(
    jnp.log(jnp.asarray(p, jnp.float32)),
    {
      name: jnp.asarray(decided, jnp.float32)
      for name, decided in zip('ab', decisions, strict=True)
    },
    jnp.asarray(scores, jnp.float32),
    jnp.asarray(weight, jnp.float32),
    block=4,
  )
  of_decisions = 'hamming_loss', 'subset_accuracy', 'f1_example'
  of_decisions = *of_decisions, 'jaccard_example'
  of_scores = 'ranking_loss', 'precision_at_1'
  every = np.array(list(itertools.permutations(range(3))))
  ranked = mean_regret(orders, scores, every)
  for decoder, decided in zip('ab', decisions, strict=True):
    wanted = dict(
      zip(of_decisions, mean_regret(losses, decided, vectors), strict=True)
    ) | dict(zip(of_scores, ranked, strict=True))
    assert found[decoder].keys() - {'regret_precision_at_3'} == {
      f'regret_{name}' for name in wanted
    }
    for name, value in wanted.items():
      assert found[decoder][f'regret_{name}'] == pytest.approx(value, abs=1e-6)
