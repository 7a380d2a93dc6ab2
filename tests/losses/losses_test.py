"""Losses against optax, against each other, and with labels missing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlc import losses
from mlc.base import Batch, MissingCapabilityError
from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.classifier_chain import classifier_chain
from mlc.heads.ensemble import ensemble
from mlc.heads.softmax import softmax

ROWS, DIM, LABELS, MEMBERS = 6, 3, 4, 3
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


@pytest.fixture(scope='module')
def batch():
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.normal(size=(ROWS, DIM)), jnp.float32)
  y = jnp.asarray(rng.random((ROWS, LABELS)) < 0.4, jnp.float32)
  return Batch(x, y)


@pytest.fixture(scope='module')
def where():
  known = np.random.default_rng(1).random((ROWS, LABELS)) < 0.6
  known[0] = False
  return jnp.asarray(known)


def fitted(head, batch):
  params = quick_jit(head.init)(jax.random.key(0), batch.x, batch.y)
  rng = np.random.default_rng(2)
  return {
    name: leaf
    if name == 'frozen'
    else jax.tree.map(
      lambda v: jnp.asarray(rng.normal(size=v.shape), v.dtype), leaf
    )
    for name, leaf in params.items()
  }


def test_both_losses_are_the_cross_entropy_of_independent_labels(batch):
  head = binary_relevance(LABELS)
  params = fitted(head, batch)
  logits = batch.x @ params['kernel'] + params['bias'][None]
  expected = optax.sigmoid_binary_cross_entropy(logits, batch.y).sum(-1)
  for loss in (losses.nll(), losses.sigmoid_cross_entropy()):
    values = loss.apply(head, params, batch.x, batch)
    assert values.shape == (ROWS,)
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_both_losses_teacher_force_a_chain_alike(batch):
  head = classifier_chain(LABELS)
  params = fitted(head, batch)
  nll, pointwise = (
    loss.apply(head, params, batch.x, batch)
    for loss in (losses.nll(), losses.sigmoid_cross_entropy())
  )
  np.testing.assert_allclose(nll, pointwise, rtol=1e-6)
  np.testing.assert_allclose(
    nll, -head.log_prob(params, batch.x, batch.y), rtol=1e-6
  )


def test_an_unknown_label_counts_for_nothing(batch, where):
  head, loss = binary_relevance(LABELS), losses.sigmoid_cross_entropy()
  params = fitted(head, batch)
  logits = batch.x @ params['kernel'] + params['bias'][None]
  each = optax.sigmoid_binary_cross_entropy(logits, batch.y)
  expected = np.where(where, each, 0.0).sum(-1)

  def total(params, y):
    values = loss.apply(head, params, batch.x, Batch(batch.x, y, where))
    return values.sum(), values

  y = jnp.where(where, batch.y, 1.0 - batch.y)
  gradient, values = quick_jit(jax.grad(total, has_aux=True))(params, y)
  np.testing.assert_allclose(values, expected, rtol=1e-5)
  assert values[0] == 0
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_one_class_against_the_rest_trains_softmax_with_unknown_labels(where):
  head, loss = softmax(LABELS), losses.sigmoid_cross_entropy()
  y = jnp.eye(LABELS)[jnp.arange(ROWS) % LABELS]
  batch = Batch(jnp.ones((ROWS, DIM)), y, where)
  params = fitted(head, batch)
  p = quick_jit(head.marginals)(params, batch.x)
  each = jnp.where(y > 0, jnp.log(p), jnp.log1p(-p))
  values = quick_jit(lambda params: loss.apply(head, params, batch.x, batch))
  np.testing.assert_allclose(
    values(params), -np.where(where, each, 0.0).sum(-1), rtol=1e-4
  )


def test_likelihood_refuses_unknown_labels_and_names_the_way_out(batch, where):
  head = binary_relevance(LABELS)
  with pytest.raises(ValueError, match='sigmoid_cross_entropy'):
    losses.nll().apply(
      head, fitted(head, batch), batch.x, batch._replace(where=where)
    )


def test_a_head_without_the_capability_is_named(batch):
  head = ensemble(binary_relevance(LABELS), 2)
  with pytest.raises(MissingCapabilityError, match='ensemble_binary_relevance'):
    losses.sigmoid_cross_entropy().apply(head, {}, batch.x, batch)
  blind = binary_relevance(LABELS)._replace(log_prob=None)
  with pytest.raises(MissingCapabilityError, match='log_prob'):
    losses.nll().apply(blind, {}, batch.x, batch)


@pytest.mark.slow
def test_members_train_as_if_alone(batch):
  member, nll = classifier_chain(LABELS, order='random'), losses.nll()
  head, loss = ensemble(member, MEMBERS), losses.per_member(nll)
  assert loss.name == 'per_member_nll'
  params = fitted(head, batch)
  frozen = params.pop('frozen')

  def together(trained):
    params = {**trained, 'frozen': frozen}
    return loss.apply(head, params, batch.x, batch)

  def alone(trained, frozen):
    params = {**trained, 'frozen': frozen}
    return nll.apply(member, params, batch.x, batch)

  values = quick_jit(jax.vmap(alone))(params, frozen)
  np.testing.assert_allclose(
    quick_jit(together)(params), values.sum(0), rtol=1e-5
  )
  gradient = quick_jit(jax.grad(lambda p: together(p).mean()))(params)
  of_one = quick_jit(jax.grad(lambda p, f: alone(p, f).mean()))
  for m in range(MEMBERS):
    take = lambda leaf: leaf[m]  # noqa: B023
    expected = of_one(jax.tree.map(take, params), jax.tree.map(take, frozen))
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
      jax.tree.map(take, gradient),
      expected,
    )


def test_members_get_keys_of_their_own(batch):
  """A member that answers with the noise of its key."""

  def log_prob(params, h, y, *, key=None):
    noise = 0.0 if key is None else jax.random.normal(key, (len(h),))
    return noise + jnp.zeros(len(h))

  member = binary_relevance(LABELS)._replace(log_prob=log_prob)
  head, loss = ensemble(member, 2), losses.per_member(losses.nll())
  params = fitted(head, batch)
  key = jax.random.key(0)
  values = loss.apply(head, params, batch.x, batch, key=key)
  expected = [jax.random.normal(k, (ROWS,)) for k in jax.random.split(key, 2)]
  np.testing.assert_allclose(values, -sum(expected), rtol=1e-5)
  calm = loss.apply(head, params, batch.x, batch)
  np.testing.assert_array_equal(calm, np.zeros(ROWS))


def test_members_need_an_ensemble(batch):
  head = binary_relevance(LABELS)
  with pytest.raises(
    ValueError, match='binary_relevance, which has no members'
  ):
    losses.per_member(losses.nll()).apply(head, {}, batch.x, batch)
