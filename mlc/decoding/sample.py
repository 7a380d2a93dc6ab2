"""Validation rows as decoders of the marginals learn from them."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mlc.base import Key
from mlc.decoding import cuts as cut
from mlc.decoding.cuts import Cuts, Ranking


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
  """Marginals of rows beside their labels, sorted once for all who ask.

  What is derived is made when it is first asked for, and belongs to the trace
  in which that happens.

  Attributes:
    p: P(y_j = 1 | h).
    y: 0.0 or 1.0; 0 where unknown.
    weight: of each row, 0 for padding; None when all are 1.
    known: whether the label is known; None when every label is.
    key: for resampling.
    original: the sample of which this is a resample.
  """

  p: Float[Array, 'rows labels']
  y: Float[Array, 'rows labels']
  weight: Float[Array, ' rows'] | None = None
  known: Bool[Array, 'rows labels'] | None = None
  key: Key | None = None
  original: 'Sample | None' = None

  @functools.cached_property
  def cuts(self) -> Cuts:
    """Of each label, over the rows of which it is known."""
    return self._cuts(self.counted)

  @functools.cached_property
  def cuts_of_all(self) -> Cuts:
    """Of each label, over all rows: what does not look at `y` or at counts."""
    if self.known is None:
      return self.cuts
    return self._cuts(self.row_weight[:, None])

  @functools.cached_property
  def pooled(self) -> Cuts:
    """Of all labels as if they were one."""
    return self.pool()

  def pool(self, *, ranked: bool = True) -> Cuts:
    """`pooled`, made anew."""
    p, y = self.p.reshape(-1, 1), self.y.reshape(-1, 1)
    weight = jnp.broadcast_to(self.counted, self.p.shape).reshape(-1, 1)
    if self.original is not None and ranked:
      ranking = self.original.pooled_ranking
      return cut.cuts_of_ranking(ranking, y.T, weight.T)
    return cut.cuts_of(p, y, weight, once=self._once)

  @functools.cached_property
  def bins(self) -> Cuts:
    """Of all labels as if they were one, where they part no bin."""
    return cut.bins_of(self.p, self.y, self.counted)

  @functools.cached_property
  def counted(self) -> Float[Array, 'rows #labels']:
    """Weight of each row for each label, 0 where it is unknown.

    For all labels at once, [rows, 1], when every label is known.
    """
    weight = self.row_weight[:, None]
    return weight if self.known is None else weight * self.known

  @functools.cached_property
  def num_positives(self) -> Float[Array, ' labels']:
    """Weight of the rows that have each label."""
    return self.cuts.positives[:, 0]

  @functools.cached_property
  def ranking(self) -> Ranking:
    return cut.ranking(self.p.T)

  @functools.cached_property
  def pooled_ranking(self) -> Ranking:
    return cut.ranking(self.p.reshape(1, -1))

  def rank(self) -> None:
    """Ranks the rows here and now, before a loop over resamples."""
    _ = self.ranking, self.pooled_ranking

  def drawn_again(self, key: Key) -> 'Sample':
    """As many rows that count, drawn from them with replacement."""
    there = self.row_weight > 0
    count = jnp.sum(there)
    # Row r of those that count stands where their running number is r + 1.
    number = jnp.cumsum(there)
    drawn = jax.random.randint(key, self.row_weight.shape, 0, count)
    row = jnp.searchsorted(number, drawn, side='right')
    once = (jnp.arange(len(row)) < count).astype(self.p.dtype)
    times = jnp.zeros_like(self.row_weight).at[row].add(once, mode='drop')
    return dataclasses.replace(
      self, weight=times * self.row_weight, key=None, original=self
    )

  @property
  def whole(self) -> Bool[Array, '']:
    """Whether every row counts a whole number of times."""
    return jnp.all(self.row_weight == jnp.round(self.row_weight))

  @property
  def row_weight(self) -> Float[Array, ' rows']:
    """`weight`, also where all are 1."""
    return jnp.ones(len(self.p)) if self.weight is None else self.weight

  @property
  def _once(self) -> Bool[Array, '']:
    if self.weight is None:
      return jnp.ones((), bool)
    return jnp.all((self.weight == 0.0) | (self.weight == 1.0))

  def _cuts(self, weight: Float[Array, 'rows #labels']) -> Cuts:
    if self.original is not None:
      return cut.cuts_of_ranking(self.original.ranking, self.y.T, weight.T)
    return cut.cuts_of(self.p, self.y, weight, once=self._once)
