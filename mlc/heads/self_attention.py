"""Transformer blocks among the tokens of a row."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc.base import Key
from mlc.numerics import dropout as drop

# Weights of the attention that are there at once, of all heads: on a CPU as
# many as stay in its cache, elsewhere 128 MiB of them.
_MOST_WEIGHTS, _MOST_WEIGHTS_ON_CPU = 2**25, 2**18


def attend(
  query: Float[Array, '*batch queries heads dim'],
  key: Float[Array, '*batch tokens heads dim'],
  value: Float[Array, '*batch tokens heads dim'],
) -> Float[Array, '*batch queries heads dim']:
  """Dot-product attention, softmax(q k' / sqrt(dim)) v, of some rows at a time.

  Where not all rows are looked at at once, their weights are computed again
  when the gradient needs them: memory grows with the weights of one row. On a
  CPU it is that much faster, too, as weights never leave the cache: of 64 rows
  and 4 heads five times for 983 tokens, seven times for 100.
  """
  on_cpu = jax.default_backend() == 'cpu'
  most = _MOST_WEIGHTS_ON_CPU if on_cpu else _MOST_WEIGHTS
  *batch, queries, heads, _ = query.shape
  at_once = max(most // (queries * key.shape[-3] * heads), 1)
  query, key, value = (
    part.reshape(-1, *part.shape[len(batch) :]) for part in (query, key, value)
  )
  # A power of two, of which there is less likely a rest to be compiled apart.
  at_once = 1 << (at_once.bit_length() - 1)
  if at_once >= len(query):
    found = _look(query, key, value)
  else:
    look = jax.checkpoint(lambda rows: _look(*rows))
    found = jax.lax.map(look, (query, key, value), batch_size=at_once)
  return found.reshape(*batch, *found.shape[1:])


def _look(query: Array, key: Array, value: Array) -> Array:
  """All at once. Heads before tokens: XLA's products on a CPU ask for it."""
  query, key, value = (jnp.moveaxis(x, -2, -3) for x in (query, key, value))
  scores = query @ jnp.moveaxis(key, -1, -2) / query.shape[-1] ** 0.5
  return jnp.moveaxis(jax.nn.softmax(scores, axis=-1) @ value, -3, -2)


def norm(name: str) -> nn.LayerNorm:
  """Layer normalisation of the last axis.

  The variance is that of the differences from the mean. Flax's default,
  E[z^2] - E[z]^2, cancels where the mean is large, and its gradient takes twice
  as long to compile.
  """
  return nn.LayerNorm(use_fast_variance=False, name=name)


def self_attention(
  z: Float[Array, 'batch tokens width'],
  key: Key | None,
  *,
  heads: int,
  depth: int,
  dropout: float,
) -> Float[Array, 'batch tokens width']:
  """Attention, then an MLP of twice the width, each added to what came in.

  To be called inside a module's compact method, which then owns the parameters
  `norm_*`, `attention_*`, `wide_*`, `narrow_*` of the blocks and the last
  `norm`.

  Args:
    z: tokens; without a position, so that their order plays no part.
    key: for dropout; None for none.
    heads: of the attention, a divisor of the width.
    depth: number of blocks.
    dropout: share of the activations dropped on both branches.

  Returns:
    The tokens, normalised.

  References:
    Xiong et al., On layer normalization in the transformer architecture,
    ICML 2020 (norm before the branch).
  """
  width = z.shape[-1]
  keys = [None] * (2 * depth)
  if key is not None:
    keys = list(jax.random.split(key, 2 * depth))
  for block in range(depth):
    attention = nn.MultiHeadDotProductAttention(
      heads, name=f'attention_{block}', attention_fn=attend
    )
    branch = attention(norm(f'norm_{block}_0')(z))
    z = z + drop(keys[2 * block], branch, dropout)
    branch = norm(f'norm_{block}_1')(z)
    branch = nn.relu(nn.Dense(2 * width, name=f'wide_{block}')(branch))
    branch = nn.Dense(width, name=f'narrow_{block}')(branch)
    z = z + drop(keys[2 * block + 1], branch, dropout)
  return norm('norm')(z)
