"""Small numerical pieces that several rooms share."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mlc.base import FROZEN, Features, Key, SparseRows


def log1mexp(x: Float[Array, '*dims']) -> Float[Array, '*dims']:
  """log(1 - exp(x)) for x <= 0, accurate at both ends.

  Reference: Machler, Accurately computing log(1 - exp(-|a|)), 2012, eq. 7.
  """
  # The double where keeps the gradient of the branch not taken finite.
  near = x > -0.6931472
  x_near = jnp.where(near, x, -1.0)
  x_far = jnp.where(near, -1.0, x)
  return jnp.where(
    near, jnp.log(-jnp.expm1(x_near)), jnp.log1p(-jnp.exp(x_far))
  )


def log_bernoulli(
  logits: Float[Array, '*dims'], y: Float[Array, '*dims']
) -> Float[Array, '*dims']:
  """log P(Y = y) of Bernoulli variables: log sigmoid((2y - 1) logit)."""
  return jax.nn.log_sigmoid((2.0 * y - 1.0) * logits)


def masked_sum(
  values: Float[Array, '*dims'],
  where: Bool[Array, '*dims'] | None,
  axis: int | None = -1,
) -> Array:
  """Sum of the values where known; NaN in a masked place does no harm."""
  if where is not None:
    values = jnp.where(where, values, 0.0)
  return jnp.sum(values, axis=axis)


def weighted_mean(
  values: Float[Array, '*runs batch'],
  weight: Float[Array, '*runs batch'] | None,
) -> Float[Array, '*runs']:
  """Mean over examples; an example of weight 0 may hold NaN."""
  if weight is None:
    return jnp.mean(values, axis=-1)
  values = jnp.where(weight > 0, values, 0.0)
  total = jnp.sum(weight, axis=-1)
  return jnp.sum(weight * values, axis=-1) / jnp.where(total > 0, total, 1.0)


def dropout(
  key: Key | None, x: Float[Array, '*dims'], rate: float
) -> Float[Array, '*dims']:
  """Inverted dropout; none when `key` is None or the rate is 0.

  A product with a mask, since on an Explicit mesh a select between a sharded
  and an unsharded array is refused.
  """
  if key is None or rate == 0.0:
    return x
  keep = jax.random.bernoulli(key, 1.0 - rate, x.shape)
  return x * keep.astype(x.dtype) / (1.0 - rate)


def pair_information(
  both: Float[Array | np.ndarray, '*batch labels labels'],
  one: Float[Array | np.ndarray, '*batch labels labels'],
) -> Float[Array | np.ndarray, '*batch labels labels']:
  """Mutual information of each pair of labels.

      I(y_j; y_k) = sum_{a,b} P(a, b) log (P(a, b) / (P(y_j = a) P(y_k = b)))

  Args:
    both: [..., j, k] = P(y_j = 1, y_k = 1), of numpy or of JAX.
    one: [..., j, k] = P(y_j = 1), over the rows where j and k are known.

  Returns:
    [..., j, k] nats, symmetric, of the same kind; the diagonal is that of a
    label with itself only if `both` says so.
  """
  xp = both.__array_namespace__()
  other = xp.swapaxes(one, -1, -2)
  total = xp.zeros_like(both)
  for cell, margin in (
    (both, one * other),
    (one - both, one * (1.0 - other)),
    (other - both, (1.0 - one) * other),
    (1.0 - one - other + both, (1.0 - one) * (1.0 - other)),
  ):
    there = (cell > 0) & (margin > 0)
    ratio = xp.where(there, cell, 1.0) / xp.where(there, margin, 1.0)
    total = total + xp.where(there, cell * xp.log(ratio), 0.0)
  return xp.maximum(total, 0.0)


def matmul(x: Features, w: Float[Array, 'features out']) -> Array:
  """x @ w for dense or sparse rows.

  For sparse rows: out_b = sum_t values[b, t] w[indices[b, t]], which costs
  entries x out instead of D x out.
  """
  if isinstance(x, SparseRows):
    return jnp.einsum('...t,...to->...o', x.values, w[x.indices])
  return x @ w


def to_dense(x: Features) -> Float[Array, 'batch features']:
  """The rows as a dense array."""
  if not isinstance(x, SparseRows):
    return x
  rows = jnp.arange(x.indices.shape[0])[:, None]
  zeros = jnp.zeros((x.indices.shape[0], x.num_features), x.values.dtype)
  return zeros.at[rows, x.indices].add(x.values)


def num_features(x: Features) -> int:
  """D, for dense or sparse rows."""
  return x.num_features if isinstance(x, SparseRows) else x.shape[-1]


def take_rows(tree: Any, index: Int[Array, '*batch']) -> Any:
  """The rows `index` of every leaf."""
  return jax.tree.map(lambda leaf: leaf[index], tree)


def in_blocks(function: Callable[[Any], Any], rows: Any, block: int) -> Any:
  """Applies a function of rows to blocks of them, one after another."""
  count = jax.tree.leaves(rows)[0].shape[0]
  block = min(block, count)
  blocks = -(-count // block)
  index = jnp.arange(blocks * block) % count
  split = jax.tree.map(
    lambda leaf: leaf[index].reshape(blocks, block, *leaf.shape[1:]), rows
  )
  out = jax.lax.map(function, split)
  return jax.tree.map(
    lambda leaf: leaf.reshape(blocks * block, *leaf.shape[2:])[:count], out
  )


def transitive_closure(
  edges: Bool[np.ndarray, 'nodes nodes'],
) -> Bool[np.ndarray, 'nodes nodes']:
  """Which nodes can be reached from which along one edge or more.

  A node that reaches itself lies on a cycle.
  """
  reached = edges
  while True:
    # Squaring: the paths that are found double in length.
    step = reached.astype(np.float32)
    further = reached | (step @ step > 0)
    if (further == reached).all():
      return reached
    reached = further


def jit_once(
  function: Callable[..., Any], *, light: bool = False, **options_of_jit: Any
) -> Callable[..., Any]:
  """jax.jit for a program that runs once or twice.

  On CPU it is compiled with fewer optimisations, which takes a third less time
  than such a program then loses.

  Args:
    function: what is compiled.
    light: that it takes longer to compile than to run even without any: many
      small operations, and no joint tables. Compiled in half the time again.
      Last bits may depend on how many devices share the work.
    **options_of_jit: the others.
  """
  options: dict[str, Any] = {}
  if jax.default_backend() == 'cpu':
    options = cpu_options(0) if light else {_LEVEL: 1}
  return jax.jit(function, compiler_options=options, **options_of_jit)


_LEVEL = 'xla_backend_optimization_level'


@functools.cache
def cpu_options(level: int) -> dict[str, Any]:
  """For XLA to compile quickly on CPU: `compiler_options` of jax.jit.

  Fusions are made by the quicker of two generators: half the time for a
  training step at level 1. What reads tables of all label vectors then takes
  up to five times as long.

  Args:
    level: of LLVM's optimisations, 0 for none.
  """
  options = {_LEVEL: level, 'xla_cpu_use_fusion_emitters': False}
  try:
    # XLA refuses options that it no longer, or not yet, knows.
    jax.jit(lambda: 0.0, compiler_options=options).lower().compile()
  except jax.errors.JaxRuntimeError:
    return {_LEVEL: level}
  return options


def split_frozen(params: Any) -> tuple[Any, Any]:
  """Splits parameters into (trained, frozen), None in place of the other.

  A leaf is frozen when the dictionary key `frozen` stands above it.
  """

  def is_frozen(path):
    return any(getattr(entry, 'key', None) == FROZEN for entry in path)

  trained = jax.tree_util.tree_map_with_path(
    lambda path, leaf: None if is_frozen(path) else leaf, params
  )
  frozen = jax.tree_util.tree_map_with_path(
    lambda path, leaf: leaf if is_frozen(path) else None, params
  )
  return trained, frozen


def merge_frozen(trained: Any, frozen: Any) -> Any:
  """The inverse of `split_frozen`."""
  return jax.tree.map(
    lambda a, b: b if a is None else a,
    trained,
    frozen,
    is_leaf=lambda leaf: leaf is None,
  )
