"""The runs of one program: numbers and rows with a leading run axis."""

import itertools
import types
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped, UInt32

from mlc.base import Batch, Key
from mlc.numerics import take_rows

# Probabilities are counted in parts of it: more than a float has digits for.
_WHOLE = 2**31


class Runs(NamedTuple):
  """What tells one run from another, stacked.

  Rows are indices into the whole data set. Runs with fewer rows than the
  longest are filled up with a row of their own at weight 0.

  Attributes:
    key: all randomness of a run derives from its key.
    learning_rate: peak of the schedule (adamw).
    l2: adamw: decoupled weight decay; lbfgs: penalty, 1 / C.
    train: training rows.
    train_weight: their weights, 0 for padding.
    validation: validation rows.
    validation_weight: their weights, 0 for padding.
    own_l2: dictionary key -> the l2 of the parameters below it, where that is
      not `l2`.
    drawn_until: where an epoch draws its rows with replacement, the probability
      of the training rows up to each and with it, in units of 2^-31; None where
      each row comes once an epoch.
  """

  key: Key
  learning_rate: Float[Array, '*runs']
  l2: Float[Array, '*runs']
  train: Int[Array, '*runs rows']
  train_weight: Float[Array, '*runs rows']
  validation: Int[Array, '*runs others']
  validation_weight: Float[Array, '*runs others']
  # A plain dictionary, as JAX knows no other; nobody writes to it.
  own_l2: Mapping[str, Float[Array, '*runs']] = {}
  drawn_until: UInt32[Array, '*runs rows'] | None = None


@runtime_checkable
class Split(Protocol):
  """The rows of one run, and where they come from."""

  @property
  def train(self) -> np.ndarray: ...
  @property
  def validation(self) -> np.ndarray: ...
  @property
  def seed(self) -> int: ...
  @property
  def fold(self) -> int: ...


def from_splits(
  splits: Sequence[Split],
  learning_rates: Sequence[float] = (0.0,),
  l2s: Sequence[float] = (0.0,),
  own_l2s: Mapping[str, Sequence[float]] = types.MappingProxyType({}),
  shares: Sequence[np.ndarray] | None = None,
) -> tuple[Runs, list[dict[str, Any]]]:
  """Every split with every learning rate and every choice of penalties.

  Runs of one seed share their key, so that they start from the same
  parameters and, on the same rows, see the same batches: what differs between
  them is what is compared.

  Args:
    splits: one for each seed and fold.
    learning_rates: peak learning rates.
    l2s: weight decays or penalties.
    own_l2s: dictionary key -> those of the parameters below it, where they
      are not to share `l2s`.
    shares: for each split how often an epoch draws each of its training rows,
      in proportion; None to have each once.

  Returns:
    The runs, and for each a dictionary of its split (position in `splits`),
    seed, fold, learning_rate, l2, and `<key>_l2` of each key of own_l2s.

  Raises:
    ValueError: when there is nothing to run, a split has no training row, or
      a seed does not fit 32 bits.
  """
  own = [
    dict(zip(own_l2s, values, strict=True))
    for values in itertools.product(*own_l2s.values())
  ]
  grid = list(itertools.product(range(len(splits)), learning_rates, l2s, own))
  if not grid:
    raise ValueError(
      f'{len(splits)} splits, {len(learning_rates)} learning rates and '
      f'{len(l2s)} l2s make no run; give at least one of each.'
    )
  for position, split in enumerate(splits):
    if not len(split.train):
      raise ValueError(
        f'split {position} (seed {split.seed}, fold {split.fold}) has no '
        'training row; lower the test or the validation fraction.'
      )
    if not 0 <= split.seed < 2**32:
      raise ValueError(f'seed {split.seed} is not in [0, 2^32).')
  described = [
    {
      'split': position,
      'seed': int(splits[position].seed),
      'fold': int(splits[position].fold),
      'learning_rate': float(learning_rate),
      'l2': float(l2),
      **{f'{key}_l2': float(value) for key, value in groups.items()},
    }
    for position, learning_rate, l2, groups in grid
  ]
  fill = np.asarray([split.train[0] for split in splits])
  train, train_weight = _padded([split.train for split in splits], fill)
  validation, validation_weight = _padded(
    [split.validation for split in splits], fill
  )
  of_run = np.asarray([position for position, *_ in grid])
  seeds = np.asarray([run['seed'] for run in described], np.uint32)
  return Runs(
    key=jax.vmap(jax.random.key)(jnp.asarray(seeds)),
    learning_rate=jnp.asarray([run['learning_rate'] for run in described]),
    l2=jnp.asarray([run['l2'] for run in described]),
    train=jnp.asarray(train[of_run]),
    train_weight=jnp.asarray(train_weight[of_run]),
    validation=jnp.asarray(validation[of_run]),
    validation_weight=jnp.asarray(validation_weight[of_run]),
    own_l2={
      key: jnp.asarray([float(groups[key]) for *_, groups in grid])
      for key in own_l2s
    },
    drawn_until=None
    if shares is None
    else jnp.asarray(_cumulative(shares, train.shape[1])[of_run]),
  ), described


def rows(
  data: Batch, index: Int[Array, ' batch'], weight: Float[Array, ' batch']
) -> Batch:
  """The rows `index` of the data, each with the given weight."""
  batch = take_rows(data, index)
  weight = weight.astype(data.y.dtype)
  if batch.weight is not None:
    weight = weight * batch.weight
  return batch._replace(weight=weight)


def shuffled(key: Key, weight: Float[Array, ' rows']) -> Int[Array, ' rows']:
  """A random order of the rows, padding last.

  The order of the real rows is the same however much padding follows: bits
  are a function of (key, position).
  """
  # An argsort of bits: jax.random.permutation sorts several times over.
  bits = jax.random.bits(key, weight.shape, jnp.uint32) >> 1
  return jnp.argsort(jnp.where(weight > 0, bits, jnp.uint32(2**31)))


def drawn(key: Key, until: UInt32[Array, ' rows']) -> Int[Array, ' rows']:
  """As many independent draws of a position as there are positions.

  A draw is the same however much padding follows: bits are a function of (key,
  position), and whole numbers add up in any order.

  Args:
    key: of the epoch.
    until: cumulative probability, in units of 2^-31.
  """
  bits = jax.random.bits(key, until.shape, jnp.uint32) >> 1
  return jnp.searchsorted(until, bits, side='right')


def epoch_rows(
  key: Key, run: Runs
) -> tuple[Int[Array, ' rows'], Float[Array, ' rows']]:
  """The training rows of an epoch in their order, and their weights.

  Each once, in a random order; or, where a run draws, as many draws with
  replacement as it has rows. Padding comes last.
  """
  if run.drawn_until is None:
    order = shuffled(key, run.train_weight)
    return run.train[order], run.train_weight[order]
  return run.train[drawn(key, run.drawn_until)], run.train_weight


def expected_weight(run: Runs) -> Float[Array, ' rows']:
  """How often an epoch has each training row, in expectation."""
  if run.drawn_until is None:
    return run.train_weight
  share = jnp.diff(run.drawn_until, prepend=jnp.uint32(0))
  total = jnp.sum(run.train_weight)
  return share.astype(total.dtype) * (total / float(_WHOLE))


def in_batches(
  index: Int[Array, ' rows'], weight: Float[Array, ' rows'], size: int
) -> tuple[Int[Array, 'batches size'], Float[Array, 'batches size']]:
  """Rows cut into batches; the last is filled up with weight 0."""
  size = min(size, len(index))
  fill = (0, -len(index) % size)
  index = jnp.pad(index, fill, mode='edge')
  weight = jnp.pad(weight, fill)
  return index.reshape(-1, size), weight.reshape(-1, size)


def _cumulative(
  shares: Sequence[np.ndarray], length: int
) -> Shaped[np.ndarray, 'splits rows']:
  """Cumulative probabilities; padding adds nothing.

  Raises:
    ValueError: shares that are no proportion.
  """
  until = np.full((len(shares), length), _WHOLE, np.uint32)
  for position, share in enumerate(shares):
    if not (np.all(share >= 0) and 0 < np.sum(share) < np.inf):
      raise ValueError(
        f'the shares of split {position} are to be numbers from 0 on that do '
        f'not all vanish; they go from {np.min(share)} to {np.max(share)}.'
      )
    total = np.cumsum(share, dtype=np.float64)
    # The last sum divided by itself: 1, so that padding is never drawn.
    until[position, : len(share)] = np.rint(total / total[-1] * _WHOLE)
  return until


def _padded(
  rows: Sequence[np.ndarray], fill: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Index arrays of one length, and weights that are 0 on the padding."""
  length = max(len(index) for index in rows)
  padded = np.repeat(fill[:, None], length, axis=1).astype(np.int32)
  weight = np.zeros((len(rows), length), np.float32)
  for position, index in enumerate(rows):
    padded[position, : len(index)] = index
    weight[position, : len(index)] = 1.0
  return padded, weight
