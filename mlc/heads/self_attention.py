"""Transformer blocks among the tokens of a row."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc.base import Key
from mlc.numerics import dropout as drop

# Tokens up to which the weights of all queries are there at once; beyond,
# queries that are looked at together: 128 MiB for 64 rows, 4 heads, 1,000
# tokens.
_MOST_AT_ONCE, _QUERIES = 256, 128


def attend(
  query: Float[Array, 'batch queries heads dim'],
  key: Float[Array, 'batch tokens heads dim'],
  value: Float[Array, 'batch tokens heads dim'],
) -> Float[Array, 'batch queries heads dim']:
  """Dot-product attention whose memory grows with the tokens, not their square.

  Of many queries some are looked at at a time, and their weights are computed
  again when the gradient needs them: a third more time for training.

  References:
    Rabe, Staats, Self-attention does not need O(n^2) memory, 2021 (here with
    blocks of queries only, and all keys at once).
  """
  queries = query.shape[-3]
  if queries <= _MOST_AT_ONCE:
    return nn.dot_product_attention(query, key, value)
  blocks = -(-queries // _QUERIES)
  missing = blocks * _QUERIES - queries
  rows, (_, heads, dim) = query.shape[:-3], query.shape[-3:]
  padded = jnp.pad(query, [(0, 0)] * len(rows) + [(0, missing), *[(0, 0)] * 2])
  split = padded.reshape(*rows, blocks, _QUERIES, heads, dim)

  @jax.checkpoint
  def look(some):
    return nn.dot_product_attention(some, key, value)

  found = jax.lax.map(look, jnp.moveaxis(split, len(rows), 0))
  found = jnp.moveaxis(found, 0, len(rows))
  found = found.reshape(*rows, blocks * _QUERIES, heads, dim)
  return found[..., :queries, :, :]


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
