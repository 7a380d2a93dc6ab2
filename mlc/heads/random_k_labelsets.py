"""Random k-labelsets: a label powerset for each of many small label subsets."""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mlc import distribution
from mlc.base import Head

# 2^8 classes a model.
MAX_SIZE = 8
# Up to this many subsets they are listed, so that none is drawn twice.
MAX_LISTED = 2**14


class _Shape(NamedTuple):
  """L labels, in `models` subsets of `size`."""

  num_labels: int
  size: int
  models: int


def random_k_labelsets(
  num_labels: int,
  *,
  size: int = 3,
  models: int = 0,
  overlap: bool = True,
) -> Head:
  """A softmax over the 2^k label vectors of each random subset S of k labels.

      q_m(y_S | h) = exp(f_m(y_S)) / sum_z exp(f_m(z)),    f_m = W_m h + b_m

  Disjoint subsets are blocks of a real joint, with the dependence inside a
  block and none across:

      p(y | h) = prod_m q_m(y_{S_m} | h)

  Overlapping subsets contradict each other on what they share; there is no
  joint to ask. Each label's probability is the mean over the models that hold
  it, and its threshold at one half is the vote of probabilities:

      P(y_j = 1 | h) = mean_{m: j in S_m} q_m(y_j = 1 | h)

  (the paper counts the models' decisions instead). Every label stands in some
  subset: the first ceil(L / k) are a random partition, its last one filled up,
  the rest is drawn at random, no subset twice where there are at most 16,384 of
  them. The paper draws all of them at random and may leave labels out. All
  2^k vectors of a subset are classes, seen in training or not.

  Training minimises - sum_m log q_m(y_{S_m} | h), which is -log p where the
  subsets are disjoint and a composite likelihood where they overlap. A model
  passes over rows in which one of its labels is unknown.

  Args:
    num_labels: L.
    size: k, labels in a subset, at most 8; all L where there are fewer.
    models: number of subsets; 0 is 2 L for overlapping ones (or all there
      are), and ceil(L / k) for disjoint ones, which admit no other.
    overlap: whether subsets may share labels.

  Returns:
    A head. Disjoint: every capability, closed-form. Overlapping: `logits`,
    `marginals` (closed-form) and `objective`. Parameters: `kernel`
    [D, models 2^k], `bias` [models 2^k], and `frozen`: `labels` [models, k] of
    each subset, L in the places left over in the last disjoint one. `logits`
    are the log-odds of the marginals.

  Raises:
    ValueError: for a size outside 1..8, or a number of models that cannot hold
      every label or exceeds the number of subsets.

  References:
    Tsoumakas, Katakis, Vlahavas, Random k-labelsets for multilabel
    classification, IEEE TKDE 23, 2011.
    Lindsay, Composite likelihood methods, Contemporary Mathematics 80, 1988.
  """
  shape = _shape_of(num_labels, size, models, overlap)

  def init(key, h, y, *, where=None, weight=None):
    del y, where, weight
    kernel_key, subset_key = jax.random.split(key)
    kernel = jax.nn.initializers.lecun_normal()
    classes = shape.models * 2**shape.size
    draw = _overlapping if overlap else _disjoint
    return {
      'kernel': kernel(kernel_key, (h.shape[-1], classes), h.dtype),
      'bias': jnp.zeros(classes, h.dtype),
      'frozen': {'labels': draw(subset_key, shape)},
    }

  head = Head(
    name='random_k_labelsets',
    num_labels=num_labels,
    exactness={'marginals': 'closed-form'},
    init=init,
    logits=_logits(num_labels),
    marginals=_marginals(num_labels),
    objective=_objective(num_labels),
  )
  return head if overlap else _with_joint(head)


def _with_joint(head: Head) -> Head:
  """What a product of blocks can tell besides its marginals."""
  small = head.num_labels <= distribution.MAX_TABLE_LABELS
  asked = ('marginals', 'mode', 'conditional', 'partial')
  return head._replace(
    exactness={
      **dict.fromkeys(asked, 'closed-form'),
      'cardinality_marginals': 'closed-form',
      'joint': 'enumerated',
    },
    log_prob=_log_prob,
    sample=_sample(head.num_labels),
    mode=_mode(head.num_labels),
    conditional=_conditional(head.num_labels),
    partial=_partial(head.num_labels),
    joint=_joint(head.num_labels) if small else None,
    cardinality_marginals=_cardinality_marginals(head.num_labels),
  )


# The subsets.


def _disjoint(key, shape):
  """Blocks of a random permutation; L in the places left over."""
  order = jax.random.permutation(key, shape.num_labels)
  spare = shape.models * shape.size - shape.num_labels
  return jnp.pad(order, (0, spare), constant_values=shape.num_labels).reshape(
    shape.models, shape.size
  )


def _overlapping(key, shape):
  """A partition whose last subset is filled up, then others at random."""
  num_labels, size, models = shape
  partition_key, other_key = jax.random.split(key)
  blocks = -(-num_labels // size)
  order = jax.random.permutation(partition_key, num_labels)
  # The labels that fill up the last subset are the first of the permutation.
  partition = jnp.resize(order, (blocks, size))
  if math.comb(num_labels, size) > MAX_LISTED:
    ranks = jax.random.uniform(other_key, (models - blocks, num_labels))
    others = jax.lax.top_k(ranks, size)[1]
    return jnp.concatenate([partition, others])
  every = np.array([*itertools.combinations(range(num_labels), size)])
  holds = np.zeros((len(every), num_labels), np.float32)
  np.put_along_axis(holds, every, 1.0, axis=1)
  chosen = jax.nn.one_hot(partition, num_labels).sum(1)
  is_block = jnp.any(chosen @ holds.T == size, axis=0)
  first = jax.random.uniform(other_key, (len(every),)) + is_block
  return jnp.asarray(every)[jax.lax.top_k(first, models)[1]]


# One subset after another: [batch, models, ...].


def _bits(params):
  """The 2^k vectors of a subset, [2^k, k]."""
  return distribution.label_vectors(params['frozen']['labels'].shape[1])


def _log_q(params, h, num_labels):
  """log q_m of every vector of every subset, [B, models, 2^k]."""
  labels, bits = params['frozen']['labels'], _bits(params)
  f = h @ params['kernel'] + params['bias'][None, :]
  f = f.reshape(len(h), len(labels), len(bits))
  # A place left over is never on.
  spare = (labels == num_labels).astype(f.dtype) @ bits.T
  return jax.nn.log_softmax(jnp.where(spare[None] > 0, -jnp.inf, f))


def _of_subsets(params, y, fill):
  """The labels of each subset [..., models, k]; `fill` in places left over."""
  spare = jnp.full((*y.shape[:-1], 1), fill, y.dtype)
  return jnp.concatenate([y, spare], -1)[..., params['frozen']['labels']]


def _of_labels(params, values, num_labels):
  """[..., models, k] of disjoint subsets back to [..., labels]."""
  # Places left over hold label L and are sorted behind all others.
  place = jnp.argsort(params['frozen']['labels'].reshape(-1))[:num_labels]
  return values.reshape(*values.shape[:-2], -1)[..., place]


def _log_q_at(params, h, y):
  """log q_m(y_S | h), [B, models]."""
  log_q = _log_q(params, h, y.shape[-1])
  code = distribution.code(_of_subsets(params, y, 0.0))
  return jnp.take_along_axis(log_q, code[..., None], axis=-1)[..., 0]


# What both kinds give.


def _objective(num_labels):
  def objective(params, h, batch, *, key=None):
    del key
    log_q = _log_q_at(params, h, batch.y)
    if batch.where is None:
      return -jnp.sum(log_q, axis=-1)
    known = jnp.all(_of_subsets(params, batch.where, True), axis=-1)
    return -jnp.sum(jnp.where(known, log_q, 0.0), axis=-1)

  return objective


def _on_and_off(params, h, num_labels):
  """Mean over the models of P(y_j = 1) and of P(y_j = 0), [B, L] each."""
  q, bits = jnp.exp(_log_q(params, h, num_labels)), _bits(params)
  labels = params['frozen']['labels'].reshape(-1)
  # One place more, for what is left over.
  held = jnp.zeros(num_labels + 1, q.dtype).at[labels].add(1.0)

  def mean(values):
    total = jnp.zeros((len(h), num_labels + 1), q.dtype)
    total = total.at[:, labels].add(values.reshape(len(h), -1))
    return total[:, :num_labels] / held[None, :num_labels]

  return mean(q @ bits), mean(q @ (1.0 - bits))


def _marginals(num_labels):
  def marginals(params, h, *, key=None):
    del key
    return _on_and_off(params, h, num_labels)[0]

  return marginals


def _logits(num_labels):
  def logits(params, h, y=None, *, key=None):
    del y, key
    on, off = _on_and_off(params, h, num_labels)
    least = jnp.finfo(on.dtype).tiny
    return jnp.log(jnp.maximum(on, least)) - jnp.log(jnp.maximum(off, least))

  return logits


# What disjoint subsets give besides.


def _log_prob(params, h, y, *, key=None):
  del key
  return jnp.sum(_log_q_at(params, h, y), axis=-1)


def _sample(num_labels):
  def sample(params, key, h, n):
    log_q = _log_q(params, h, num_labels)
    return _of_labels(
      params, distribution.table_sample(log_q, key, n), num_labels
    )

  return sample


def _mode(num_labels):
  def mode(params, h):
    best = distribution.table_mode(_log_q(params, h, num_labels))
    return _of_labels(params, best, num_labels)

  return mode


def _conditional(num_labels):
  def conditional(params, h, y):
    log_q, y = _log_q(params, h, num_labels), _of_subsets(params, y, 0.0)
    return _of_labels(
      params, distribution.table_conditional(log_q, y), num_labels
    )

  return conditional


def _partial(num_labels):
  def partial(params, h, y, known):
    p = distribution.table_partial(
      _log_q(params, h, num_labels),
      _of_subsets(params, y, 0.0),
      _of_subsets(params, known, True),
    )
    return _of_labels(params, p, num_labels)

  return partial


def _joint(num_labels):
  def joint(params, h):
    log_q = _log_q(params, h, num_labels)
    vectors = distribution.label_vectors(num_labels)
    code = distribution.code(_of_subsets(params, vectors, 0.0))

    def add(total, of_model):
      log_q, code = of_model
      return total + log_q[:, code], None

    # One after another: each is as large as the table.
    zeros = jnp.zeros((len(h), len(vectors)), log_q.dtype)
    models = (jnp.moveaxis(log_q, 1, 0), code.T)
    return jax.lax.scan(add, zeros, models)[0]

  return joint


def _cardinality_marginals(num_labels):
  """As `distribution.product_cardinality_marginals`, a block for a label.

  The characteristic function of |y_S| in place of that of a label; with
  y_j = 1 one of the size is known, so that L roots of unity suffice.
  """
  angle = -2.0 * np.pi * np.arange(num_labels) / num_labels

  def cardinality_marginals(params, h):
    q, bits = jnp.exp(_log_q(params, h, num_labels)), _bits(params)
    dtype = jnp.result_type(q, 1j)
    codes = np.arange(len(bits))[:, None]
    size = (codes >> np.arange(bits.shape[1]) & 1).sum(1, keepdims=True)
    root = jnp.asarray(np.exp(1j * angle * size), dtype)
    less = jnp.asarray(np.exp(1j * angle * (size - 1.0)), dtype)
    factor = q.astype(dtype) @ root
    before = jnp.cumprod(_shifted(factor), axis=1)
    after = jnp.flip(jnp.cumprod(_shifted(jnp.flip(factor, 1)), axis=1), 1)
    others = before * after
    # [B, models, k, roots]
    own = jnp.einsum('bmv,vk,vt->bmkt', q.astype(dtype), bits, less)
    law = jnp.fft.ifft(own * others[:, :, None, :], axis=-1).real
    law = law.reshape(len(h), -1, num_labels)
    place = jnp.argsort(params['frozen']['labels'].reshape(-1))[:num_labels]
    return jnp.clip(law[:, place], 0.0, 1.0)

  return cardinality_marginals


def _shifted(factor):
  """1 in front, the last one dropped."""
  return jnp.concatenate([jnp.ones_like(factor[:, :1]), factor[:, :-1]], axis=1)


def _shape_of(num_labels, size, models, overlap) -> _Shape:
  if not 1 <= size <= MAX_SIZE:
    raise ValueError(
      f'random_k_labelsets got size={size}; each model has 2^size classes, '
      f'with 1 to {MAX_SIZE} labels. For larger sets use label_powerset.'
    )
  size = min(size, num_labels)
  least = -(-num_labels // size)
  most = math.comb(num_labels, size)
  if not overlap:
    most = least
  chosen = models or (min(2 * num_labels, most) if overlap else least)
  if not least <= chosen <= most:
    raise ValueError(
      f'random_k_labelsets got models={models} with {num_labels} labels in '
      f'{"overlapping" if overlap else "disjoint"} subsets of {size}; it takes '
      f'{least} to {most}, or 0 for its own choice.'
    )
  return _Shape(num_labels, size, chosen)
