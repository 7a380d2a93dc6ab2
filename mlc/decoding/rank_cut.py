"""Cutting the ranked labels of each example, whatever their probabilities."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mlc.base import Decoder, Exactness, Head, Key, Params, require
from mlc.decoding import fit as fitting


def rcut() -> Decoder:
  """The same number of labels for every example: the usual number of labels.

      k = the rounded mean number of labels of the validation rows, at least 1

  `top_k` with a k that the data choose.

  Returns:
    The decoder, named `rcut`. It needs `marginals`; its state is {'k': []}.
    Of equal marginals the label with the lowest index wins.

  References:
    Yang, A study on thresholding strategies for text categorization, SIGIR
    2001.
  """

  def fit(
    head: Head,
    params: Params,
    h: Float[Array, 'batch *dim'],
    y: Float[Array, 'batch labels'],
    *,
    where: Bool[Array, 'batch labels'] | None = None,
    weight: Float[Array, ' batch'] | None = None,
    key: Key | None = None,
  ) -> dict[str, Array]:
    del head, params, h, key
    fitting.need_rows('rcut', y)
    known = jnp.ones_like(y) if where is None else where.astype(y.dtype)
    if weight is not None:
      known = known * weight[:, None]
    # Of the known labels, scaled up to all.
    density = jnp.sum(known * y) / jnp.maximum(jnp.sum(known), 1e-30)
    return {'k': jnp.clip(jnp.round(density * y.shape[1]), 1, y.shape[1])}

  def decide(
    head: Head,
    params: Params,
    h: Float[Array, 'batch *dim'],
    state: Any,
    *,
    key: Key | None = None,
  ) -> Float[Array, 'batch labels']:
    p = require(head, 'marginals', 'decoder rcut')(params, h, key=key)
    rank = jnp.argsort(jnp.argsort(-p, axis=-1), axis=-1)
    return (rank < state['k']).astype(p.dtype)

  return Decoder('rcut', fit, decide, _exactness('rcut'))


def mcut() -> Decoder:
  """The labels above the widest gap between neighbouring marginals.

      d_(1..k) = 1,  k = argmax_k (p_(k) - p_(k+1)), k = 1 .. L - 1

  Nothing is fitted. It always predicts at least one label and never all, with
  one label as with any other number: a single label is on where p > 0.5.

  Returns:
    The decoder, named `mcut`. It needs `marginals`. Of equal gaps the one
    with fewer labels above it counts.

  References:
    Largeron, Moulin, Gery, MCut: a thresholding strategy for multi-label
    classification, IDA 2012.
  """

  def decide(
    head: Head,
    params: Params,
    h: Float[Array, 'batch *dim'],
    state: tuple[()] = (),
    *,
    key: Key | None = None,
  ) -> Float[Array, 'batch labels']:
    del state
    p = require(head, 'marginals', 'decoder mcut')(params, h, key=key)
    if p.shape[-1] == 1:
      return (p > 0.5).astype(p.dtype)
    falling = -jnp.sort(-p, axis=-1)
    widest = jnp.argmax(falling[:, :-1] - falling[:, 1:], axis=-1)[:, None]
    rank = jnp.argsort(jnp.argsort(-p, axis=-1), axis=-1)
    return (rank <= widest).astype(p.dtype)

  return Decoder('mcut', fitting.nothing, decide, _exactness('mcut'))


def _exactness(name: str):
  def exactness(head: Head) -> Exactness:
    require(head, 'marginals', f'decoder {name}')
    return head.exactness['marginals']

  return exactness
