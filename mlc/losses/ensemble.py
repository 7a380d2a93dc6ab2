"""Training the members of an ensemble, each on its own."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc.base import Batch, Head, Key, Loss, Params


def per_member(loss: Loss) -> Loss:
  """The sum over an ensemble's members of each one's own loss.

      loss_b = sum_m loss(member m, example b)

  A sum and not a mean: the gradient of every member, and what its weight
  penalty weighs against, are then just what they are when it trains alone.

  Args:
    loss: of one member.

  Returns:
    A loss for a head with `member`. Each member gets a key of its own.

  Raises:
    ValueError: when applied to a head that is not an ensemble.
  """

  def apply(
    head: Head,
    params: Params,
    h: Float[Array, 'batch dim'],
    batch: Batch,
    *,
    state: Any = (),
    key: Key | None = None,
  ) -> Float[Array, ' batch']:
    member_head = head.member
    if member_head is None:
      raise ValueError(
        f'loss per_member_{loss.name} got head {head.name}, which has no '
        f'members; use the loss {loss.name} itself, or an `ensemble` of heads.'
      )
    size = len(jax.tree.leaves(params)[0])
    keys = None if key is None else jax.random.split(key, size)

    def member(params, key):
      return loss.apply(member_head, params, h, batch, state=state, key=key)

    return jnp.sum(jax.vmap(member)(params, keys), axis=0)

  return Loss(f'per_member_{loss.name}', apply, loss.fit)
