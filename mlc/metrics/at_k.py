"""How good the top of the ranking of the labels of a row is.

Of labels of equal score each is as likely to take a place as another: a tie
counts the expectation over its orders.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mlc.metrics.metric import (
  Metric,
  Predictions,
  Undefined,
  given,
  known,
  nan_where_any_nan,
  ratio,
)
from mlc.metrics.ranking import (
  Ranked,
  hit_rate,
  row_ranked,
  row_ranking_metric,
)


def precision_at_k(k: int, *, undefined: Undefined = 0) -> Metric:
  """The share of true labels among the k of highest score.

  A row with fewer than k known labels is measured on all of them.

  Args:
    k: at least 1.
    undefined: what a row without a true label counts; to the letter, 0.

  Returns:
    The metric `precision_at_<k>`, higher is better.
  """
  check_k('precision_at_k', k)

  def values(r: Ranked) -> tuple[Array, Array]:
    hits = jnp.sum(hit_rate(r)[..., :k], axis=-1)
    most = jnp.minimum(r.num_all, k)
    return ratio(hits, most)[0], r.num_true > 0

  return row_ranking_metric(
    f'precision_at_{k}', values, direction='higher', undefined=undefined
  )


def ndcg_at_k(k: int, *, undefined: Undefined = 0) -> Metric:
  """Normalised discounted cumulative gain of the k labels of highest score.

      sum_{r <= k} y_(r) / log2(r + 1) / sum_{r <= min(k, |y|)} 1 / log2(r + 1)

  Args:
    k: at least 1.
    undefined: what a row without a true label counts; scikit-learn: 0.

  Returns:
    The metric `ndcg_at_<k>`, higher is better.

  References:
    Jarvelin, Kekalainen, Cumulated gain-based evaluation of IR techniques,
    TOIS 20, 2002. Ties: McSherry, Najork, ECIR 2008, section 2.3.
  """
  check_k('ndcg_at_k', k)

  def values(r: Ranked) -> tuple[Array, Array]:
    top = min(k, r.true.shape[-1])
    discount = discounts(top).astype(r.true.dtype)
    sums = np.concatenate([[0.0], np.cumsum(discount)])
    ideal = jnp.asarray(sums, r.true.dtype)
    best = ideal[jnp.minimum(r.num_true, top).astype(int)]
    return ratio(hit_rate(r)[..., :top] @ discount, best)

  return row_ranking_metric(
    f'ndcg_at_{k}', values, direction='higher', undefined=undefined
  )


def recall_at_k(k: int, *, undefined: Undefined = 0) -> Metric:
  """The share of the true labels that are among the k of highest score.

      |{true j among the k}| / |y|

  Args:
    k: at least 1; below |y| no ranking reaches 1.
    undefined: what a row without a true label counts; rax: 0.

  Returns:
    The metric `recall_at_<k>`, higher is better.
  """
  check_k('recall_at_k', k)

  def values(r: Ranked) -> tuple[Array, Array]:
    hits = jnp.sum(hit_rate(r)[..., :k], axis=-1)
    return ratio(hits, r.num_true)

  return row_ranking_metric(
    f'recall_at_{k}', values, direction='higher', undefined=undefined
  )


def map_at_k(
  k: int,
  *,
  undefined: Undefined = 0,
  denominator: Literal['reachable', 'positives'] = 'reachable',
) -> Metric:
  """Mean over rows of the average precision of the k labels of highest score.

      sum_{r <= k} y_(r) |{s <= r: y_(s) = 1}| / r / min(k, |y|)

  By example, not by label: `map` is the mean over labels of rankings of rows.

  Args:
    k: at least 1.
    undefined: what a row without a true label counts; rax: 0.
    denominator: `reachable` divides by min(k, |y|), so that a perfect ranking
      has 1; `positives` by |y|, as rax does.

  Returns:
    The metric `map_at_<k>`, higher is better.

  Raises:
    ValueError: k is below 1, or the denominator is unknown.

  References:
    Ties: McSherry, Najork, Computing information retrieval performance
    measures efficiently in the presence of tied scores, ECIR 2008, section 2.4.
  """
  check_k('map_at_k', k)
  if denominator not in ('reachable', 'positives'):
    raise ValueError(
      f'metric map_at_{k}: denominator is {denominator!r}, expected '
      "'reachable' or 'positives'."
    )

  def values(r: Ranked) -> tuple[Array, Array]:
    place = places(r)
    tied = r.all_end - r.all_before
    tied_true = r.true_end - r.true_before
    # Given that the label of a place is true: of those tied with it and before
    # it as many are true as of all the others that are tied with it.
    other, _ = ratio(tied_true - 1.0, tied - 1.0)
    before = (place - 1.0 - r.all_before) * other
    precision = (r.true_before + before + 1.0) / place
    gain = jnp.sum((hit_rate(r) * precision)[..., :k], axis=-1)
    reachable = denominator == 'reachable'
    most = jnp.minimum(r.num_true, k) if reachable else r.num_true
    return ratio(gain, most)

  return row_ranking_metric(
    f'map_at_{k}', values, direction='higher', undefined=undefined
  )


def reciprocal_rank(*, undefined: Undefined = 0) -> Metric:
  """One over the place of the first true label.

      max over true j of 1 / place of j

  Args:
    undefined: what a row without a true label counts; rax: 0.

  Returns:
    The metric `reciprocal_rank`, higher is better.

  References:
    Voorhees, The TREC-8 question answering track report, TREC 1999.
  """

  def values(r: Ranked) -> tuple[Array, Array]:
    place = places(r)
    # The chance that the label of a place is true if none before it was: the
    # true ones are still among those left of the tie.
    left = r.all_end - place + 1.0
    tied_true = r.true_end - r.true_before
    hit = jnp.where(left > tied_true, ratio(tied_true, left)[0], 1.0)
    hit = jnp.where(tied_true > 0, hit, 0.0)
    none = jnp.cumprod(1.0 - hit, axis=-1)
    none_before = jnp.concatenate(
      [jnp.ones_like(none[..., :1]), none[..., :-1]], axis=-1
    )
    value = jnp.sum(hit * none_before / place, axis=-1)
    return value, r.num_true > 0

  return row_ranking_metric(
    'reciprocal_rank', values, direction='higher', undefined=undefined
  )


def places(r: Ranked) -> Float[Array, '*batch items']:
  """1, 2, ... for every ranking."""
  iota = jax.lax.broadcasted_iota
  return 1.0 + iota(r.true.dtype, r.true.shape, r.true.ndim - 1)


def discounts(top: int) -> Float[np.ndarray, ' top']:
  """1 / log2(r + 1) for the first places r = 1, 2, ..."""
  return 1.0 / np.log2(np.arange(top) + 2.0)


def expected_hits(p: Predictions, k: int) -> Float[Array, ' batch']:
  """Expected number of true labels among the k of highest score."""
  hits = jnp.sum(hit_rate(row_ranked(p))[..., :k], axis=-1)
  return nan_where_any_nan(hits, given(p, 'scores'), known(p))


def check_k(name: str, k: int) -> None:
  if k < 1:
    raise ValueError(f'metric {name}: k is {k}, expected at least 1.')
