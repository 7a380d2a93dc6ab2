"""Losses of a head's logits: what all of them share."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mlc.base import (
  Batch,
  Head,
  Key,
  Loss,
  MissingCapabilityError,
  Params,
  require,
)
from mlc.losses.label_counts import Unknown, label_counts, unknown_share
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


def of_labels(
  name: str,
  values: Callable[[Array, Array, Any], Array],
  *,
  counted: bool = False,
  unknown: Unknown = 'masked',
  mean: bool = False,
) -> Loss:
  """A loss of one label at a time, summed over the labels of an example.

      loss_b = sum_j r_bj values(logit_bj, y_bj),   r_bj = 1 where y_bj is known

  Args:
    name: as in the results table.
    values: (logits [B,L], y [B,L], counts) -> [B,L]; the counts are () unless
      asked for.
    counted: whether the loss has to know how often each label is on and off.
    unknown: r of a label that is unknown, and counts as off: 0 (masked), 1
      (negative) or 1 / (L - 1) (weak_negative).
    mean: whether to divide by sum_j r_bj.
  """

  def total(logits, batch, state):
    y, where = batch.y, batch.where
    if where is None:
      summed, count = jnp.sum(values(logits, y, state), axis=-1), y.shape[-1]
    else:
      share = unknown_share(unknown, y.shape[-1])
      rate = jnp.where(where, 1.0, share).astype(logits.dtype)
      each = values(logits, jnp.where(where, y, 0.0), state)
      summed, count = masked_sum(rate * each, rate > 0), jnp.sum(rate, axis=-1)
    return summed / jnp.maximum(count, 1) if mean else summed

  fit = functools.partial(label_counts, unknown=unknown) if counted else None
  return of_logits(name, total, fit=fit)


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


def of_classes(
  name: str,
  values: Callable[[Array, Array, Array, Any], Array],
  *,
  counted: bool = False,
) -> Loss:
  """A loss of classes of which exactly one holds: of a softmax.

      loss_b = values(log p_b, ...),   log p_bj = log sigmoid(logit_bj)

  The logits of such a head are the log-odds of its marginals, and these are the
  probabilities of the classes.

  Args:
    name: as in the results table.
    values: (scores [B,L], on [B,L], known [B,L], counts) -> [B]; the scores are
      log-probabilities, and the counts are () unless asked for.
    counted: whether the loss has to know how often each class occurs.

  Returns:
    The loss. Applied to a head that also has other label vectors than one-hot
    ones it raises MissingCapabilityError.
  """

  def of_batch(logits, batch, state):
    on = batch.y > 0
    known = jnp.ones_like(on) if batch.where is None else batch.where
    return values(jax.nn.log_sigmoid(logits), on & known, known, state)

  loss = of_logits(name, of_batch, fit=label_counts if counted else None)

  def apply(head, params, h, batch, *, state=(), key=None):
    if not head.one_hot:
      raise MissingCapabilityError(
        f'loss {name} needs a head whose label vectors are `one_hot`, one '
        f'class an example; {head.name} also has none and several. Choose '
        '--method=softmax, or a loss of single labels such as '
        '--loss=sigmoid_cross_entropy.'
      )
    return loss.apply(head, params, h, batch, state=state, key=key)

  return loss._replace(apply=apply)


def log_sum_exp(
  x: Float[Array, '*batch labels'], where: Bool[Array, '*batch labels']
) -> Float[Array, '*batch']:
  """log sum exp over some labels; of none a number whose exp is 0.

  A finite one: with -inf in every place the gradient would be NaN.
  """
  nothing = jnp.asarray(jnp.finfo(x.dtype).min / 4, x.dtype)
  return jax.nn.logsumexp(jnp.where(where, x, nothing), axis=-1)
