"""Identity: the head stands on the features themselves."""

from jaxtyping import Array, Float

from mlc.base import Encoder, Features, Key, Params
from mlc.numerics import to_dense


def identity() -> Encoder:
  """Features as they are: h = x, so that a linear head is a linear model.

  Sparse rows become dense, since a head multiplies a dense h: a block of
  [batch, D] numbers exists while it is in use.

  Returns:
    An encoder without parameters.
  """

  def init(
    key: Key, x: Features, *, weight: Float[Array, ' batch'] | None = None
  ) -> Params:
    del key, x, weight
    return {}

  def apply(
    params: Params, x: Features, *, key: Key | None = None
  ) -> Float[Array, 'batch features']:
    del params, key
    return to_dense(x)

  return Encoder(name='identity', init=init, apply=apply)
