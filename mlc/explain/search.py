"""What a better search finds: greedy against beams against the mode."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc.base import FROZEN, Head, Params, require
from mlc.explain.propagation import rank_of
from mlc.explain.rows import Count, mean


class Search(NamedTuple):
  """One way to look for the likeliest label vector, against `mode`.

  Attributes:
    equal: share of rows with the same decision as `mode`.
    gap: mean of log p(mode) - log p(decision), nats.
    subset_accuracy: share of the rows known in full with the decision right.
  """

  equal: Float[Array, '*runs']
  gap: Float[Array, '*runs']
  subset_accuracy: Float[Array, '*runs']


def searches(
  head: Head, params: Params, *, widths: Sequence[int] = (2, 5, 10)
) -> Count:
  """Greedy and beam decisions against those of `mode`.

  How good `mode` is itself, `head.exactness` says: up to
  `distribution.MAX_TABLE_LABELS` labels it is exact in most heads.

  Args:
    head: with `greedy`, `mode` and `log_prob`, and for beams `logits`.
    params: of the head; no beam is tried where they have no label order.
    widths: of the beams.

  Returns:
    What counts 'greedy', 'beam_<width>' and 'mode' -> `Search` in a block of
    rows, for `rows.over_rows`.
  """
  capabilities = ('greedy', 'mode', 'log_prob')
  greedy, mode, log_prob = (require(head, c, 'searches') for c in capabilities)
  rank = rank_of(params)
  beams = () if rank is None or head.logits is None else tuple(widths)

  def count(h, y, known, weight):
    best = mode(params, h)
    found = {
      'greedy': greedy(params, h),
      **{f'beam_{k}': beam(head, params, h, width=k) for k in beams},
      'mode': best,
    }
    top = log_prob(params, h, best)
    in_full = jnp.where(jnp.all(known > 0, axis=-1), weight, 0.0)
    return {
      name: Search(
        mean(jnp.all(decision == best, axis=-1), weight),
        mean(top - log_prob(params, h, decision), weight),
        mean(jnp.all(decision == y, axis=-1), in_full),
      )
      for name, decision in found.items()
    }

  return count


def beam(
  head: Head, params: Params, h: Float[Array, 'batch *dim'], *, width: int
) -> Float[Array, 'batch labels']:
  """The likeliest label vector among `width` prefixes, in any chain.

  A step asks `logits` for all labels and uses one, so that a head with a beam
  of its own is faster. Labels behind a prefix are 0, which it does not hear.

  References:
    Kumar, Vembu, Menon, Elkan, Beam search algorithms for multilabel learning,
    Machine Learning 92, 2013.
  """
  logits = require(head, 'logits', 'beam')

  def extend(carry, j):
    y, score = carry
    z = jax.vmap(lambda y: logits(params, h, y), 1, 1)(y)[..., j]
    off, on = jax.nn.log_sigmoid(-z), jax.nn.log_sigmoid(z)
    both = jnp.concatenate([score + off, score + on], axis=1)
    score, came = jax.lax.top_k(both, width)
    y = jnp.take_along_axis(y, (came % width)[..., None], axis=1)
    return (y.at[..., j].set((came >= width).astype(y.dtype)), score), None

  y = jnp.zeros((len(h), width, head.num_labels), h.dtype)
  first = jnp.where(jnp.arange(width) == 0, 0.0, -jnp.inf).astype(h.dtype)
  score = jnp.broadcast_to(first[None, :], (len(h), width))
  order = jnp.argsort(params[FROZEN]['rank'])
  (y, _), _ = jax.lax.scan(extend, (y, score), order)
  return y[:, 0]
