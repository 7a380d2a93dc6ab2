"""A transformer over features and labels that are unknown, 0 or 1."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mlc.base import Batch, Exactness, Head, Key
from mlc.heads.self_attention import self_attention
from mlc.numerics import log_bernoulli, masked_sum

# Share of the labels that training shows at most.
_MOST_KNOWN = 0.75
# A draw takes labels x (sweeps + 1) passes: 1,000 draws of 100 rows, as the
# decoder f_beta asks for, are 10 million rows at 32 labels.
_MAX_SAMPLED_LABELS = 32
# Draws made side by side.
_DRAWS_AT_A_TIME = 16


def masked_label(
  num_labels: int,
  *,
  width: int = 64,
  heads: int = 4,
  depth: int = 2,
  feature_tokens: int = 1,
  dropout: float = 0.1,
  passes: int = 16,
  sweeps: int = 1,
) -> Head:
  """Predicts any labels from h and any other labels that are known.

      tokens: t_i = A_i h,  z_j = e_j + s(y_j if j is known);  s(unknown) = 0
      z' = blocks(t, z)  (attention among all tokens, then an MLP)
      P(y_j = 1 | h, known y) =
        sigmoid(w_j . h + b_j + u_j . z'_j / sqrt(width))

  Trained by masking (`objective`): of each example n labels, n uniform on 0 ..
  floor(0.75 L), are shown, and the cross-entropy of the others is summed. A
  label that the data do not know is neither shown nor counted. Without a key,
  as in validation, the labels shown are the same each time. With u = 0, where
  training starts, this is binary relevance on the labels that are not shown.

  There is one answer for each known subset, and nothing makes these 2^L answers
  agree: this is an *inconsistent dependency network*, in general no
  distribution p(y | h) has all of them as its conditionals. Hence no `log_prob`
  and no `joint`. What is given instead:
  `marginals`, `partial`, `conditional`: the network's own answer to nothing,
  some, and all others known. Closed-form as far as the network goes; they may
  contradict each other.
  `sample`: draws each label given those before it in the data set's order, the
  later ones unknown (which is a distribution), then visits all labels again in
  `sweeps` ordered pseudo-Gibbs sweeps, each given all others. The law of the
  draws depends on that recipe, and their means are not `marginals`.
  `mode`: no argmax, there being nothing to maximise. In at most `passes` passes
  the labels of which the network is surest are set and known from then on.

  Args:
    num_labels: L. Time and memory of a pass grow with L^2 for each example; a
      `conditional` takes L passes, a draw L (sweeps + 1): beyond 32 labels
      there is no `sample`; take classifier_chain where draws are needed.
    width: of a token, a multiple of `heads`.
    heads: of the attention.
    depth: number of blocks; at 0 no label sees another.
    feature_tokens: tokens made of h.
    dropout: share of the activations dropped on both branches of a block
      while training.
    passes: for `mode`; with as many as labels it sets one at a time.
    sweeps: for `sample`.

  Returns:
    A head. `logits` are those with nothing known: the loss
    sigmoid_cross_entropy trains `marginals` alone, and the network never sees a
    known label. Parameters: `linear` (`kernel` [D, L] and `bias` [L]),
    `embedding` (e) and `readout` (u), both [L, width], `state` [2, width] (s of
    0 and 1), and those of the input and the blocks.

  Raises:
    ValueError: for a width that the heads do not divide, a size below 1 or a
      dropout outside [0, 1).

  References:
    Lanchantin, Wang, Ordonez, Qi, General multi-label image classification
    with transformers, CVPR 2021, section 3 (C-Tran; the direct term w_j . h is
    ours).
    Heckerman, Chickering, Meek, Rounthwaite, Kadie, Dependency networks for
    inference, collaborative filtering, and data visualization, JMLR 1, 2000
    (the ordered pseudo-Gibbs sampler).
    Ghazvininejad, Levy, Liu, Zettlemoyer, Mask-predict: parallel decoding of
    conditional masked language models, EMNLP 2019 (`mode`, without its
    second thoughts).
  """
  _check_options(width, heads, depth, feature_tokens, dropout, passes, sweeps)
  network = _MaskedLabelNetwork(
    num_labels, width, heads, depth, feature_tokens, dropout
  )

  def init(key, h, y, *, where=None, weight=None):
    del where, weight
    # Shapes are all that it reads off the rows: one will do.
    return network.init(key, h[:1], y[:1], y[:1] > 0)['params']

  def ask(params, h, y, known, key=None):
    return network.apply({'params': params}, h, y, known, key)

  return _head(num_labels, init, ask, passes, sweeps)


def _head(num_labels, init, ask, passes, sweeps) -> Head:
  """What is answered by asking the network for logits given known labels."""

  def logits(params, h, y=None, *, key=None):
    del y
    nothing = jnp.zeros((len(h), num_labels), h.dtype)
    return ask(params, h, nothing, nothing > 0, key)

  def marginals(params, h, *, key=None):
    return jax.nn.sigmoid(logits(params, h, key=key))

  def partial(params, h, y, known):
    return jnp.where(known, y, jax.nn.sigmoid(ask(params, h, y, known)))

  def conditional(params, h, y):
    def of_label(j):
      known = jnp.broadcast_to(jnp.arange(num_labels)[None, :] != j, y.shape)
      return ask(params, h, y, known)[:, j]

    return jax.nn.sigmoid(jax.lax.map(of_label, jnp.arange(num_labels))).T

  def sample(params, key, h, n):
    def draw(key):
      return _visited(ask, params, key, h, num_labels, sweeps)

    keys = jax.random.split(key, n)
    return jax.lax.map(draw, keys, batch_size=min(n, _DRAWS_AT_A_TIME))

  def mode(params, h):
    return _easiest_first(ask, params, h, num_labels, passes)

  def objective(params, h, batch: Batch, *, key=None):
    mask_key, noise_key = jax.random.key(0), None
    if key is not None:
      mask_key, noise_key = jax.random.split(key)
    shown = shown_labels(mask_key, *batch.y.shape)
    known = shown if batch.where is None else shown & batch.where
    hidden = ~shown if batch.where is None else ~shown & batch.where
    z = ask(params, h, batch.y, known, noise_key)
    return -masked_sum(log_bernoulli(z, batch.y), hidden)

  exactness: dict[str, Exactness] = {
    'marginals': 'closed-form',
    'mode': 'searched',
    'conditional': 'closed-form',
    'partial': 'closed-form',
  }
  return Head(
    name='masked_label',
    num_labels=num_labels,
    exactness=exactness,
    init=init,
    logits=logits,
    marginals=marginals,
    sample=sample if num_labels <= _MAX_SAMPLED_LABELS else None,
    mode=mode,
    conditional=conditional,
    partial=partial,
    objective=objective,
  )


class _MaskedLabelNetwork(nn.Module):
  """Logits of all labels given the known ones."""

  num_labels: int
  width: int
  heads: int
  depth: int
  feature_tokens: int
  dropout: float

  @nn.compact
  def __call__(
    self,
    h: Float[Array, 'batch dim'],
    y: Float[Array, 'batch labels'],
    known: Bool[Array, 'batch labels'],
    key: Key | None = None,
  ):
    normal, shape = nn.initializers.normal(1.0), (self.num_labels, self.width)
    embedding = self.param('embedding', normal, shape)
    readout = self.param('readout', nn.initializers.zeros, shape)
    state = self.param('state', normal, (2, self.width))
    on = (known * y)[:, :, None] * state[None, None, 1]
    off = (known * (1.0 - y))[:, :, None] * state[None, None, 0]
    labels = embedding[None] + on + off
    features = nn.Dense(self.feature_tokens * self.width, name='input')(h)
    features = features.reshape(-1, self.feature_tokens, self.width)
    z = self_attention(
      jnp.concatenate([features, labels], axis=1),
      key,
      heads=self.heads,
      depth=self.depth,
      dropout=self.dropout,
    )
    z = z[:, self.feature_tokens :]
    attended = jnp.sum(z * readout[None], axis=-1) / self.width**0.5
    return nn.Dense(self.num_labels, name='linear')(h) + attended


def shown_labels(
  key: Key, batch: int, num_labels: int
) -> Bool[Array, 'batch labels']:
  """A uniform subset of n labels a row, n uniform on 0 .. floor(0.75 L).

  The numbers of the rows of a batch are not drawn one by one but spread evenly,
  from a common random start: their mean is then hardly noise.
  """
  count_key, which_key = jax.random.split(key)
  most = int(_MOST_KNOWN * num_labels)
  spread = jnp.arange(batch) / batch + jax.random.uniform(count_key)
  count = jnp.floor((spread % 1.0) * (most + 1))
  # A product just below most + 1 may round up to it.
  count = jnp.minimum(count, most)[:, None]
  noise = jax.random.uniform(which_key, (batch, num_labels))
  return jnp.argsort(jnp.argsort(noise, axis=-1), axis=-1) < count


def _visited(ask, params, key, h, num_labels, sweeps):
  """One draw a row: each label drawn anew, given what is known by then."""

  def visit(carry, inputs):
    y, known = carry
    j, key = inputs
    z = ask(params, h, y, known.at[:, j].set(False))[:, j]
    drawn = jax.random.bernoulli(key, jax.nn.sigmoid(z)).astype(y.dtype)
    return (y.at[:, j].set(drawn), known.at[:, j].set(True)), None

  order = jnp.tile(jnp.arange(num_labels), sweeps + 1)
  y = jnp.zeros((len(h), num_labels), h.dtype)
  (y, _), _ = jax.lax.scan(
    visit, (y, y > 0), (order, jax.random.split(key, len(order)))
  )
  return y


def _easiest_first(ask, params, h, num_labels, passes):
  """Sets the surest labels, again and again, given those that are set."""
  at_once = -(-num_labels // passes)

  def decide(carry, _):
    y, known = carry
    z = ask(params, h, y, known)
    sureness = jnp.where(known, -1.0, jnp.abs(z))
    _, surest = jax.lax.top_k(sureness, at_once)
    chosen = jnp.put_along_axis(
      jnp.zeros_like(known), surest, True, axis=-1, inplace=False
    )
    # In the last pass fewer may be left than are set at once.
    chosen = chosen & ~known
    y = jnp.where(chosen, (z > 0).astype(y.dtype), y)
    return (y, known | chosen), None

  y = jnp.zeros((len(h), num_labels), h.dtype)
  (y, _), _ = jax.lax.scan(decide, (y, y > 0), length=-(-num_labels // at_once))
  return y


def _check_options(
  width, heads, depth, feature_tokens, dropout, passes, sweeps
):
  if width < 1 or heads < 1 or width % heads:
    raise ValueError(
      f'masked_label got width={width}, heads={heads}; the width is a multiple '
      'of the heads, both from 1 on.'
    )
  for name, value, least in (
    ('depth', depth, 0),
    ('feature_tokens', feature_tokens, 1),
    ('passes', passes, 1),
    ('sweeps', sweeps, 0),
  ):
    if value < least:
      raise ValueError(
        f'masked_label got {name}={value}; it takes an integer from {least} on.'
      )
  if not 0.0 <= dropout < 1.0:
    raise ValueError(
      f'masked_label got dropout={dropout}; it takes a share in [0, 1).'
    )
