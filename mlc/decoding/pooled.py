"""The best cut of all labels taken as one, without sorting them all.

A sort of all rows of all labels takes most of the time of all other fits
together. But the rows of each label are sorted already, and most cuts can be
ruled out by counting: so the rows are counted in narrow bins of probability,
each bin is given the most that a cut in it could be worth, and only the rows
between the first and the last bin that may hold the best cut are sorted.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from mlc.decoding import cuts as cut
from mlc.decoding.cuts import Chosen, Cuts
from mlc.decoding.sample import Sample

# (cuts of each label) -> what each cut is worth [labels, cuts].
Value = Callable[[Cuts], Array]
# (the cut above each bin, the cut below it) -> a cut, possible or not, that is
# worth no less than any in the bin.
Bound = Callable[[Cuts, Cuts], Cuts]

# Fewer rows in all are sorted, and no more are ever sorted at the end.
MOST_ROWS = 2**18


def positives_first(above: Cuts, below: Cuts) -> Cuts:
  """Bounds what a further true positive never lowers, nor a false one raises.

  No cut of a bin is worth more than to take its positives and nothing else.
  """
  gained = below.true_positives - above.true_positives
  return below._replace(predicted=above.predicted + gained)


def nearest_count(above: Cuts, below: Cuts) -> Cuts:
  """Bounds the value of predicting as many as there are positives."""
  nearest = jnp.clip(above.positives, above.predicted, below.predicted)
  return below._replace(predicted=nearest)


def best_pooled(
  sample: Sample,
  value: Value,
  bound: Bound = positives_first,
  *,
  most_rows: int = MOST_ROWS,
) -> Chosen:
  """The cut of largest value of all labels pooled.

  Args:
    sample: the rows.
    value: cuts -> what they are worth; it must not ask for their score.
    bound: what no cut of a bin is worth more than.
    most_rows: rows sorted at most where not all are.

  Returns:
    It, [1]; of equals the one of highest threshold.
  """
  if sample.p.size <= most_rows:
    return cut.choose(sample.pooled, value(sample.pooled))

  def search_all():
    # The rows are sorted here, and only here: not where nobody asks.
    cuts = sample.pool(ranked=False)
    return cut.choose(cuts, value(cuts))

  first, last = _range(sample.bins, value, bound)
  most, least = cut.bin_limits(first)[0], cut.bin_limits(last)[1]
  start = cut.count_rows(sample.cuts, lambda p: p > most)[:, 0]
  stop = cut.count_rows(sample.cuts, lambda p: p >= least)[:, 0]
  few = jnp.sum((stop - start).astype(most.dtype)) <= most_rows
  return jax.lax.cond(
    few & sample.whole,
    lambda: _search(sample, first, start, stop, value, most_rows),
    search_all,
  )


def _range(
  bins: Cuts, value: Value, bound: Bound
) -> tuple[Int[Array, ''], Int[Array, '']]:
  """The first and the last bin that may hold the best cut.

  Or rather the next ones with rows on both sides, which a threshold between
  two rows has to know.
  """
  above, below = (
    bins._replace(
      predicted=bins.predicted[:, part],
      true_positives=bins.true_positives[:, part],
    )
    for part in (slice(-1), slice(1, None))
  )
  # The cuts between the bins are possible, and known.
  reached = jnp.max(value(above))
  # What rounding may hide.
  least = reached - 1e-6 * jnp.abs(reached)
  filled = (below.predicted > above.predicted)[0]
  number = jnp.arange(len(filled))
  may = filled & (value(bound(above, below)) >= least)[0]
  may |= (number == 0) & (value(above)[0, 0] >= least)
  first = jnp.min(jnp.where(may, number, len(number) - 1))
  last = jnp.max(jnp.where(may, number, 0))
  first = jnp.max(jnp.where(filled & (number < first), number, 0))
  last = jnp.min(jnp.where(filled & (number > last), number, len(number) - 1))
  return first, last


def _search(
  sample: Sample,
  first: Int[Array, ''],
  start: Int[Array, ' labels'],
  stop: Int[Array, ' labels'],
  value: Value,
  most_rows: int,
) -> Chosen:
  """The best of the cuts between row `start` and row `stop` of each label."""
  size = (stop - start).astype(sample.p.dtype)
  offset = (cut.running_sum(size) - size).astype(jnp.int32)
  slot = jnp.arange(most_rows)
  # The label of a slot: how many labels begin before or at it.
  begins = jnp.zeros(most_rows).at[offset].add(1.0, mode='drop')
  label = cut.running_sum(begins).astype(jnp.int32) - 1
  row = start[label] + slot - offset[label]
  there = slot < jnp.sum(stop - start)
  ranked = sample.cuts

  def weight(sums):
    found = sums[label, row + 1] - sums[label, row]
    return jnp.where(there, found, 0.0)[:, None]

  predicted, positive = weight(ranked.predicted), weight(ranked.true_positives)
  rows = ranked.p[label, row + 1][:, None]
  cuts = cut.cuts_of(rows, (positive > 0).astype(rows.dtype), predicted)
  bins = sample.bins
  cuts = cuts._replace(
    predicted=cuts.predicted + bins.predicted[0, first],
    true_positives=cuts.true_positives + bins.true_positives[0, first],
    positives=bins.positives,
    total=bins.total,
  )
  return cut.choose(cuts, value(cuts))
