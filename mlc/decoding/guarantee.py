r"""Thresholds that keep a promise about precision or recall.

Both rest on one table: how many of n draws have to succeed before a rate of
`target` is certain enough. If S ~ Binomial(n, r), then for every r < target

    P(S >= needed(n)) <= delta,   needed(n) = min{s: P(Bin(n, target) >= s)
                                                   <= delta},

so that "S >= needed(n)" proves r >= target at level delta. It is the test
whose inversion is the lower bound of Clopper and Pearson.

The rows of the validation sample are taken to be independent draws from where
later rows come from, given the fitted model. Rows of unknown label are left
out: the promise holds for them as far as labels are unknown at random. Weights
count as rows: it holds where they are 0 or 1.

References:
  Clopper, Pearson, The use of confidence or fiducial limits illustrated in the
  case of the binomial, Biometrika 26, 1934.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mlc.base import Decoder
from mlc.decoding import cuts as cut
from mlc.decoding.cuts import Cuts
from mlc.decoding.marginals import by_threshold
from mlc.decoding.sample import Sample
from mlc.decoding.stability import with_intervals

# Neighbouring candidates of `target_precision` differ by this share in size.
_RATIO = 1.2
# No probability exceeds the one, and all exceed the other.
NEVER, ALWAYS = 1.0, -1.0


def target_precision(
  precision: float = 0.8,
  *,
  delta: float = 0.1,
  monotone: bool = False,
  bootstrap: int = 0,
) -> Decoder:
  """As many rows of each label as keep a precision, promised to be kept.

      P( P(y_j = 1 | p_j > t_j) >= precision ) >= 1 - delta  for each label j

  over the draw of the validation rows. A label of which no threshold can
  promise it is never predicted.

  Theorem. Fix ranks k_1 < .. < k_M that depend on the number of rows alone.
  Cut i predicts the k_i likeliest validation rows, and later rows that are
  likelier than the next: p > T_i = p_(k_i + 1). Given T_i, the rows above it
  are independent draws from p > T_i, hence their positives Binomial(k_i,
  precision of T_i), and by Bonferroni no cut that passes the test at level
  delta / M has a lower precision, with probability 1 - delta. The largest that
  passes is taken. With ties fewer than k_i rows are above T_i, and the same
  holds given their number. The ranks grow by a fifth, from the least that can
  pass.

  With `monotone` every cut is tested at level delta, from the least rank that
  can pass down to the first failure (a fixed sequence). Theorem: the promise
  holds where P(y_j = 1 | p_j) does not fall as p_j rises. Then precision falls
  as T does; let U be the scores above the point where it falls below the
  target, and N the validation rows in U and at that point. The first cut
  tested that breaks the promise has as positives those of these N rows, which
  are Binomial of rate <= target given N, and those of rows further down, each
  less likely than the target: it passes with probability <= delta, and
  whatever passes later counts only if it did.

  Args:
    precision: to be reached, in (0, 1).
    delta: how often the promise may fail for a label, in (0, 1); delta / L to
      have it kept for all labels at once.
    monotone: take it that a label is the likelier the higher its probability,
      and find larger cuts.
    bootstrap: as for `tuned_f`.

  Returns:
    The decoder, named `target_precision_<precision>`. It needs `marginals`; its
    state is {'threshold': [L], 'never': [L]}, the latter true for labels that
    are never predicted; see `tuned_f` for the bootstrap.

  References:
    Angelopoulos, Bates, Candes, Jordan, Lei, Learn then test: calibrating
    predictive algorithms to achieve risk control, Annals of Applied Statistics
    19, 2025 (fixed-sequence testing, Bonferroni).
  """
  name = f'target_precision_{precision:g}'
  _check(name, 'precision', precision, delta)

  def thresholds(sample: Sample) -> dict[str, Array]:
    cuts, num_rows = sample.cuts, len(sample.p)
    if monotone:
      least = fewest(precision, delta)
      table = needed(num_rows, precision, delta)
      # Smaller cuts cannot pass, and are not tested.
      table[:least] = 0
      certain = _until_failure(cuts, _proved(cuts, table))
      certain &= cuts.predicted >= least
      chosen = cut.choose(cuts, jnp.where(certain, cuts.predicted, -jnp.inf))
      below, never = chosen.below, chosen.value == -jnp.inf
    else:
      ranks = candidate_ranks(num_rows, precision, delta)
      table = needed(num_rows, precision, delta / max(len(ranks), 1))
      below, certain = _of_ranks(cuts, ranks, table)
      never = ~jnp.any(certain, axis=-1)
      # Thresholds fall with the rank: the lowest that is certain.
      below = jnp.min(jnp.where(certain, below, NEVER), axis=-1, initial=NEVER)
    return {'threshold': jnp.where(never, NEVER, below), 'never': never}

  return by_threshold(name, with_intervals(name, thresholds, bootstrap))


def target_recall(
  recall: float = 0.8, *, delta: float = 0.1, bootstrap: int = 0
) -> Decoder:
  """As few rows of each label as keep a recall, promised to be kept.

      P( P(p_j > t_j | y_j = 1) >= recall ) >= 1 - delta  for each label j

  over the draw of the validation rows. A label with too few positives to
  promise it at any threshold is always predicted, which has a recall of 1.

  Theorem (Wilks). The positives' own probabilities s_(1) <= .. <= s_(n) are
  independent draws, so that P(p > s | y = 1) at s = s_(r), r fixed by n, is
  at least a Beta(n - r + 1, r) variable. The largest r is taken for which it
  reaches the target with probability 1 - delta, that is where n - r + 1 of n
  prove it; the threshold lies just below s_(r). No correction is needed, as
  r depends on the number of positives alone.

  Args:
    recall: to be reached, in (0, 1).
    delta: how often the promise may fail for a label, in (0, 1); delta / L to
      have it kept for all labels at once.
    bootstrap: as for `tuned_f`.

  Returns:
    The decoder, named `target_recall_<recall>`. It needs `marginals`; its state
    is {'threshold': [L], 'always': [L]}, the latter true for labels that are
    always predicted; see `tuned_f` for the bootstrap.

  References:
    Wilks, Determination of sample sizes for setting tolerance limits, Annals
    of Mathematical Statistics 12, 1941.
  """
  name = f'target_recall_{recall:g}'
  _check(name, 'recall', recall, delta)

  def thresholds(sample: Sample) -> dict[str, Array]:
    cuts = sample.cuts
    enough = _of_count(needed(len(sample.p), recall, delta), cuts.positives)
    certain = cuts.true_positives >= enough
    value = jnp.where(certain, -cuts.predicted, -jnp.inf)
    always = cut.choose(cuts, value).value == -jnp.inf
    own = cut.best_cut(cuts, value)
    return {'threshold': jnp.where(always, ALWAYS, own), 'always': always}

  return by_threshold(name, with_intervals(name, thresholds, bootstrap))


def needed(
  num_rows: int, target: float, delta: float
) -> Int[np.ndarray, ' counts']:
  """For n = 0..num_rows the successes that prove a rate of `target`.

  Returns:
    The least s with P(Bin(n, target) >= s) <= delta; n + 1 where there is none.
  """
  # Takes half a second, of which runs with other decoders have no use.
  import scipy.stats

  n = np.arange(num_rows + 1)
  # The survival function is P(> s); its inverse the least s where <= delta.
  return scipy.stats.binom.isf(delta, n, target).astype(np.int32) + 1


def fewest(target: float, delta: float) -> int:
  """The least n of which n successes prove a rate of `target`."""
  return math.ceil(math.log(delta) / math.log(target) - 1e-9)


def candidate_ranks(
  num_rows: int, target: float, delta: float
) -> Int[np.ndarray, ' ranks']:
  """Ranks that grow by a fifth, from the least that delta / M can prove."""
  ranks = np.zeros(0, np.int32)
  for tests in range(1, num_rows + 2):
    first = fewest(target, delta / tests)
    steps = np.arange(math.log(num_rows + 1) / math.log(_RATIO) + 1)
    grown = np.ceil(first * _RATIO**steps).astype(np.int32)
    ranks = np.unique(grown[grown <= num_rows])
    if len(ranks) <= tests:
      break
  return ranks


def _of_ranks(
  cuts: Cuts, ranks: Int[np.ndarray, ' ranks'], table: np.ndarray
) -> tuple[Float[Array, 'labels ranks'], Bool[Array, 'labels ranks']]:
  """The probability of the row after each rank, and whether it is proved."""
  asked = jnp.asarray(ranks, cuts.p.dtype)
  after = jax.vmap(
    lambda predicted: jnp.searchsorted(predicted, asked, side='right')
  )(cuts.predicted)
  rows = cuts.p.shape[-1]
  at = lambda of, index: jnp.take_along_axis(of, index, axis=-1)
  below = at(cuts.p, jnp.minimum(after, rows - 1))
  below = jnp.where(after < rows, below, 0.0)
  # Of equal probabilities that a rank would part, none is above.
  last = cut.count_rows(cuts, lambda p: p > below, len(ranks))
  above = cuts._replace(
    predicted=at(cuts.predicted, last),
    true_positives=at(cuts.true_positives, last),
  )
  return below, _proved(above, table) & (asked[None, :] <= cuts.total)


def _proved(cuts: Cuts, table: Int[np.ndarray, ' counts']) -> Array:
  """Where a cut has as many positives as its size asks."""
  return cuts.true_positives >= _of_count(table, cuts.predicted)


def _of_count(table: Int[np.ndarray, ' counts'], count: Array) -> Array:
  """The entries of the table; of more rows than there are none is proved."""
  none = np.iinfo(np.int32).max
  return (
    jnp.asarray(table, jnp.int32)
    .at[count.astype(jnp.int32)]
    .get(mode='fill', fill_value=none)
  )


def _until_failure(cuts: Cuts, passed: Array) -> Array:
  """Where a cut and all possible ones above it passed."""
  failed = cut.possible(cuts, jnp.where(passed, 0.0, 1.0)) > 0
  index = jnp.arange(passed.shape[-1])[None, :]
  first = jnp.min(
    jnp.where(failed, index, passed.shape[-1]), axis=-1, keepdims=True
  )
  return index < first


def _check(name: str, what: str, target: float, delta: float) -> None:
  for label, value in ((what, target), ('delta', delta)):
    if not 0.0 < value < 1.0:
      raise ValueError(
        f'{name}: {label} is {value}, expected a number between 0 and 1.'
      )
