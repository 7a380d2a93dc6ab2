"""Cutting the ranked labels of each example, whatever their probabilities."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mlc.base import Decoder
from mlc.decoding.marginals import of_marginals


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

  def learn(sample):
    # Of the known labels, scaled up to all.
    positives = sample.row_weight @ jnp.sum(sample.y, axis=1)
    rows = jnp.mean(jnp.sum(sample.counted, axis=0))
    usual = jnp.round(positives / jnp.maximum(rows, 1e-30))
    return {'k': jnp.clip(usual, 1, sample.p.shape[1])}

  return of_marginals(
    'rcut', lambda p, state: _rank(p) < state['k'], learn=learn
  )


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

  def rule(p, state):
    del state
    if p.shape[-1] == 1:
      return p > 0.5
    falling = -jnp.sort(-p, axis=-1)
    widest = jnp.argmax(falling[:, :-1] - falling[:, 1:], axis=-1)
    return _rank(p) <= widest[:, None]

  return of_marginals('mcut', rule)


def _rank(p: Float[Array, 'batch labels']) -> Int[Array, 'batch labels']:
  """How many labels stand before each, 0 for the likeliest."""
  return jnp.argsort(jnp.argsort(-p, axis=-1), axis=-1)
