"""Transformer blocks among the tokens of a row."""

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from mlc.base import Key
from mlc.numerics import dropout as drop


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
    attend = nn.MultiHeadDotProductAttention(heads, name=f'attention_{block}')
    branch = attend(nn.LayerNorm(name=f'norm_{block}_0')(z))
    z = z + drop(keys[2 * block], branch, dropout)
    branch = nn.LayerNorm(name=f'norm_{block}_1')(z)
    branch = nn.relu(nn.Dense(2 * width, name=f'wide_{block}')(branch))
    branch = nn.Dense(width, name=f'narrow_{block}')(branch)
    z = z + drop(keys[2 * block + 1], branch, dropout)
  return nn.LayerNorm(name='norm')(z)
