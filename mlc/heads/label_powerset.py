"""Label powerset: each label set seen in training is a class."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mlc import distribution
from mlc.base import Head


def label_powerset(
  num_labels: int,
  num_label_sets: int,
  *,
  unseen: Literal['good_turing', 'impossible'] = 'good_turing',
  prune: int = 0,
) -> Head:
  """A softmax over the label sets s_1 .. s_K of the run's training rows.

      q(s_k | h) = exp(f_k) / sum_i exp(f_i),     f = W h + b
      p(y | h) = (1 - e) q(y | h) + e prod_j t_j^y_j (1 - t_j)^(1 - y_j)

  Any dependence between labels inside the seen sets can be represented. A set
  that training never showed has q = 0, so that under q alone one new set in
  the validation rows makes their mean log-likelihood -inf and no choice can be
  made by it. Hence the second term: independent labels with the training
  frequencies t_j = (n_j + 1/2) / (n + 1). Its weight e is not tuned but
  counted: e = (n_1 + 1/2) / (n + 1) with n_1 the number of training rows whose
  set no other row has, the Good-Turing estimate of how often the next row
  brings a new set. p is a distribution over all 2^L vectors.

  With `prune`, sets seen that often or less have no class (q = 0). Their rows
  and their probability go to the second term, e + (1 - e) r / n in place of e
  with r the number of such rows: what new sets leave is shared by the seen sets
  as often as they are seen. `pruned_sets` trains classes by such rows, too.

  Args:
    num_labels: L.
    num_label_sets: K, at least the number of distinct label sets in the
      training rows of any run; sets past it count as unseen.
    unseen: what a label set outside the training rows gets: 'good_turing' as
      above, or 'impossible' for e = 0, the powerset of the literature, in
      which its log_prob is -inf.
    prune: sets seen this often or less share in the second term only; 0 keeps
      all. The sets seen most often stay in any case.

  Returns:
    A head; every capability is closed-form. Parameters: `kernel` [D, K],
    `bias` [K], and `frozen`: `table` [K, L] of label sets, `count` [K] of their
    training rows, `seen` [K], False for places left over and pruned sets,
    `frequency` [L] (t) and `unseen` (e). A training row with an unknown label
    shows no label set. `logits` are the log-odds of the marginals.

  Raises:
    ValueError: for an unknown `unseen`, a negative `prune`, or no label set.

  References:
    Tsoumakas, Vlahavas, Random k-labelsets: an ensemble method for multilabel
    classification, ECML 2007 (label powerset).
    Read, Pfahringer, Holmes, Multi-label classification using ensembles of
    pruned sets, ICDM 2008 (`prune`).
    Good, The population frequencies of species and the estimation of
    population parameters, Biometrika 40, 1953.
  """
  _check_options(num_label_sets, unseen, prune)

  def init(key, h, y, *, where=None, weight=None):
    kernel = jax.nn.initializers.lecun_normal()
    frozen = _count_sets(y, where, weight, num_label_sets, prune)
    if unseen == 'impossible':
      frozen = {**frozen, 'unseen': jnp.zeros_like(frozen['unseen'])}
    return {
      'kernel': kernel(key, (h.shape[-1], num_label_sets), h.dtype),
      'bias': jnp.zeros(num_label_sets, h.dtype),
      'frozen': frozen,
    }

  small = num_labels <= distribution.MAX_TABLE_LABELS
  return Head(
    name='label_powerset',
    num_labels=num_labels,
    exactness={
      'marginals': 'closed-form',
      'mode': 'closed-form',
      'conditional': 'closed-form',
      'partial': 'closed-form',
      'cardinality_marginals': 'closed-form',
      'joint': 'enumerated',
    },
    init=init,
    logits=_logits,
    log_prob=_log_prob,
    marginals=_marginals,
    sample=_sample,
    mode=_mode,
    conditional=_conditional,
    joint=_joint if small else None,
    cardinality_marginals=_cardinality_marginals,
    partial=_partial,
  )


# What is read off the training rows.


def _count_sets(y, where, weight, num_label_sets, prune):
  """The label sets, the label frequencies and the share of new sets."""
  counted = jnp.ones(len(y), bool) if weight is None else weight > 0
  known = jnp.ones_like(y) if where is None else where.astype(y.dtype)
  known = known * counted[:, None]
  whole = counted & jnp.all(known > 0, axis=-1)
  table, count = _distinct(y, whole, num_label_sets)
  rows = jnp.sum(count)
  frequency = (jnp.sum(known * y, axis=0) + 0.5) / (jnp.sum(known, axis=0) + 1)
  # Never so much that no set is left.
  prune = jnp.minimum(prune, jnp.max(count) - 1)
  pruned = jnp.sum(jnp.where(count <= prune, count, 0.0))
  new = (jnp.sum(count == 1) + 0.5) / (rows + 1.0)
  return {
    'table': table,
    'count': count,
    'seen': (count > 0) & (count > prune),
    'frequency': frequency,
    'unseen': new + (1.0 - new) * pruned / jnp.maximum(rows, 1.0),
  }


def _distinct(
  y: Float[Array, 'rows labels'], counted: Bool[Array, ' rows'], size: int
) -> tuple[Float[Array, 'size labels'], Float[Array, ' size']]:
  """The distinct rows among the counted ones, and how often each stands."""
  # A row that does not count hides behind one that does.
  stand_in = jnp.where(counted, jnp.arange(len(y)), jnp.argmax(counted))
  # 32 labels to a sort key: sorting by each of 1,000 columns is no option.
  bits = jnp.pad(y.astype(jnp.uint32), [(0, 0), (0, -y.shape[1] % 32)])
  shift = jnp.arange(32, dtype=jnp.uint32)[None, None, :]
  bits = bits.reshape(len(y), -1, 32) << shift
  words = jnp.sum(bits, axis=-1, dtype=jnp.uint32)[stand_in]
  _, index, inverse = jnp.unique(
    words, axis=0, size=size, return_index=True, return_inverse=True
  )
  ones = counted.astype(y.dtype)
  count = jax.ops.segment_sum(ones, inverse.reshape(-1), num_segments=size)
  return y[stand_in[index]], count


# The distribution.


def set_scores(params, h):
  """log q(s_k | h), [B, K]."""
  f = h @ params['kernel'] + params['bias'][None, :]
  seen = params['frozen']['seen']
  return jax.nn.log_softmax(jnp.where(seen[None, :], f, -jnp.inf))


def _distance(params, y):
  """How many labels part y from each set, [B, K]."""
  table = params['frozen']['table']
  sizes = jnp.sum(y, axis=-1)[:, None] + jnp.sum(table, axis=-1)[None, :]
  return sizes - 2.0 * (y @ table.T)


def _log_independent(params, y):
  """log prod_j t_j^y_j (1 - t_j)^(1 - y_j)."""
  t = params['frozen']['frequency']
  return y @ jnp.log(t) + (1.0 - y) @ jnp.log1p(-t)


def _mixed(params, q, independent):
  """(1 - e) q + e independent."""
  e = params['frozen']['unseen']
  return (1.0 - e) * q + e * independent


def _log_mixed(params, log_q, log_independent):
  e = params['frozen']['unseen']
  return jnp.logaddexp(jnp.log1p(-e) + log_q, jnp.log(e) + log_independent)


def _log_prob(params, h, y, *, key=None):
  del key
  is_set = (_distance(params, y) == 0) & params['frozen']['seen'][None, :]
  log_q = jnp.sum(jnp.where(is_set, set_scores(params, h), 0.0), axis=-1)
  other = _log_independent(params, y)
  seen = jnp.any(is_set, axis=-1)
  # Not logaddexp of -inf: its gradient would be NaN.
  return jnp.where(
    seen,
    _log_mixed(params, log_q, other),
    jnp.log(params['frozen']['unseen']) + other,
  )


def _on_and_off(params, h):
  """P(y_j = 1 | h) and P(y_j = 0 | h), neither as 1 minus the other."""
  q = jnp.exp(set_scores(params, h))
  table, t = params['frozen']['table'], params['frozen']['frequency'][None, :]
  return _mixed(params, q @ table, t), _mixed(params, q @ (1 - table), 1 - t)


def _marginals(params, h, *, key=None):
  del key
  return _on_and_off(params, h)[0]


def _logits(params, h, y=None, *, key=None):
  del y, key
  on, off = _on_and_off(params, h)
  # Only with e = 0 and a label that is constant in training.
  least = jnp.finfo(on.dtype).tiny
  return jnp.log(jnp.maximum(on, least)) - jnp.log(jnp.maximum(off, least))


def _sample(params, key, h, n):
  set_key, label_key, which_key = jax.random.split(key, 3)
  frozen = params['frozen']
  log_q = set_scores(params, h)
  chosen = distribution.draws(log_q, set_key, n)
  seen = frozen['table'][chosen]
  new = jax.random.bernoulli(
    label_key, frozen['frequency'][None, None, :], seen.shape
  )
  is_new = jax.random.bernoulli(which_key, frozen['unseen'], (n, len(h), 1))
  return jnp.where(is_new, new.astype(seen.dtype), seen)


def _mode(params, h):
  """The likeliest seen set, or the mode of the second term if it beats it.

  No third vector can win: among those with q = 0 none exceeds the latter.
  """
  table = params['frozen']['table']
  other = _log_independent(params, table)[None, :]
  log_p = _log_mixed(params, set_scores(params, h), other)
  log_p = jnp.where(params['frozen']['seen'][None, :], log_p, -jnp.inf)
  best = table[jnp.argmax(log_p, axis=-1)]
  usual = (params['frozen']['frequency'] > 0.5).astype(table.dtype)
  usual = jnp.broadcast_to(usual[None, :], best.shape)
  wins = _log_prob(params, h, usual) > jnp.max(log_p, axis=-1)
  return jnp.where(wins[:, None], usual, best)


def _conditional(params, h, y):
  """p(y) against p(y with label j flipped), for all j at once.

  A flip of j reaches the sets at distance 1 from y that differ from it in j.
  """
  frozen = params['frozen']
  q = jnp.exp(set_scores(params, h))
  near = jnp.where(_distance(params, y) == 1, q, 0.0)
  to_on, to_off = near @ frozen['table'], near @ (1 - frozen['table'])
  log_q = jnp.log(jnp.where(y > 0, to_off, to_on))
  t = frozen['frequency'][None, :]
  other = _log_independent(params, y)[:, None]
  other = other + (1 - 2 * y) * (jnp.log(t) - jnp.log1p(-t))
  flipped = _log_mixed(params, log_q, other)
  same = jnp.broadcast_to(_log_prob(params, h, y)[:, None], y.shape)
  on = jnp.where(y > 0, same, flipped)
  off = jnp.where(y > 0, flipped, same)
  return distribution.first_of_two(on, off)


def _partial(params, h, y, known):
  """Both terms, each weighed by what it gives to the known part of y."""
  frozen = params['frozen']
  table, t = frozen['table'], frozen['frequency'][None, :]
  on, off = known * y, known * (1.0 - y)
  agrees = on @ (1.0 - table).T + off @ table.T == 0
  log_q = jnp.where(agrees, set_scores(params, h), -jnp.inf)
  log_t = jnp.sum(on * jnp.log(t) + off * jnp.log1p(-t), axis=-1)
  e = frozen['unseen']
  log_q, log_t = jnp.log1p(-e) + log_q, (jnp.log(e) + log_t)[:, None]
  top = jnp.maximum(jnp.max(log_q, axis=-1, keepdims=True), log_t)
  possible = jnp.isfinite(top)
  top = jnp.where(possible, top, 0.0)
  of_sets, of_labels = jnp.exp(log_q - top), jnp.exp(log_t - top)
  total = jnp.sum(of_sets, axis=-1, keepdims=True) + of_labels
  unknown = (of_sets @ table + of_labels * t) / jnp.where(possible, total, 1.0)
  return jnp.where(known, y, jnp.where(possible, unknown, 0.5))


def _joint(params, h):
  frozen = params['frozen']
  log_q, table = set_scores(params, h), frozen['table']
  vectors = distribution.label_vectors(table.shape[1])
  nothing = jnp.full((len(h), len(vectors)), -jnp.inf, log_q.dtype)
  # Places left over hold a set that stands elsewhere, with log q = -inf.
  log_q = nothing.at[:, distribution.code(table)].max(log_q)
  return _log_mixed(params, log_q, _log_independent(params, vectors)[None, :])


def _cardinality_marginals(params, h):
  """Set after set: each adds to the labels it holds, at its own size."""
  frozen = params['frozen']
  q, table = jnp.exp(set_scores(params, h)), frozen['table']
  num_labels = table.shape[1]
  size = jnp.sum(table, axis=-1).astype(jnp.int32)

  def add(by_size, one_set):
    q_k, labels, size = one_set
    share = q_k[:, None] * labels[None, :]
    # The empty set has no label to add to.
    return by_size.at[jnp.maximum(size, 1) - 1].add(share), None

  zeros = jnp.zeros((num_labels, len(h), num_labels), q.dtype)
  by_size, _ = jax.lax.scan(add, zeros, (q.T, table, size))
  other = distribution.product_cardinality_marginals(frozen['frequency'])
  return _mixed(params, jnp.moveaxis(by_size, 0, -1), other[None])


def _check_options(num_label_sets, unseen, prune):
  if prune < 0:
    raise ValueError(
      f'label_powerset got prune={prune}; it takes how often a label set is '
      'seen at most when its class is given up, from 0 (for none) on.'
    )
  if unseen not in ('good_turing', 'impossible'):
    raise ValueError(
      f'label_powerset got unseen={unseen!r}; '
      "it takes 'good_turing' or 'impossible'."
    )
  if num_label_sets < 1:
    raise ValueError(
      f'label_powerset got num_label_sets={num_label_sets}; give the number of '
      'distinct label sets in the data, at least 1.'
    )
