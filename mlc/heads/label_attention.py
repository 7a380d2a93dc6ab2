"""Self-attention among label embeddings, conditioned on the input."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc.base import Head, Key
from mlc.heads.product import product
from mlc.heads.self_attention import self_attention


def label_attention(
  num_labels: int,
  *,
  width: int = 64,
  heads: int = 4,
  depth: int = 1,
  dropout: float = 0.1,
) -> Head:
  """Labels read each other's embeddings; their logits share what they find.

      z_j^0 = e_j + A h;   z^{t+1} = block_t(z^t)  (attention, then an MLP)
      P(y_j = 1 | h) = sigmoid(w_j . h + b_j + u_j . z_j^depth / sqrt(width))

  The labels exchange *features*, never decisions: given h they are
  independent, p(y | h) is a product, and only its marginals can gain. A chain
  or a powerset models what is left, the dependence given h. With u = 0, where
  training starts, this is binary relevance; depth 0 lets no label see another.

  Args:
    num_labels: L. Time and memory grow with L^2 for each example.
    width: of an embedding, a multiple of `heads`.
    heads: of the attention.
    depth: number of blocks.
    dropout: share of the activations dropped on both branches of a block
      while training.

  Returns:
    A head; every capability is closed-form. Parameters: `linear` (`kernel`
    [D, L] and `bias` [L], those of binary relevance), `embedding` (e) and
    `readout` (u), both [L, width], and those of the input and the blocks.

  Raises:
    ValueError: for a width that the heads do not divide, a size below 1, or a
      dropout outside [0, 1).

  References:
    Lanchantin, Wang, Ordonez, Qi, General multi-label image classification
    with transformers, CVPR 2021 (without its label masks).
  """
  _check_options(width, heads, depth, dropout)
  network = _LabelNetwork(num_labels, width, heads, depth, dropout)

  def init(key, h, y, *, where=None, weight=None):
    del y, where, weight
    # Shapes are all that it reads off h: one row will do.
    return network.init(key, h[:1])['params']

  def apply(params, h, *, key=None):
    return network.apply({'params': params}, h, key)

  return product('label_attention', num_labels, init, apply)


class _LabelNetwork(nn.Module):
  """Logits of binary relevance plus those of the attending embeddings."""

  num_labels: int
  width: int
  heads: int
  depth: int
  dropout: float

  @nn.compact
  def __call__(self, h: Float[Array, 'batch dim'], key: Key | None = None):
    shape = (self.num_labels, self.width)
    embedding = self.param('embedding', nn.initializers.normal(1.0), shape)
    readout = self.param('readout', nn.initializers.zeros, shape)
    z = embedding[None] + nn.Dense(self.width, name='input')(h)[:, None, :]
    z = self_attention(
      z, key, heads=self.heads, depth=self.depth, dropout=self.dropout
    )
    attended = jnp.sum(z * readout[None], axis=-1) / self.width**0.5
    return nn.Dense(self.num_labels, name='linear')(h) + attended


def _check_options(width, heads, depth, dropout):
  if min(width, heads) < 1 or depth < 0 or width % heads:
    raise ValueError(
      f'label_attention got width={width}, heads={heads}, depth={depth}; the '
      'width is a multiple of the heads, both from 1 on, the depth from 0 on.'
    )
  if not 0.0 <= dropout < 1.0:
    raise ValueError(
      f'label_attention got dropout={dropout}; it takes a share in [0, 1).'
    )
