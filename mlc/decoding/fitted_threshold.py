"""Thresholds of the marginals that validation data choose."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc.base import Decoder
from mlc.decoding import cuts as cut
from mlc.decoding.cuts import Cuts
from mlc.decoding.marginals import of_marginals

# (cuts of each label) -> what each cut is worth [labels, cuts].
Value = Callable[[Cuts], Array]


def tuned_f(beta: float = 1.0, *, min_positives: int = 1) -> Decoder:
  """Each label its own threshold, of largest F-beta on the validation data.

      d_j = 1 iff P(y_j = 1 | h) > t_j,  t_j = argmax_t F-beta of label j

  The thresholds of largest macro F-beta there: half way between two
  neighbouring probabilities, of equals the highest.

  Args:
    beta: weight of recall beside precision, > 0.
    min_positives: a label with fewer positives in the validation data takes
      the threshold that is best for all labels pooled.

  Returns:
    The decoder, named `tuned_f1`. It needs `marginals`; its state is
    {'threshold': [L], 'pooled': [L]}, the latter true where it fell back.
  """
  _check_beta('tuned_f', beta)
  return _per_label(
    f'tuned_f{beta:g}', lambda cuts: cut.f_value(cuts, beta), min_positives
  )


def youden(*, min_positives: int = 1) -> Decoder:
  """Each label its own threshold, of largest Youden's J on validation data.

      t_j = argmax_t (true positive rate - false positive rate)

  It weighs errors on positives and on negatives as if both were as many: on
  rare labels it predicts far more positives than there are.

  Args:
    min_positives: as for `tuned_f`.

  Returns:
    The decoder, named `youden`; see `tuned_f`.

  References:
    Youden, Index for rating diagnostic tests, Cancer 3, 1950.
  """
  return _per_label('youden', cut.youden_value, min_positives)


def pcut(*, min_positives: int = 1) -> Decoder:
  """Each label as often as it occurs: cardinality matched on validation data.

      t_j: the number of rows above it is nearest to the number of positives

  Args:
    min_positives: as for `tuned_f`.

  Returns:
    The decoder, named `pcut`; see `tuned_f`.

  References:
    Yang, A study on thresholding strategies for text categorization, SIGIR
    2001 (PCut). Read, Pfahringer, Holmes, Frank, Classifier chains for
    multi-label classification, Machine Learning 85, 2011, equation 1.
  """
  return _per_label('pcut', cut.cardinality_value, min_positives)


def otsu() -> Decoder:
  """Each label cut where its probabilities fall into two groups.

      t_j = argmax_t of the variance between the rows above and below t

  The truth of the validation data is not read, only their probabilities.

  Returns:
    The decoder, named `otsu`. It needs `marginals`; its state is
    {'threshold': [L], 'pooled': [L]}.

  References:
    Otsu, A threshold selection method from gray-level histograms, IEEE
    Transactions on Systems, Man, and Cybernetics 9, 1979.
  """

  def thresholds(p, y, weight, known):
    del known
    found = cut.cuts_of(p, y, weight)
    return cut.best_cut(found, cut.otsu_value(found)), jnp.zeros(len(p), bool)

  return _fitted('otsu', thresholds)


def pooled_f(beta: float = 1.0) -> Decoder:
  """One threshold for all labels, of largest micro F-beta on validation data.

  Args:
    beta: weight of recall beside precision, > 0.

  Returns:
    The decoder, named `pooled_f1`; see `tuned_f`.
  """
  _check_beta('pooled_f', beta)

  def thresholds(p, y, weight, known):
    one = _pooled(p, y, weight * known, lambda cuts: cut.f_value(cuts, beta))
    return jnp.broadcast_to(one, len(p)), jnp.zeros(len(p), bool)

  return _fitted(f'pooled_f{beta:g}', thresholds)


def micro_f(beta: float = 1.0) -> Decoder:
  """Thresholds of all labels that together have the largest micro F-beta.

      (t_1 .. t_L) = argmax (1 + b^2) sum_j tp_j / sum_j (b^2 pos_j + pred_j)

  Found exactly, see `cuts.micro_f_value`: not one threshold for all, and not
  the best F of each label.

  Args:
    beta: weight of recall beside precision, > 0.

  Returns:
    The decoder, named `micro_f1`; see `tuned_f`.
  """
  _check_beta('micro_f', beta)

  def thresholds(p, y, weight, known):
    found = cut.cuts_of(p, y, weight * known)
    best = cut.best_cut(found, cut.micro_f_value(found, beta))
    return best, jnp.zeros(len(p), bool)

  return _fitted(f'micro_f{beta:g}', thresholds)


def _per_label(name: str, value: Value, min_positives: int) -> Decoder:
  if min_positives < 1:
    raise ValueError(
      f'{name}: min_positives is {min_positives}, expected at least 1: without '
      'a positive there is nothing to fit.'
    )

  def thresholds(p, y, weight, known):
    counted = weight * known
    found = cut.cuts_of(p, y, counted)
    own = cut.best_cut(found, value(found))
    rare = jnp.sum((counted > 0) & (y > 0), axis=-1) < min_positives
    return jnp.where(rare, _pooled(p, y, counted, value), own), rare

  return _fitted(name, thresholds)


def _pooled(p, y, weight, value: Value) -> Float[Array, ' one']:
  """The threshold of all labels taken as one, 0.5 without any positive."""
  flat = cut.cuts_of(*(part.reshape(1, -1) for part in (p, y, weight)))
  best = cut.best_cut(flat, value(flat))
  return jnp.where(flat.positives[:, 0] > 0, best, 0.5)


def _fitted(name: str, thresholds: Callable[..., Any]) -> Decoder:
  """A decoder from (p, y, weight, known), each [L,N], to thresholds [L]."""

  def learn(p, y, weight, known):
    threshold, pooled = thresholds(p.T, y.T, weight.T, known.T)
    return {'threshold': threshold, 'pooled': pooled}

  return of_marginals(
    name,
    lambda p, state: p > state['threshold'][None, :],
    learn=learn,
    gain=lambda p, state: p - state['threshold'][None, :],
  )


def _check_beta(name, beta):
  if not beta > 0:
    raise ValueError(f'{name}: beta is {beta}, expected a number > 0.')
