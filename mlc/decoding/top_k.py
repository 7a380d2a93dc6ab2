"""A decision of a given size."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc.base import Decoder, Exactness, Head, Key, Params, require
from mlc.decoding import fit


def top_k(k: int) -> Decoder:
  """The k labels of largest marginal probability, whatever these are.

      d = argmax over |d| = k of sum_j d_j P(y_j = 1 | h)

  Of all decisions with k labels it has the largest expected precision, that is
  sum_j d_j P(y_j = 1 | h) / k, and the smallest expected Hamming loss: both
  are linear in the marginals, which suffice whatever the dependence.

  Args:
    k: number of labels, 1..L. Of equals the label with the lowest index wins.

  Returns:
    The decoder, named `top_<k>`. It needs `marginals`.

  Raises:
    ValueError: k is below 1 or, at a decision, above the number of labels.
  """
  if k < 1:
    raise ValueError(f'top_k: k is {k}, expected at least 1.')
  name = f'top_{k}'

  def marginals(head: Head):
    if k > head.num_labels:
      raise ValueError(
        f'decoder {name} asks for {k} labels of head {head.name}, which has '
        f'{head.num_labels}: choose a smaller k.'
      )
    return require(head, 'marginals', f'decoder {name}')

  def decide(
    head: Head,
    params: Params,
    h: Float[Array, 'batch *dim'],
    state: tuple[()] = (),
    *,
    key: Key | None = None,
  ) -> Float[Array, 'batch labels']:
    del state
    p = marginals(head)(params, h, key=key)
    _, chosen = jax.lax.top_k(p, k)
    one = jnp.ones(chosen.shape, p.dtype)
    return jnp.put_along_axis(
      jnp.zeros_like(p), chosen, one, axis=-1, inplace=False
    )

  def exactness(head: Head) -> Exactness:
    marginals(head)
    return head.exactness['marginals']

  return Decoder(name, fit.nothing, decide, exactness)
