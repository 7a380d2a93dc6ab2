"""The best label vector that keeps the rules."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import sparse
from scipy.sparse import csgraph

from mlc.distribution import MAX_TABLE_LABELS, label_vectors
from mlc.rules.conflicts import solved
from mlc.rules.rule import Rules, allowed, consistent

# Linked labels whose vectors are listed on the host: 2^14 of them.
_LISTED = 14
# Labels of which all sets of changes are tried before anything is searched.
_FLIPPED = 8
# Scores that are looked at together there: 32 MiB in float32.
_SCORES = 2**23


def best(
  rules: Rules, gain: Float[Array, 'batch labels']
) -> Float[Array, 'batch labels']:
  """argmax of sum_j gain_j y_j over the label vectors that keep the rules.

  Where the best of all vectors keeps them it is the answer, to the last bit.
  Otherwise exact: up to 16 labels all vectors are tried; beyond, labels that no
  rule links are decided apart, on the host, where 14 linked labels or fewer are
  enumerated. Of more, all changes to the eight labels that are cheapest to
  change are tried; where a ninth could be cheaper than these, branch and bound
  (HiGHS) decides.

  Args:
    rules: that some vector keeps.
    gain: what each label is worth, finite.

  Returns:
    The vectors, 0.0 or 1.0; labels that gain nothing are off if they may be.
  """
  free = (gain > 0).astype(gain.dtype)
  if gain.shape[-1] <= MAX_TABLE_LABELS:
    found = _enumerated(rules, gain)
  else:
    found = jax.pure_callback(
      _on_host,
      jax.ShapeDtypeStruct(gain.shape, gain.dtype),
      *rules,
      gain,
      vmap_method='sequential',
    )
  return jnp.where(consistent(rules, free)[..., None], free, found)


def nearest(
  rules: Rules,
  decision: Float[Array, 'batch labels'],
  p: Float[Array, 'batch labels'],
) -> Float[Array, 'batch labels']:
  """The consistent vector that is nearest to a decision.

      argmin over consistent y of sum_{j: y_j != d_j} -log P(Y_j = y_j)

  The likeliest set of changes: a label is changed the sooner, the likelier its
  other value. A decision that keeps the rules stays as it is.

  Args:
    rules: that some vector keeps.
    decision: d, 0.0 or 1.0.
    p: P(Y_j = 1).
  """
  other = jnp.where(decision > 0, 1.0 - p, p)
  # Something for every change: those that are free are not made for nothing.
  cost = 1e-6 - jnp.log(jnp.maximum(other, jnp.finfo(p.dtype).tiny))
  found = best(rules, (2.0 * decision - 1.0) * cost)
  return jnp.where(consistent(rules, decision)[..., None], decision, found)


def best_of_table(
  rules: Rules, values: Float[Array, 'batch vectors']
) -> Float[Array, 'batch labels']:
  """Of the vectors that keep the rules the one of the largest value."""
  kept = jnp.where(allowed(rules)[None, :], values, -jnp.inf)
  # Where all allowed ones are worth -inf, one of them all the same.
  first = jnp.argmax(allowed(rules))
  code = jnp.argmax(kept, axis=-1)
  code = jnp.where(jnp.isneginf(jnp.max(kept, axis=-1)), first, code)
  return label_vectors(rules.matrix.shape[-1])[code]


def _enumerated(rules, gain):
  vectors = label_vectors(gain.shape[-1])
  values = jnp.matmul(gain, vectors.T, precision='highest')
  return best_of_table(rules, values)


# On the host, beyond 16 labels.


def _on_host(matrix, low, high, gain):
  matrix, low, high, gain = map(np.asarray, (matrix, low, high, gain))
  return best_on_host(Rules(matrix, low, high), gain)


def best_on_host(
  rules: Rules, gain: Float[np.ndarray, 'batch labels']
) -> Float[np.ndarray, 'batch labels']:
  """As `best`, of numpy arrays, at any number of labels."""
  gain = np.asarray(gain)
  y = (gain > 0).astype(gain.dtype)
  # Keeps arrays out of the key of the cache.
  key = (rules.matrix.tobytes(), rules.low.tobytes(), rules.high.tobytes())
  for labels, rows, vectors in _linked(*key, rules.matrix.shape[-1]):
    part = Rules(
      rules.matrix[np.ix_(rows, labels)], rules.low[rows], rules.high[rows]
    )
    broken = np.flatnonzero(~consistent(part, y[:, labels]))
    each = len(vectors) if vectors is not None else 2**_FLIPPED * len(rows)
    chunk = max(1, _SCORES // each)
    for start in range(0, len(broken), chunk):
      some = np.ix_(broken[start : start + chunk], labels)
      if vectors is not None:
        y[some] = vectors[np.argmax(gain[some] @ vectors.T, axis=1)]
      else:
        y[some] = _searched(part, gain[some])
  return y


def _searched(
  rules: Rules, gain: Float[np.ndarray, 'batch labels']
) -> Float[np.ndarray, 'batch labels']:
  """The best vectors of linked labels, too many to be listed."""
  y, proved = _by_changes(rules, gain)
  for row in np.flatnonzero(~proved):
    found = solved(-gain[row].astype(np.float64), *map(np.asarray, rules))
    y[row] = np.nan if found is None else found
  return y


def _by_changes(rules, gain):
  """The cheapest changes to the best of all vectors, and whether they are.

  Whatever changes another label than the eight cheapest costs what the ninth
  does, or more.
  """
  y = (gain > 0).astype(gain.dtype)
  cost, count = np.abs(gain), min(_FLIPPED, gain.shape[1])
  order = np.argsort(cost, axis=1, kind='stable')
  near = order[:, :count]
  sets = ((np.arange(2**count)[:, None] >> np.arange(count)) & 1) * 1.0
  sign = 1.0 - 2.0 * np.take_along_axis(y, near, axis=1)
  moves = sign[:, :, None] * rules.matrix.T[near]
  value = (y @ rules.matrix.T)[:, None, :] + sets @ moves
  broken = (value < rules.low) | (value > rules.high)
  total = np.take_along_axis(cost, near, axis=1) @ sets.T
  total = np.where(broken.any(axis=-1), np.inf, total)
  best_set = np.argmin(total, axis=1)
  chosen = sign * sets[best_set]
  least = total[np.arange(len(y)), best_set]
  changed = np.take_along_axis(y, near, axis=1) + chosen
  np.put_along_axis(y, near, changed.astype(y.dtype), axis=1)
  if count == gain.shape[1]:
    return y, np.isfinite(least)
  ninth = np.take_along_axis(cost, order[:, [count]], axis=1)[:, 0]
  return y, least <= ninth


@functools.lru_cache(maxsize=64)
def _linked(
  matrix: bytes, low: bytes, high: bytes, num_labels: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
  """Labels that rules link: (labels, rules, their vectors if few) of each."""
  rules = Rules(
    np.frombuffer(matrix, np.float32).reshape(-1, num_labels),
    np.frombuffer(low, np.float32),
    np.frombuffer(high, np.float32),
  )
  meets = sparse.csr_array(rules.matrix != 0)
  count, group = csgraph.connected_components(meets.T @ meets, directed=False)
  found = []
  for g in range(count):
    labels = np.flatnonzero(group == g)
    rows = np.flatnonzero((rules.matrix[:, labels] != 0).any(axis=1))
    if not len(rows):
      continue
    vectors = None
    if len(labels) <= _LISTED:
      codes = np.arange(2 ** len(labels))[:, None]
      vectors = ((codes >> np.arange(len(labels))) & 1).astype(np.float32)
      part = Rules(
        rules.matrix[np.ix_(rows, labels)], rules.low[rows], rules.high[rows]
      )
      vectors = vectors[consistent(part, vectors)]
    found.append((labels, rows, vectors))
  return found
