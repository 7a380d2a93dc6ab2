"""The mixture as a mean over its members, taken one by one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc import distribution
from mlc.heads.classifier_chain import classifier_chain
from mlc.heads.ensemble import ensemble

DIM, LABELS, MEMBERS = 3, 5, 3
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def chains(num_labels=LABELS, **options):
  """An ensemble of random chains with parameters far from their start."""
  chain = classifier_chain(num_labels, order='random', **options)
  head = ensemble(chain, MEMBERS)
  rng = np.random.default_rng(0)
  h = jnp.asarray(rng.normal(size=(40, DIM)), jnp.float32)
  params = quick_jit(head.init)(
    jax.random.key(1), h, jnp.zeros((40, num_labels))
  )
  for name in ('kernel', 'bias', 'links'):
    noise = 2 * rng.normal(size=params[name].shape)
    params[name] = jnp.asarray(noise, jnp.float32)
  return head, params, h


def member(params, m):
  return jax.tree.map(lambda leaf: leaf[m], params)


def test_members_differ_in_their_order():
  _, params, _ = chains()
  ranks = np.asarray(params['frozen']['rank'])
  assert ranks.shape == (MEMBERS, LABELS)
  assert len(np.unique(ranks, axis=0)) > 1


@pytest.mark.slow
def test_probabilities_are_means():
  head, params, h = chains()
  members = [member(params, m) for m in range(MEMBERS)]
  for name in ('marginals', 'cardinality_marginals'):
    ask = quick_jit(getattr(head.member, name))
    expected = np.mean([ask(p, h) for p in members], axis=0)
    found = quick_jit(getattr(head, name))(params, h)
    np.testing.assert_allclose(found, expected, atol=1e-6)
  ask = quick_jit(head.member.log_prob)
  y = quick_jit(head.mode)(params, h)
  expected = np.mean([np.exp(ask(p, h, y)) for p in members], axis=0)
  found = quick_jit(head.log_prob)(params, h, y)
  np.testing.assert_allclose(np.exp(found), expected, rtol=1e-4)
  assert head.exactness['mode'] == 'enumerated'


@pytest.mark.slow
def test_the_searched_mode_beats_every_candidate(monkeypatch):
  monkeypatch.setattr(distribution, 'MAX_TABLE_LABELS', 0)
  head, params, h = chains(beam_width=16, num_samples=200)
  assert head.exactness['mode'] == 'searched'
  log_prob, mode = quick_jit(head.log_prob), quick_jit(head.mode)
  found = log_prob(params, h, mode(params, h))
  candidates = [
    quick_jit(head.member.mode)(member(params, m), h) for m in range(MEMBERS)
  ]
  candidates.append(quick_jit(head.marginals)(params, h) > 0.5)
  scores = [log_prob(params, h, y.astype(jnp.float32)) for y in candidates]
  np.testing.assert_allclose(found, np.max(scores, axis=0), rtol=1e-5)
  # Each of two candidates is needed in some row.
  best = np.argmax(scores, axis=0)
  assert len(np.unique(best)) > 1


@pytest.mark.slow
def test_every_member_serves_as_often_as_the_others():
  # A member draws a vector that tells its number: 100.., 010.., 001..
  head, params, h = chains()
  params['kernel'] = jnp.zeros_like(params['kernel'])
  params['links'] = jnp.zeros_like(params['links'])
  params['bias'] = 100.0 * (2.0 * jnp.eye(LABELS)[:MEMBERS] - 1.0)
  sample = quick_jit(head.sample, static_argnums=3)
  firsts = set()
  for key in map(jax.random.key, range(12)):
    (one,), seven = (sample(params, key, h, n) for n in (1, 7))
    assert one[0, :MEMBERS].sum() == 1
    firsts.add(int(one[0].argmax()))
    served = np.asarray(seven[:, 0, :MEMBERS]).sum(0)
    assert served.sum() == 7 and served.max() == 3
  assert firsts == {0, 1, 2}


def test_ensembles_of_nothing_and_of_ensembles_are_refused():
  chain = classifier_chain(LABELS)
  with pytest.raises(ValueError, match='n=0'):
    ensemble(chain, 0)
  with pytest.raises(ValueError, match='not an ensemble itself'):
    ensemble(ensemble(chain, 2), 2)


def test_a_capability_that_the_member_lacks_is_none():
  bare = classifier_chain(LABELS)._replace(sample=None, joint=None)
  head = ensemble(bare, 2)
  assert head.sample is None and head.joint is None
  assert head.logits is None and head.greedy is None
  assert head.mode is not None
