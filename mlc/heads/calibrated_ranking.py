"""Calibrated label ranking: pairwise preferences and a virtual label."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mlc.base import Head
from mlc.numerics import log_bernoulli

# 256 labels make 32,896 models, each with a weight for every feature.
MAX_LABELS = 256
# What a unanimous vote is worth before training: a probability of 0.98.
_SLOPE = 4.0


def calibrated_ranking(
  num_labels: int,
  *,
  pairs: Literal['models', 'scores'] = 'models',
) -> Head:
  """A ranking of the labels, cut where a virtual label 0 stands.

      P(i above j | h) = sigmoid(f_ij(h)),     i, j in {0, 1, .. L}
      loss(h, y) = - sum_{y_i = 1, y_j = 0} log P(i above j | h)
                   - sum_{y_i = 1} log P(i above 0 | h)
                   - sum_{y_j = 0} log P(0 above j | h)

  Each of the L (L + 1) / 2 pairs is a logistic regression on the rows in which
  its labels differ; the virtual label stands between the relevant and the
  irrelevant ones of every row, so that its pairs are binary relevance. For a
  new row each pair gives a vote to one of its two labels. Labels with more
  votes than the virtual label are relevant: v_j > v_0.

  Votes are not probabilities. `marginals` are a monotone function of them,

      sigmoid(a (v_j - v_0) / L),    a > 0

  so that they exceed one half exactly where the paper's decision is on and rank
  the labels as the paper does (labels with equal votes tie). The one number a
  is fitted to the known labels of the training rows beside the pairs, by
  cross-entropy in which the votes are constant: train with adamw, a line
  search sees them jump. The marginals are calibrated by this slope alone and
  marked as estimated; votes tie often, and from one row to another they compare
  less well than probabilities.

  With pairs = 'scores' the pairs share scores, f_ij = s_i - s_j (Bradley and
  Terry): L + 1 linear maps for any number of labels, a ranking without ties and
  without cycles, and `marginals` are P(j above 0 | h) themselves, closed-form.
  That is a different, smaller model, for label sets where pairs are too many.

  Args:
    num_labels: L, at most 256 with a model for each pair.
    pairs: 'models', one for each pair as in the paper, or 'scores'.

  Returns:
    A head with `marginals` and `objective`, and with 'scores' `logits`
    (s_j - s_0). There is no distribution over label vectors. Parameters:
    `kernel` [D, pairs] and `bias` [pairs], the pairs (i, j) of i < j in the
    order of `numpy.triu_indices` with the virtual label last, and `log_slope`
    (log a); with 'scores' `kernel` [D, L + 1] and `bias` [L + 1]. A pair with
    an unknown label has no part in the loss.

  Raises:
    ValueError: for unknown `pairs`, or more labels than models are made for.

  References:
    Furnkranz, Hullermeier, Mencia, Brinker, Multilabel classification via
    calibrated label ranking, Machine Learning 73, 2008.
    Bradley, Terry, Rank analysis of incomplete block designs, Biometrika 39,
    1952 (scores).
  """
  _check_options(num_labels, pairs)
  by_models = pairs == 'models'
  outputs = num_labels * (num_labels + 1) // 2 if by_models else num_labels + 1

  def init(key, h, y, *, where=None, weight=None):
    del y, where, weight
    kernel = jax.nn.initializers.lecun_normal()
    params = {
      'kernel': kernel(key, (h.shape[-1], outputs), h.dtype),
      'bias': jnp.zeros(outputs, h.dtype),
    }
    if by_models:
      params['log_slope'] = jnp.log(jnp.asarray(_SLOPE, h.dtype))
    return params

  return Head(
    name='calibrated_ranking',
    num_labels=num_labels,
    exactness={'marginals': 'estimated' if by_models else 'closed-form'},
    init=init,
    logits=None if by_models else _score_logits,
    marginals=_vote_marginals(num_labels) if by_models else _score_marginals,
    objective=(
      _models_objective(num_labels) if by_models else _scores_objective
    ),
  )


def _linear(params, h):
  return h @ params['kernel'] + params['bias'][None, :]


def _with_virtual(y, where):
  """Preferences of label i over the virtual label are y_i: as if it were 0.

  Its own value is 0.5: it differs from every label's, and what is larger is
  preferred.
  """
  known = jnp.ones(y.shape, bool) if where is None else where
  middle = jnp.full_like(y[:, :1], 0.5)
  return (
    jnp.concatenate([y, middle], axis=1),
    jnp.concatenate([known, jnp.ones_like(known[:, :1])], axis=1),
  )


# A model for each pair.


def _models_objective(num_labels):
  i, j = np.triu_indices(num_labels + 1, 1)

  def objective(params, h, batch, *, key=None):
    del key
    f = _linear(params, h)
    y, known = _with_virtual(batch.y, batch.where)
    preferred = (y[:, i] > y[:, j]).astype(f.dtype)
    counts = (y[:, i] != y[:, j]) & known[:, i] & known[:, j]
    of_pairs = jnp.where(counts, log_bernoulli(f, preferred), 0.0)
    logits = _vote_logits(params, jax.lax.stop_gradient(f), num_labels)
    of_slope = log_bernoulli(logits, batch.y)
    of_slope = jnp.where(known[:, :-1], of_slope, 0.0)
    return -jnp.sum(of_pairs, axis=-1) - jnp.sum(of_slope, axis=-1)

  return objective


def votes(
  f: Float[Array, 'batch pairs'], num_labels: int
) -> Float[Array, 'batch items']:
  """How many of its L pairs each label wins, the virtual label last."""
  i, j = np.triu_indices(num_labels + 1, 1)
  wins = (f > 0).astype(f.dtype)
  nothing = jnp.zeros((len(f), num_labels + 1), f.dtype)
  return nothing.at[:, i].add(wins).at[:, j].add(1.0 - wins)


def _vote_logits(params, f, num_labels):
  v = votes(f, num_labels)
  margin = (v[:, :-1] - v[:, -1:]) / num_labels
  return jnp.exp(params['log_slope']) * margin


def _vote_marginals(num_labels):
  def marginals(params, h, *, key=None):
    del key
    f = _linear(params, h)
    return jax.nn.sigmoid(_vote_logits(params, f, num_labels))

  return marginals


# Scores.


def _score_logits(params, h, y=None, *, key=None):
  del y, key
  scores = _linear(params, h)
  return scores[:, :-1] - scores[:, -1:]


def _score_marginals(params, h, *, key=None):
  return jax.nn.sigmoid(_score_logits(params, h, key=key))


def _scores_objective(params, h, batch, *, key=None):
  del key
  scores, y = _linear(params, h), batch.y
  known = jnp.ones(y.shape, bool) if batch.where is None else batch.where
  against_virtual = log_bernoulli(scores[:, :-1] - scores[:, -1:], y)
  of_virtual = jnp.sum(jnp.where(known, against_virtual, 0.0), axis=-1)
  on, off = known & (y > 0), known & (y == 0)
  return _pairs_loss(scores[:, :-1], on, off) - of_virtual


@jax.custom_vjp
def _pairs_loss(s, on, off):
  """sum_{i on, j off} log(1 + exp(s_j - s_i)), [B]."""
  return _pairs_loss_and_gradient(s, on, off)[0]


def _pairs_loss_and_gradient(s, on, off):
  """One label that is on after another against all that are off.

  As many rounds as the row with most labels has, where few of many are on far
  fewer than L. Reverse mode cannot run a loop of unknown length backwards,
  hence the gradient beside the value.
  """
  first_on = jnp.argsort(~on, axis=-1)
  count = jnp.sum(on, axis=-1)
  rows = jnp.arange(len(s))

  def add(t, so_far):
    loss, gradient = so_far
    i = first_on[:, t]
    z = s - s[rows, i][:, None]
    counts = off & (t < count)[:, None]
    pull = jnp.where(counts, jax.nn.sigmoid(z), 0.0)
    loss += jnp.sum(jnp.where(counts, jax.nn.softplus(z), 0.0), axis=-1)
    gradient = (gradient + pull).at[rows, i].add(-jnp.sum(pull, axis=-1))
    return loss, gradient

  nothing = jnp.zeros_like(s[:, 0]), jnp.zeros_like(s)
  return jax.lax.fori_loop(0, jnp.max(count), add, nothing)


def _pairs_backward(gradient, loss):
  return gradient * loss[:, None], None, None


_pairs_loss.defvjp(_pairs_loss_and_gradient, _pairs_backward)


def _check_options(num_labels, pairs):
  if pairs not in ('models', 'scores'):
    raise ValueError(
      f"calibrated_ranking got pairs={pairs!r}; it takes 'models' (one for "
      "each pair of labels) or 'scores'."
    )
  if pairs == 'models' and num_labels > MAX_LABELS:
    raise ValueError(
      f'calibrated_ranking with a model for each pair of {num_labels} labels '
      f'would have {num_labels * (num_labels + 1) // 2} models; it is made for '
      f"up to {MAX_LABELS} labels. Give pairs='scores' "
      '(--model.pairs=scores), or choose binary_relevance.'
    )
