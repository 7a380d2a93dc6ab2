"""AdamW, with the numbers that differ between runs as arrays."""

import functools
import types
from collections.abc import Collection, Mapping

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from mlc.base import Params
from mlc.training.objective import penalized
from mlc.training.options import TrainOptions


def init(
  trained: Params, options: TrainOptions, groups: Collection[str] = ()
) -> optax.OptState:
  """The state before the first update."""
  zero = jnp.zeros(())
  own_l2 = dict.fromkeys(groups, zero)
  return adamw(zero, zero, options, own_l2).init(trained)


def schedule(
  progress: Float[Array, ''], options: TrainOptions
) -> Float[Array, '']:
  """The factor of the learning rate after a share of all updates.

  It grows linearly from 0 to 1 during the warm-up, then stays, or falls along
  half a cosine to 0 at `progress` 1. The schedules of optax want the number of
  updates while tracing, which here depends on the rows of the run.

  Args:
    progress: updates done over updates of all epochs, in [0, 1).
    options: warmup_epochs, epochs, schedule.

  Returns:
    The factor, in [0, 1].
  """
  warmup = min(options.warmup_epochs / options.epochs, 1.0)
  factor = jnp.ones_like(progress)
  if options.schedule == 'cosine' and warmup < 1.0:
    done = jnp.clip((progress - warmup) / (1.0 - warmup), 0.0, 1.0)
    factor = 0.5 * (1.0 + jnp.cos(jnp.pi * done))
  if warmup > 0.0:
    factor = jnp.where(progress < warmup, progress / warmup, factor)
  return factor


def adamw(
  learning_rate: Float[Array, ''],
  l2: Float[Array, ''],
  options: TrainOptions,
  own_l2: Mapping[str, Float[Array, '']] = types.MappingProxyType({}),
) -> optax.GradientTransformation:
  """Adam with decoupled weight decay, of gradients that may be clipped.

      w <- w - learning_rate (m / (sqrt(v) + eps) + l2 w)

  Biases and other vectors do not decay, and leaves below a key of `own_l2`
  decay by the strength of their own (see `objective.penalized`).

  References:
    Loshchilov, Hutter, Decoupled weight decay regularization, ICLR 2019,
    algorithm 2.
  """
  clip = optax.identity()
  if options.gradient_clip > 0.0:
    clip = optax.clip_by_global_norm(options.gradient_clip)
  of = lambda group: functools.partial(
    penalized, group=group, groups=tuple(own_l2)
  )
  descend = optax.adamw(learning_rate, weight_decay=l2, mask=of(None))
  decay = [
    # After the step, which is added to w: hence the sign and the rate.
    optax.add_decayed_weights(-learning_rate * strength, mask=of(group))
    for group, strength in own_l2.items()
  ]
  return optax.chain(clip, descend, *decay)
