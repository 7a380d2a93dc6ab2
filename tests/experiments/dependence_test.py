import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import dependence
from mlc.data import sources
from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.label_powerset import label_powerset


def _fitted(head, rows=3, dim=4):
  rng = np.random.default_rng(0)
  h = jnp.asarray(rng.normal(size=(rows, dim)), jnp.float32)
  y = jnp.asarray(rng.random((20, head.num_labels)) < 0.5, jnp.float32)
  x = jnp.asarray(rng.normal(size=(20, dim)), jnp.float32)
  return jax.jit(head.init)(jax.random.key(0), x, y), h


@pytest.mark.slow
def test_pairs_of_a_head_by_enumeration():
  head = label_powerset(3, 8)
  params, h = _fitted(head)
  joint = np.exp(np.asarray(jax.jit(head.joint)(params, h)))
  pairs = jax.jit(lambda params, h: dependence.pairs_of(head, params, h))
  found = np.asarray(pairs(params, h))
  y = (np.arange(8)[:, None] >> np.arange(3)) & 1
  for j, k in itertools.product(range(3), repeat=2):
    expected = joint[:, (y[:, j] & y[:, k]) == 1].sum(axis=1)
    np.testing.assert_allclose(found[:, j, k], expected, atol=1e-6)


def test_a_head_without_exact_pairs_is_refused():
  head = binary_relevance(3)._replace(joint=None, partial=None)
  with pytest.raises(ValueError, match=r'binary_relevance with 3 labels'):
    dependence.pairs_of(head, {}, jnp.zeros((1, 2)))


@pytest.mark.slow
def test_a_run_says_how_dependent_its_labels_are(finished):
  told = finished.read_results()['dependence']
  json.dumps(told, allow_nan=False)
  dataset = sources.load(finished.read_results()['dataset'])
  y = (
    (np.arange(dataset.log_joint.shape[1])[:, None])
    >> np.arange(dataset.num_labels)
    & 1
  )
  joint = np.exp(dataset.log_joint.astype(float))
  values = []
  for j, k in itertools.combinations(range(dataset.num_labels), 2):
    information = 0.0
    for a, b in itertools.product((0, 1), repeat=2):
      p_j = joint[:, y[:, j] == a].sum(axis=1)
      p_k = joint[:, y[:, k] == b].sum(axis=1)
      both = joint[:, (y[:, j] == a) & (y[:, k] == b)].sum(axis=1)
      information += both * np.log(both / (p_j * p_k))
    values.append(information.mean())
  assert told['truth']['information'] == pytest.approx(
    np.mean(values), rel=1e-3, abs=1e-6
  )
  assert told['labels']['information'] >= 0
  predictions = finished.read_predictions()
  for i, run in enumerate(told['runs']):
    assert (run['seed'], run['fold']) == (
      predictions['seed'][i],
      predictions['fold'][i],
    )
    # Binary relevance knows of none.
    assert run['model'] == pytest.approx(0.0, abs=1e-6)
    assert run['residual']['pairs'] == len(values)
