"""Thresholds of the marginals that validation data choose."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc.base import Decoder
from mlc.decoding import cuts as cut
from mlc.decoding.marginals import by_threshold
from mlc.decoding.pooled import (
  Bound,
  Value,
  best_pooled,
  nearest_count,
  positives_first,
)
from mlc.decoding.sample import Sample
from mlc.decoding.stability import with_intervals


def tuned_f(
  beta: float = 1.0, *, min_positives: int = 1, bootstrap: int = 0
) -> Decoder:
  """Each label its own threshold, of largest F-beta on the validation data.

      d_j = 1 iff P(y_j = 1 | h) > t_j,  t_j = argmax_t F-beta of label j

  The thresholds of largest macro F-beta there: half way between two
  neighbouring probabilities, of equals the highest.

  Args:
    beta: weight of recall beside precision, > 0.
    min_positives: a label with fewer positives in the validation data takes
      the threshold that is best for all labels pooled.
    bootstrap: resamples of the validation rows between whose thresholds a 95 %
      interval is drawn, at least 20; 0 for none.

  Returns:
    The decoder, named `tuned_f1`. It needs `marginals`; its state is
    {'threshold': [L], 'pooled': [L]}, the latter true where it fell back, and
    with a bootstrap {'threshold_low': [L], 'threshold_high': [L]}.
  """
  _check_beta('tuned_f', beta)
  return _per_label(
    f'tuned_f{beta:g}',
    lambda cuts: cut.f_value(cuts, beta),
    min_positives,
    bootstrap,
  )


def youden(*, min_positives: int = 1, bootstrap: int = 0) -> Decoder:
  """Each label its own threshold, of largest Youden's J on validation data.

      t_j = argmax_t (true positive rate - false positive rate)

  It weighs errors on positives and on negatives as if both were as many: on
  rare labels it predicts far more positives than there are.

  Args:
    min_positives: as for `tuned_f`.
    bootstrap: as for `tuned_f`.

  Returns:
    The decoder, named `youden`; see `tuned_f`.

  References:
    Youden, Index for rating diagnostic tests, Cancer 3, 1950.
  """
  return _per_label('youden', cut.youden_value, min_positives, bootstrap)


def pcut(*, min_positives: int = 1, bootstrap: int = 0) -> Decoder:
  """Each label as often as it occurs: cardinality matched on validation data.

      t_j: the number of rows above it is nearest to the number of positives

  Args:
    min_positives: as for `tuned_f`.
    bootstrap: as for `tuned_f`.

  Returns:
    The decoder, named `pcut`; see `tuned_f`.

  References:
    Yang, A study on thresholding strategies for text categorization, SIGIR
    2001 (PCut). Read, Pfahringer, Holmes, Frank, Classifier chains for
    multi-label classification, Machine Learning 85, 2011, equation 1.
  """
  return _per_label(
    'pcut', cut.cardinality_value, min_positives, bootstrap, nearest_count
  )


def otsu(*, bootstrap: int = 0) -> Decoder:
  """Each label cut where its probabilities fall into two groups.

      t_j = argmax_t of the variance between the rows above and below t

  The truth of the validation data is not read, only their probabilities.

  Args:
    bootstrap: as for `tuned_f`.

  Returns:
    The decoder, named `otsu`. It needs `marginals`; see `tuned_f`.

  References:
    Otsu, A threshold selection method from gray-level histograms, IEEE
    Transactions on Systems, Man, and Cybernetics 9, 1979.
  """

  def thresholds(sample):
    cuts = sample.cuts_of_all
    return _own(cut.best_cut(cuts, cut.otsu_value(cuts)))

  return _fitted('otsu', thresholds, bootstrap)


def pooled_f(beta: float = 1.0, *, bootstrap: int = 0) -> Decoder:
  """One threshold for all labels, of largest micro F-beta on validation data.

  Args:
    beta: weight of recall beside precision, > 0.
    bootstrap: as for `tuned_f`.

  Returns:
    The decoder, named `pooled_f1`; see `tuned_f`.
  """
  _check_beta('pooled_f', beta)

  def thresholds(sample):
    one = _pooled(sample, lambda cuts: cut.f_value(cuts, beta))
    return _own(jnp.broadcast_to(one, sample.p.shape[1:]))

  return _fitted(f'pooled_f{beta:g}', thresholds, bootstrap)


def micro_f(beta: float = 1.0, *, bootstrap: int = 0) -> Decoder:
  """Thresholds of all labels that together have the largest micro F-beta.

      (t_1 .. t_L) = argmax (1 + b^2) sum_j tp_j / sum_j (b^2 pos_j + pred_j)

  Found exactly, see `cuts.micro_f_value`: not one threshold for all, and not
  the best F of each label.

  Args:
    beta: weight of recall beside precision, > 0.
    bootstrap: as for `tuned_f`.

  Returns:
    The decoder, named `micro_f1`; see `tuned_f`.
  """
  _check_beta('micro_f', beta)

  def thresholds(sample):
    cuts = sample.cuts
    return _own(cut.best_cut(cuts, cut.micro_f_value(cuts, beta)))

  return _fitted(f'micro_f{beta:g}', thresholds, bootstrap)


def _per_label(
  name: str,
  value: Value,
  min_positives: int,
  bootstrap: int,
  bound: Bound = positives_first,
) -> Decoder:
  if min_positives < 1:
    raise ValueError(
      f'{name}: min_positives is {min_positives}, expected at least 1: without '
      'a positive there is nothing to fit.'
    )

  def thresholds(sample):
    own = cut.best_cut(sample.cuts, value(sample.cuts))
    rare = sample.num_positives < min_positives
    pooled = _pooled(sample, value, bound)
    return {'threshold': jnp.where(rare, pooled, own), 'pooled': rare}

  return _fitted(name, thresholds, bootstrap)


def _pooled(
  sample: Sample, value: Value, bound: Bound = positives_first
) -> Float[Array, ' one']:
  """The threshold of all labels taken as one, 0.5 without any positive."""
  best = cut.threshold(best_pooled(sample, value, bound))
  return jnp.where(jnp.any(sample.num_positives > 0), best, 0.5)


def _own(threshold: Float[Array, ' labels']) -> dict[str, Array]:
  """The state of a rule that never falls back."""
  return {'threshold': threshold, 'pooled': jnp.zeros(threshold.shape, bool)}


def _fitted(
  name: str, thresholds: Callable[[Sample], Any], bootstrap: int
) -> Decoder:
  return by_threshold(name, with_intervals(name, thresholds, bootstrap))


def _check_beta(name, beta):
  if not beta > 0:
    raise ValueError(f'{name}: beta is {beta}, expected a number > 0.')
