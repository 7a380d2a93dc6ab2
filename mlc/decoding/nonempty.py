"""The best decisions among those that name a label at least.

What the rule `at least 1 of: *` makes of `hamming` and `subset` (see
`constraints.within`), in closed form at any number of labels.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc import distribution
from mlc.base import Decoder, Exactness, Head, Key, Params, require
from mlc.decoding import fit
from mlc.decoding.marginals import of_marginals


def hamming_nonempty() -> Decoder:
  """Every label whose marginal exceeds 0.5; where none does, the likeliest.

      d = argmin over d != 0 of sum_j P(y_j != d_j | h)

  Naming label j costs 1 - 2 p_j: where all of these are positive, one label has
  to be paid for, and the likeliest is the cheapest. A control: where every row
  of a data set has a label, it is all that a model of the dependence may have
  to know.

  Returns:
    The decoder, named `hamming_nonempty`. It needs `marginals`.
  """
  return of_marginals(
    'hamming_nonempty', lambda p, state: _likely_or_likeliest(p)
  )


def subset_nonempty() -> Decoder:
  """The most probable label vector with a label.

      d = argmax over y != 0 of p(y | h)

  Independent labels: as `hamming_nonempty`, since taking label j in multiplies
  the probability by its odds p_j / (1 - p_j).

  Returns:
    The decoder, named `subset_nonempty`. It needs `marginals` of independent
    labels, the `mode` of classes, or the `joint` of others, up to 16 labels:
    no search that might miss it is offered.
  """
  name = 'subset_nonempty'

  def source(head: Head) -> str:
    if head.one_hot and head.mode is not None:
      return 'mode'
    return 'marginals' if head.independent else 'joint'

  def decide(
    head: Head,
    params: Params,
    h: Float[Array, 'batch *dim'],
    state: tuple[()] = (),
    *,
    key: Key | None = None,
  ) -> Float[Array, 'batch labels']:
    del state, key
    asked = source(head)
    found = require(head, asked, f'decoder {name}')(params, h)
    if asked == 'mode':
      return found
    if asked == 'marginals':
      return _likely_or_likeliest(found)
    code = 1 + jnp.argmax(found[:, 1:], axis=-1)
    return distribution.label_vectors(head.num_labels)[code]

  def exactness(head: Head) -> Exactness:
    asked = source(head)
    require(head, asked, f'decoder {name}')
    return 'enumerated' if asked == 'joint' else head.exactness['mode']

  return Decoder(name, fit.nothing, decide, exactness)


def _likely_or_likeliest(
  p: Float[Array, 'batch labels'],
) -> Float[Array, 'batch labels']:
  likely = p > 0.5
  top = jax.nn.one_hot(jnp.argmax(p, axis=-1), p.shape[-1], dtype=p.dtype)
  none = ~jnp.any(likely, axis=-1, keepdims=True)
  return jnp.where(none, top, likely.astype(p.dtype))
