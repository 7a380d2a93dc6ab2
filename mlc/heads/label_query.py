"""Label embeddings that query the features."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc.base import Head, Key
from mlc.heads.product import product
from mlc.heads.self_attention import attend, norm
from mlc.numerics import dropout as drop


def label_query(
  num_labels: int,
  *,
  groups: int = 100,
  tokens: int = 4,
  width: int = 64,
  heads: int = 4,
  depth: int = 1,
  self_attention: bool = True,
  dropout: float = 0.1,
) -> Head:
  """Each label, or group of labels, looks up the features it asks for.

      f_1 .. f_T = tokens of h;   q_k^0 = e_k
      q^{t+1} = block_t(q^t; f):  the queries attend to each other, then each to
                                  the tokens f, then passes through an MLP
      P(y_j = 1 | h) = sigmoid(w_j . q_{k(j)}^depth + b_j)

  What is modelled is which features matter to which label. Given h the labels
  are independent, p(y | h) is a product, and only its marginals can gain: that
  labels exclude each other, or come together beyond what h tells, it cannot
  say. Between queries only features pass, in self-attention, and at depth 1,
  where the queries are still the embeddings, nothing of h does.

  Up to as many labels as `groups` there is one query a label (Query2Label):
  labels in another order give the same in that order. Beyond, consecutive
  labels share a query, and w_j tells them apart (ML-Decoder's group decoding,
  100 groups as in its published code), since time and memory grow with the
  number of queries. The order of the labels matters then.

  Of h [batch, dim] `tokens` linear maps are the tokens; of h [batch, T, dim]
  the T tokens themselves are, each projected to `width`. They are a set: to
  mark an order among them is up to the encoder.

  Args:
    num_labels: L.
    groups: number of queries, at most; 0 is one for each label, however many.
    tokens: T, made from one vector; at 1 there is nothing to choose from.
    width: of a query and of a token inside, a multiple of `heads`.
    heads: of the attention.
    depth: number of blocks.
    self_attention: whether queries attend to each other (Query2Label) or not
      (ML-Decoder).
    dropout: share of the activations dropped on every branch of a block while
      training.

  Returns:
    A head; every capability is closed-form. Parameters: `query` [K, width] (e),
    `readout` [K, width, labels a query] (w), `bias` [L], and those of the input
    and the blocks.

  Raises:
    ValueError: for a width that the heads do not divide, a size below 1, groups
      below 0, or a dropout outside [0, 1).

  References:
    Liu, Zhang, Yang, Su, Zhu, Query2Label: a simple transformer way to
    multi-label classification, 2021, section 3.2.
    Ridnik, Sharir, Ben-Cohen, Ben-Baruch, Noy, ML-Decoder: scalable and
    versatile classification head, WACV 2023 (2021), sections 2.3 and 2.4.
  """
  _check_options(groups, tokens, width, heads, depth, dropout)
  network = _Decoder(
    num_labels, groups, tokens, width, heads, depth, self_attention, dropout
  )

  def init(key, h, y, *, where=None, weight=None):
    del y, where, weight
    # Shapes are all that it reads off h: one row will do.
    return network.init(key, h[:1])['params']

  def apply(params, h, *, key=None):
    return network.apply({'params': params}, h, key)

  return product('label_query', num_labels, init, apply)


class _Decoder(nn.Module):
  """A transformer decoder from queries and tokens to logits."""

  num_labels: int
  groups: int
  tokens: int
  width: int
  heads: int
  depth: int
  self_attention: bool
  dropout: float

  @nn.compact
  def __call__(self, h: Float[Array, 'batch *dims'], key: Key | None = None):
    f = self._features(h)
    num_labels = self.num_labels
    group_size = -(-num_labels // min(self.groups or num_labels, num_labels))
    queries = -(-num_labels // group_size)
    q = self.param('query', nn.initializers.normal(1.0), (queries, self.width))[
      None
    ]
    for block in range(self.depth):
      key_t = None if key is None else jax.random.fold_in(key, block)
      q = self._block(block, q, f, key_t)
    q = norm('norm')(q)
    readout = self.param(
      'readout',
      nn.initializers.lecun_normal(in_axis=1, out_axis=2, batch_axis=(0,)),
      (queries, self.width, group_size),
    )
    bias = self.param('bias', nn.initializers.zeros, (num_labels,))
    logits = jnp.einsum('bkw,kwg->bkg', q, readout)
    logits = logits.reshape(len(h), -1)[:, :num_labels]
    return logits + bias[None, :]

  def _features(self, h):
    """Tokens [batch, T, width]."""
    if h.ndim == 3:
      return nn.Dense(self.width, name='input')(h)
    f = nn.Dense(self.tokens * self.width, name='input')(h)
    return f.reshape(len(h), self.tokens, self.width)

  def _block(self, t, q, f, key):
    """One layer of the decoder; before the first, q is one for all rows."""
    keys = [None] * 3 if key is None else jax.random.split(key, 3)
    # A sum, not a broadcast: on a mesh it is sharded as f is.
    nothing = jnp.zeros_like(f[:, :1])
    if self.self_attention:
      among = nn.MultiHeadDotProductAttention(
        self.heads, name=f'among_{t}', attention_fn=attend
      )
      branch = among(norm(f'norm_{t}_0')(q))
      q = q + drop(keys[0], branch + nothing, self.dropout)
    across = nn.MultiHeadDotProductAttention(self.heads, name=f'across_{t}')
    branch = across(norm(f'norm_{t}_1')(q) + nothing, f)
    q = q + drop(keys[1], branch, self.dropout)
    branch = norm(f'norm_{t}_2')(q)
    branch = nn.relu(nn.Dense(2 * self.width, name=f'wide_{t}')(branch))
    branch = nn.Dense(self.width, name=f'narrow_{t}')(branch)
    return q + drop(keys[2], branch, self.dropout)


def _check_options(groups, tokens, width, heads, depth, dropout):
  if min(tokens, width, heads, depth) < 1 or groups < 0 or width % heads:
    raise ValueError(
      f'label_query got groups={groups}, tokens={tokens}, width={width}, '
      f'heads={heads}, depth={depth}; the width is a multiple of the heads, '
      'groups are from 0 on (0: a query for each label), the rest from 1 on.'
    )
  if not 0.0 <= dropout < 1.0:
    raise ValueError(
      f'label_query got dropout={dropout}; it takes a share in [0, 1).'
    )
