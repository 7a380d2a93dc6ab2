"""Both kinds learn worlds with a hierarchy, and binary relevance does not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlc.base import Batch
from mlc.data.synthetic import make
from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.hierarchical import hierarchical

quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)
conditional = functools.partial(hierarchical, kind='conditional')
exclusive = functools.partial(conditional, siblings='exclusive')


def fitted(head, x, y, steps=300):
  """Parameters after Adam on the head's own objective, or its likelihood."""
  params = head.init(jax.random.key(0), x, y)
  adam = optax.adam(0.05)

  def loss(params):
    if head.objective is not None:
      return jnp.mean(head.objective(params, x, Batch(x, y)))
    return -jnp.mean(head.log_prob(params, x, y))

  def step(carry, _):
    params, state = carry
    change, state = adam.update(jax.grad(loss)(params), state)
    return (optax.apply_updates(params, change), state), None

  start = params, adam.init(params)
  (params, _), _ = jax.lax.scan(step, start, length=steps)
  return params


@pytest.fixture(scope='module')
def world():
  data = make('hierarchy', labels=8, examples=2500, features=4, signal=2.0)
  x, y = jnp.asarray(data.x), jnp.asarray(data.y, jnp.float32)
  train, test = slice(0, 1500), slice(1500, None)

  def learned(head):
    return quick_jit(functools.partial(fitted, head))(x[train], y[train])

  return data, learned, x[test], y[test], data.log_joint[test]


@pytest.mark.slow
def test_the_joint_learns_a_hierarchy_up_to_the_truth(world):
  data, learned, x, y, log_joint = world
  nll = {}
  for head in (conditional(8, data.hierarchy), binary_relevance(8)):
    params = learned(head)
    nll[head.name] = -float(jnp.mean(head.log_prob(params, x, y)))
  codes = np.asarray(y).astype(int) @ 2 ** np.arange(8)
  truth = -np.mean(log_joint[np.arange(len(codes)), codes])
  assert truth < nll['hierarchical_conditional'] < truth + 0.06
  assert nll['binary_relevance'] > truth + 0.5


@pytest.mark.slow
def test_the_max_constraint_is_coherent_where_binary_relevance_is_not(world):
  data, learned, x, y, _ = world
  child, parent = np.nonzero(data.hierarchy)
  wrong, right = {}, {}
  for head in (hierarchical(8, data.hierarchy), binary_relevance(8)):
    p = np.asarray(head.marginals(learned(head), x))
    wrong[head.name] = int((p[:, child] > p[:, parent]).sum())
    decided = (p > 0.5) == np.asarray(y)
    right[head.name] = float(decided.mean())
  assert wrong['hierarchical_max_constraint'] == 0
  assert wrong['binary_relevance'] > 50
  assert right['hierarchical_max_constraint'] > 0.75


@pytest.mark.slow
def test_exclusive_siblings_learn_exclusive_labels():
  data = make('exclusive', labels=3, examples=2500, features=4, signal=2.0)
  x, y = jnp.asarray(data.x), jnp.asarray(data.y, jnp.float32)
  nll, no_edge = [], np.zeros((3, 3), bool)
  for head in (exclusive(3, no_edge), binary_relevance(3)):
    params = quick_jit(functools.partial(fitted, head))(x[:1500], y[:1500])
    nll.append(-float(jnp.mean(head.log_prob(params, x[1500:], y[1500:]))))
  codes = data.y[1500:].astype(int) @ 2 ** np.arange(3)
  truth = -data.log_joint[1500 + np.arange(1000), codes].mean()
  assert nll[0] < truth + 0.03
  assert nll[1] > truth + 0.1
