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
    return self._cuts(jnp.broadcast_to(self._of_row[None, :], self.p.T.shape))

  @functools.cached_property
  def pooled(self) -> Cuts:
    """Of all labels as if they were one."""
    return self.pool()

  def pool(self, *, ranked: bool = True) -> Cuts:
    """`pooled`, made anew."""
    p, y, weight = (
      part.reshape(1, -1) for part in (self.p.T, self.y.T, self.counted)
    )
    if self.original is not None and ranked:
      return cut.cuts_of_ranking(self.original.pooled_ranking, y, weight)
    return cut.cuts_of(p, y, weight, once=self._once)

  @functools.cached_property
  def bins(self) -> Cuts:
    """Of all labels as if they were one, where they part no bin."""
    return cut.bins_of(self.p, self.y, self.counted.T)

  @functools.cached_property
  def counted(self) -> Float[Array, 'labels rows']:
    """Weight of each row for each label, 0 where it is unknown."""
    weight = jnp.broadcast_to(self._of_row[None, :], self.p.T.shape)
    return weight if self.known is None else weight * self.known.T

  @functools.cached_property
  def num_positives(self) -> Float[Array, ' labels']:
    """Weight of the rows that have each label."""
    return jnp.sum(jnp.where(self.y.T > 0, self.counted, 0.0), axis=-1)

  @functools.cached_property
  def ranking(self) -> Ranking:
    return cut.ranking(self.p.T)

  @functools.cached_property
  def pooled_ranking(self) -> Ranking:
    return cut.ranking(self.p.T.reshape(1, -1))

  def rank(self) -> None:
    """Ranks the rows here and now, before a loop over resamples."""
    _ = self.ranking, self.pooled_ranking

  def drawn_again(self, key: Key) -> 'Sample':
    """As many rows that count, drawn from them with replacement."""
    there = self._of_row > 0
    count = jnp.sum(there)
    # Row r of those that count stands where their running number is r + 1.
    number = jnp.cumsum(there)
    drawn = jax.random.randint(key, self._of_row.shape, 0, count)
    row = jnp.searchsorted(number, drawn, side='right')
    once = (jnp.arange(len(row)) < count).astype(self.p.dtype)
    times = jnp.zeros_like(self._of_row).at[row].add(once, mode='drop')
    return dataclasses.replace(
      self, weight=times * self._of_row, key=None, original=self
    )

  @property
  def whole(self) -> Bool[Array, '']:
    """Whether every row counts a whole number of times."""
    return jnp.all(self._of_row == jnp.round(self._of_row))

  @property
  def _of_row(self) -> Float[Array, ' rows']:
    return jnp.ones(len(self.p)) if self.weight is None else self.weight

  @property
  def _once(self) -> Bool[Array, '']:
    if self.weight is None:
      return jnp.ones((), bool)
    return jnp.all((self.weight == 0.0) | (self.weight == 1.0))

  def _cuts(self, weight: Float[Array, 'labels rows']) -> Cuts:
    if self.original is not None:
      return cut.cuts_of_ranking(self.original.ranking, self.y.T, weight)
    return cut.cuts_of(self.p.T, self.y.T, weight, once=self._once)
