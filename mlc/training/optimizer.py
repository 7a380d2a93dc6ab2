"""AdamW, with the numbers that differ between runs as arrays."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from mlc.base import Params
from mlc.training.objective import penalized
from mlc.training.options import TrainOptions


def init(trained: Params, options: TrainOptions) -> optax.OptState:
  """The state before the first update."""
  zero = jnp.zeros(())
  return adamw(zero, zero, options).init(trained)


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
) -> optax.GradientTransformation:
  """Adam with decoupled weight decay, of gradients that may be clipped.

      w <- w - learning_rate (m / (sqrt(v) + eps) + l2 w)

  Biases and other vectors do not decay (see `objective.penalized`).

  References:
    Loshchilov, Hutter, Decoupled weight decay regularization, ICLR 2019,
    algorithm 2.
  """
  clip = optax.identity()
  if options.gradient_clip > 0.0:
    clip = optax.clip_by_global_norm(options.gradient_clip)
  descend = optax.adamw(learning_rate, weight_decay=l2, mask=penalized)
  return optax.chain(clip, descend)
