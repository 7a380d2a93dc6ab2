"""A decision of a given size."""

import jax
import jax.numpy as jnp

from mlc.base import Decoder, Head
from mlc.decoding.marginals import of_marginals


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

  def check(head: Head) -> None:
    if k > head.num_labels:
      raise ValueError(
        f'decoder {name} asks for {k} labels of head {head.name}, which has '
        f'{head.num_labels}: choose a smaller k.'
      )

  def rule(p, state):
    del state
    _, chosen = jax.lax.top_k(p, k)
    one = jnp.ones(chosen.shape, p.dtype)
    return jnp.put_along_axis(
      jnp.zeros_like(p), chosen, one, axis=-1, inplace=False
    )

  return of_marginals(name, rule, check=check)
