"""The best and the nearest consistent vector, against trying all 2^L."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc import rules as rule_set
from mlc.rules import search

LABELS, SETS, ROWS, SIZE = 7, 40, 8, 6
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


@pytest.fixture(scope='module')
def gains():
  """[SETS, ROWS, LABELS], some of them tied."""
  rng = np.random.default_rng(0)
  found = rng.normal(size=(SETS, ROWS, LABELS))
  found[:, 0] = found[:, 0].round()
  return found.astype(np.float32)


@pytest.fixture
def sets(brute):
  rng = np.random.default_rng(1)
  return [brute.satisfiable(rng, LABELS, SIZE) for _ in range(SETS)]


def shortfall(brute, rules, gain, y):
  """Best value of a consistent vector minus that of y, in float64."""
  vectors = brute.vectors(LABELS).astype(float)
  kept = brute.possible(rules, LABELS)
  values = np.where(kept[None], gain.astype(float) @ vectors.T, -np.inf)
  codes = np.asarray(y).astype(int) @ 2 ** np.arange(LABELS)
  return values.max(-1) - values[np.arange(len(y)), codes]


def test_best_is_best(brute, sets, gains):
  arrays = rule_set.stacked(sets, LABELS)
  found = quick_jit(
    lambda r, g: jax.lax.map(lambda x: search.best(*x), (r, g))
  )(arrays, gains)
  changed = 0
  for rules, gain, y in zip(sets, gains, found, strict=True):
    assert shortfall(brute, rules, gain, y).max() < 1e-5
    changed += (np.asarray(y) != (gain > 0)).any()
  assert changed > SETS // 2


@pytest.mark.parametrize(
  ('listed', 'flipped'), [(14, 8), (0, 8), (0, 3), (0, 0)], ids=str
)
def test_best_on_the_host_is_best(
  brute, sets, gains, listed, flipped, monkeypatch
):
  """By enumeration, by changes, by branch and bound, or by either of these."""
  monkeypatch.setattr(search, '_LISTED', listed)
  monkeypatch.setattr(search, '_FLIPPED', flipped)
  search._linked.cache_clear()
  for rules, gain in zip(sets[:12], gains, strict=False):
    arrays = rule_set.compiled(rules, LABELS)
    y = search.best_on_host(arrays, gain)
    assert shortfall(brute, rules, gain, y).max() < 1e-5
  search._linked.cache_clear()


def test_changes_are_said_to_be_best_only_where_they_are(
  brute, sets, gains, monkeypatch
):
  monkeypatch.setattr(search, '_FLIPPED', 3)
  count = np.zeros(2, int)
  for rules, gain in zip(sets, gains, strict=True):
    y, proved = search._by_changes(rule_set.compiled(rules, LABELS), gain)
    assert (
      shortfall(brute, rules, gain[proved], y[proved]).max(initial=0) < 1e-5
    )
    count += np.bincount(proved, minlength=2)
  assert count.min() > 20


def test_more_labels_than_a_table_holds(brute, monkeypatch):
  """Three worlds of 7 labels side by side are decided as each alone."""
  rng = np.random.default_rng(2)
  parts = [brute.satisfiable(rng, LABELS, 5) for _ in range(3)]
  moved = [
    rule._replace(terms=tuple((j + LABELS * p, f) for j, f in rule.terms))
    for p, rules in enumerate(parts)
    for rule in rules
  ]
  arrays = rule_set.compiled(moved, 3 * LABELS)
  gain = rng.normal(size=(4, 5, 3 * LABELS)).astype(np.float32)
  decide = quick_jit(
    lambda r, g: jax.lax.map(lambda one: search.best(r, one), g)
  )
  y = np.asarray(decide(arrays, gain))
  assert not rule_set.violations(arrays, y).any()
  for p, rules in enumerate(parts):
    mine = slice(LABELS * p, LABELS * (p + 1))
    flat = gain[..., mine].reshape(-1, LABELS)
    short = shortfall(brute, rules, flat, y[..., mine].reshape(-1, LABELS))
    assert short.max() < 1e-5


@pytest.mark.slow
def test_without_rules_every_label_is_on_its_own(gains):
  none = rule_set.compiled([], LABELS)
  y = search.best(none, jnp.asarray(gains[0] * 1e-9))
  np.testing.assert_array_equal(y, gains[0] > 0)
  wide = np.tile(gains[0], 3)
  y = search.best_on_host(rule_set.compiled([], 3 * LABELS), wide)
  np.testing.assert_array_equal(y, wide > 0)


@pytest.mark.slow
def test_nearest_is_the_likeliest_set_of_changes(brute, sets):
  rng = np.random.default_rng(3)
  p = rng.random((SETS, ROWS, LABELS)).astype(np.float32)
  p[:, 1, :2] = 0.0, 1.0
  d = rng.integers(0, 2, p.shape).astype(np.float32)
  arrays = rule_set.stacked(sets, LABELS)
  found = quick_jit(
    lambda r, d, p: jax.lax.map(lambda x: search.nearest(*x), (r, d, p))
  )(arrays, d, p)
  vectors = brute.vectors(LABELS)
  kept_as_is = 0
  for s, rules in enumerate(sets):
    kept = brute.possible(rules, LABELS)
    other = np.where(d[s] > 0, 1 - p[s], p[s]).astype(float)
    cost = -np.log(np.maximum(other, np.finfo(np.float32).tiny))
    differs = vectors[None] != d[s][:, None]
    total = np.where(kept[None], (differs * cost[:, None]).sum(-1), np.inf)
    codes = np.asarray(found[s]).astype(int) @ 2 ** np.arange(LABELS)
    mine = total[np.arange(ROWS), codes]
    assert (mine - total.min(-1)).max() < 1e-4
    mine_kept = kept[d[s].astype(int) @ 2 ** np.arange(LABELS)]
    np.testing.assert_array_equal(found[s][mine_kept], d[s][mine_kept])
    kept_as_is += mine_kept.sum()
  assert 0 < kept_as_is < SETS * ROWS
