"""Losses of a head's logits: what all of them share."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mlc.base import Batch, Head, Key, Loss, Params, require
from mlc.numerics import masked_sum


def of_logits(
  name: str,
  values: Callable[[Array, Batch, Any], Array],
  *,
  fit: Callable[..., Any] | None = None,
) -> Loss:
  """A loss that sees the head through its logits alone.

      loss_b = values(logits(h_b), b, state)

  Args:
    name: as in the results table.
    values: (logits [B,L], batch, state) -> [B].
    fit: what the loss reads off the training rows, as of `Loss`.

  Returns:
    The loss. Applied to a head without `logits` it raises
    MissingCapabilityError.
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
    logits = require(head, 'logits', f'loss {name}')
    return values(logits(params, h, batch.y, key=key), batch, state)

  return Loss(name, apply, fit)


def of_labels(name: str, values: Callable[[Array, Array], Array]) -> Loss:
  """The loss sum_{j known} values(logit_bj, y_bj), one label at a time.

  Args:
    name: as in the results table.
    values: (logits [B,L], y [B,L]) -> [B,L].
  """

  def total(logits, batch, state):
    del state
    return masked_sum(values(logits, batch.y), batch.where)

  return of_logits(name, total)


def of_sets(name: str, values: Callable[[Array, Array, Array], Array]) -> Loss:
  """A loss of the logits and of which known labels are on and off.

  Args:
    name: as in the results table.
    values: (logits [B,L], on [B,L], off [B,L]) -> [B].
  """

  def of_batch(logits, batch, state):
    del state
    on, off = batch.y > 0, batch.y <= 0
    if batch.where is not None:
      on, off = on & batch.where, off & batch.where
    return values(logits, on, off)

  return of_logits(name, of_batch)


def log_sum_exp(
  x: Float[Array, '*batch labels'], where: Bool[Array, '*batch labels']
) -> Float[Array, '*batch']:
  """log sum exp over some labels; of none a number whose exp is 0.

  A finite one: with -inf in every place the gradient would be NaN.
  """
  nothing = jnp.asarray(jnp.finfo(x.dtype).min / 4, x.dtype)
  return jax.nn.logsumexp(jnp.where(where, x, nothing), axis=-1)
