"""Synthetic worlds with a known p(y | x).

The features are standard normal, x ~ N(0, I), and every label has a logit
that is linear in them, f_j(x) = w_j . x + b_j. What the labels owe to each
other beyond x is the only thing in which the kinds differ (mlc/data/worlds.py
has the formulas):

  independent     nothing
  chain           y_1, y_2, ... a Markov chain given x
  tree            as chain, along the edges of a random tree
  ising           a coupling of every pair, of random sign
  mixture         two components in which labels are independent
  logistic_chain  P(y_j=1|x,y_<j) = sigmoid(f_j + strength (y_{j-1} - 1/2))
  hierarchy       a label is off where its parent is
  exclusive       groups of three labels, of which at most one is on

The knobs, each on its own:

  shared     dependence without x: how alike the weights w_j are
  strength   dependence given x: a log odds ratio, of linked labels
  imbalance  how far the base rates spread: the deviation of b_j
  noise      the share of labels that are flipped after all
  signal     how much x says: the deviation of w_j . x

In the first five kinds P(y_j=1|x) = sigmoid(f_j) *exactly and at every
strength*: linear binary relevance can be Hamming-optimal, and `strength` moves
the dependence and nothing else. At one seed x and these marginals are the same
numbers whatever the strength. (A path of Ising couplings with given marginals
is the chain; for a full graph theta(x) has no closed form and is solved for.)
A classifier chain with linear links has the right links in `chain` but a
slightly wrong intercept, since logit P(y_j=1|x,y_{j-1}=0) is not linear in x.
In `logistic_chain` it is the other way about: the classifier chain is exact
and the marginals are only nearly logistic-linear. In `hierarchy` and
`exclusive` the marginals are products and softmaxes of the logits, also at
every strength; there strength is what links siblings whose parent is on, or
neighbouring groups, beyond what is forbidden.

Where one knob moves what another stands for: total correlation given x depends
on the marginals, so also on signal and imbalance. Noise e makes a marginal
e + (1 - 2e) p, which no longer is logistic-linear, and multiplies covariances
by (1 - 2e)^2; it reaches label vectors that a hierarchy or a group forbids.
Shared weights leave p(y|x) what it is at each f, but f is another.

Total correlation given x, sum_j H(y_j|x) - H(y|x), is 0 at strength 0 and
grows with it: with the marginals held fixed, p of `chain`, `tree` and `ising`
is the distribution of largest entropy for its expected interaction, and that
grows with the multiplier. (In `logistic_chain`, where marginals move too, and
in `mixture` it grows in all worlds tried. In `hierarchy` and `exclusive` it
grows from what the structure forbids, which is not 0.)

Measured by enumeration over five worlds of 6 labels, 10 features, signal 1,
in the limit of infinite data: linear binary relevance has Hamming regret 0 in
`chain` and `ising`, and 0.0001, 0.0003, 0.0012 and 0.0013 (of about 0.33) in
`logistic_chain` at strength 1, 2, 4 and 6. Of the gap in subset accuracy that
it leaves to Bayes, the classifier chain closes 99, 99, 97 and 96 % in `chain`,
99, 98, 94 and 91 % in `ising`, and all in `logistic_chain`.

References:
  Dembczynski, Waegeman, Cheng, Hullermeier, On label dependence and loss
  minimization in multi-label classification, Machine Learning 88, 2012 (why
  binary relevance is enough for Hamming loss and not for subset accuracy).
"""

import inspect
import math
from collections.abc import Mapping

import numpy as np

from mlc.base import lookup
from mlc.data.dataset import Dataset, DatasetError
from mlc.data.joints import MAX_EXACT_LABELS, flipped, vectors
from mlc.data.worlds import KINDS

PREFIX = 'synthetic:'
MAX_LABELS = 10_000
MAX_STRENGTH = 10.0
# Numbers in the largest array, of all joints if there are: 512 MiB in float32.
_MAX_TABLE = 2**27
# Numbers in the float64 tables that are worked on at a time: 32 MiB each.
_BLOCK = 2**22

# The least and the greatest value of each option.
_RANGES: Mapping[str, tuple[float, float]] = {
  'labels': (1, MAX_LABELS),
  'examples': (1, math.inf),
  'features': (1, math.inf),
  'strength': (0.0, MAX_STRENGTH),
  'signal': (0.0, 10.0),
  'shared': (0.0, 1.0),
  'imbalance': (0.0, 10.0),
  'noise': (0.0, 0.5),
  'seed': (0, math.inf),
}
# Their structure is dependence enough to begin with.
_DEFAULT_STRENGTH = {'independent': 0.0, 'hierarchy': 0.0, 'exclusive': 0.0}


def make(
  kind: str,
  *,
  labels: int = 6,
  examples: int = 3000,
  features: int = 10,
  strength: float | None = None,
  signal: float = 1.0,
  shared: float = 0.0,
  imbalance: float = 0.5,
  noise: float = 0.0,
  seed: int = 0,
) -> Dataset:
  """Draws a world and a sample from it.

  The same arguments give the same data. More examples at the same seed extend
  the sample; another strength or noise leaves x and f as they are.

  Args:
    kind: a key of KINDS, see the module.
    labels: L. Up to 14 the joint is tabulated, in 2^L columns; beyond, the
      labels are drawn exactly all the same, but for `ising`.
    examples: N.
    features: D.
    strength: conditional dependence, 0 (none) to 10; a log odds ratio. None:
      2; and 0 for `independent`, which knows no other, and for `hierarchy` and
      `exclusive`, where it comes on top of what the structure forbids.
    signal: standard deviation of w_j . x, how much x says about each label.
    shared: share of w_j that all labels have in common: the correlation of
      any two logits f_j, f_k over x. Labels independent given x are dependent
      without x when it is not 0.
    imbalance: standard deviation of b_j: how far the base rates spread.
    noise: probability with which each label, after all else, is flipped, 0 to
      0.5.
    seed: of the world and of the sample.

  Returns:
    A data set with `log_joint`, the true log p(y | x) in nats, noise included
    (None for more than 14 labels), and of kind `hierarchy` with it.

  Raises:
    DatasetError: unknown kind, or an option out of its range.
  """
  factory = _kind(kind)
  if strength is None:
    strength = _DEFAULT_STRENGTH.get(kind, 2.0)
  options = {
    'labels': labels,
    'examples': examples,
    'features': features,
    'strength': strength,
    'signal': signal,
    'shared': shared,
    'imbalance': imbalance,
    'noise': noise,
    'seed': seed,
  }
  _check(kind, options)
  of_world, of_x, of_y, of_noise = (
    np.random.Generator(np.random.PCG64(child))
    for child in np.random.SeedSequence(seed).spawn(4)
  )
  common = of_world.standard_normal((features, 1))
  own = of_world.standard_normal((features, labels))
  kernel = math.sqrt(shared) * common + math.sqrt(1.0 - shared) * own
  kernel *= signal / math.sqrt(features)
  bias = imbalance * of_world.standard_normal(labels)
  world = factory(of_world, labels, strength)
  x = of_x.standard_normal((examples, features)).astype(np.float32)

  def logits(block):
    # float64 until the end: the joint is the truth that others are held to.
    return x[block].astype(np.float64) @ kernel + bias

  if labels <= MAX_EXACT_LABELS:
    log_joint, y = _tabulated(world, logits, (examples, labels), noise, of_y)
  else:
    log_joint, y = None, _drawn(world, logits, (examples, labels), of_y)
    for block in _blocks(examples, labels):
      y[block] ^= of_noise.random(y[block].shape) < noise
  return Dataset(
    name=_canonical(kind, options),
    x=x,
    y=y,
    label_names=tuple(f'label_{j + 1}' for j in range(labels)),
    feature_names=tuple(f'x_{d + 1}' for d in range(features)),
    log_joint=log_joint,
    hierarchy=world.hierarchy,
    source='drawn from a known p(y|x), mlc/data/synthetic.py',
  )


def parse_and_make(spec: str) -> Dataset:
  """Draws what 'synthetic:KIND,option=value,...' describes.

  Args:
    spec: for instance 'synthetic:chain,strength=2,labels=8'; the prefix may be
      left out. Options are those of `make`.

  Returns:
    The data set.

  Raises:
    DatasetError: unknown kind or option, or a value that does not fit.
  """
  kind, options = parse(spec)
  return make(kind, **options)  # type: ignore[arg-type]


def parse(spec: str) -> tuple[str, dict[str, int | float]]:
  """The kind and the options that `parse_and_make` draws with."""
  kind, *pairs = spec.removeprefix(PREFIX).split(',')
  _kind(kind)
  defaults = inspect.signature(make).parameters
  known = {name: name for name in _RANGES}
  options: dict[str, int | float] = {}
  for pair in pairs:
    name, equals, text = pair.partition('=')
    if not equals:
      raise DatasetError(
        f'{spec!r}: {pair!r} is no option; option=value is expected, e.g. '
        f"'{PREFIX}chain,strength=2,labels=8'."
      )
    name = _lookup(name.strip(), known, f'option in {spec!r}:')
    if name in options:
      raise DatasetError(f'{spec!r}: option {name!r} is given twice.')
    number = int if isinstance(defaults[name].default, int) else float
    try:
      options[name] = number(text)
    except ValueError:
      what = 'a whole number' if number is int else 'a number'
      raise DatasetError(
        f'{spec!r}: {name}={text!r}; {what} is expected.'
      ) from None
  return kind, options


def total_correlation(log_joint: np.ndarray) -> np.ndarray:
  """How far labels are from independence, sum_j H(y_j) - H(y).

  Args:
    log_joint: log p(y) [..., 2^L].

  Returns:
    [...], nats; 0 when and only when the labels are independent.

  References:
    Watanabe, Information theoretical analysis of multivariate correlation,
    IBM Journal of Research and Development 4, 1960.
  """
  log_joint = np.asarray(log_joint, np.float64)
  joint = np.exp(log_joint)
  p = joint @ vectors(log_joint.shape[-1].bit_length() - 1)
  of_each = np.sum(_surprise(p) + _surprise(1.0 - p), axis=-1)
  return of_each - np.sum(_surprise(joint), axis=-1)


def _blocks(examples, numbers_a_row):
  rows = max(1, _BLOCK // numbers_a_row)
  return [slice(start, start + rows) for start in range(0, examples, rows)]


def _tabulated(world, logits, shape, noise, rng):
  """log p(y|x) of all rows, and one label vector of each."""
  examples, labels = shape
  uniform = rng.random(examples)
  log_joint = np.empty((examples, 2**labels), np.float32)
  codes = np.empty(examples, np.int64)
  for block in _blocks(examples, 2**labels):
    table = flipped(world.log_joint(logits(block)), noise)
    log_joint[block] = table
    codes[block] = _draw(table, uniform[block])
  return log_joint, (codes[:, None] >> np.arange(labels)) & 1


def _draw(log_joint, uniform):
  """The code of one label vector a row, by inversion."""
  below = np.cumsum(np.exp(log_joint), axis=1) <= uniform[:, None]
  # Should the sum fall short of 1: the last of the vectors that can occur.
  possible = np.isfinite(log_joint[:, ::-1])
  last = log_joint.shape[1] - 1 - np.argmax(possible, axis=1)
  return np.minimum(below.sum(axis=1), last)


def _drawn(world, logits, shape, rng):
  """One label vector a row, without any table."""
  y = np.empty(shape, np.uint8)
  # The steps of a chain hold four numbers a label.
  for block in _blocks(shape[0], 4 * shape[1]):
    f = logits(block)
    y[block] = world.draw(f, rng.random((len(f), shape[1] + 1)))
  return y


def _surprise(p):
  """-p log p, 0 at 0."""
  return -p * np.log(np.where(p > 0, p, 1.0))


def _kind(kind):
  return _lookup(kind.strip(), KINDS, 'kind of synthetic data')


def _lookup(name, table, what):
  try:
    return lookup(name, table, what)
  except ValueError as error:
    raise DatasetError(str(error)) from None


def _check(kind, options):
  say = f'synthetic {kind}: '
  for name, (low, high) in _RANGES.items():
    # NaN fails the comparison too.
    if not low <= options[name] <= high:
      most = '' if high == math.inf else f' and at most {high:g}'
      raise DatasetError(
        f'{say}{name}={options[name]}; at least {low:g}{most} is expected.'
      )
  if kind == 'independent' and options['strength'] != 0:
    raise DatasetError(
      f'{say}strength={options["strength"]:g}; its labels are independent '
      'given x, so only 0 fits. Take kind chain or ising for conditional '
      'dependence, or option shared for dependence through x.'
    )
  examples, labels = options['examples'], options['labels']
  if labels > MAX_EXACT_LABELS:
    each = max(labels, options['features'])
    what, instead = f'an array of {examples} x {each}', 'or features'
  else:
    each, instead = 2**labels, ''
    what = f'the exact joint of {examples} examples and {labels} labels'
  if examples * each > _MAX_TABLE:
    raise DatasetError(
      f'{say}{what} holds {examples * each} numbers; at most {_MAX_TABLE} are '
      f'allowed. Ask for fewer examples or labels{instead and " " + instead}.'
    )


def _canonical(kind, options):
  """One name for one data set: the options that are not the default."""
  parts = [f'{PREFIX}{kind}']
  for name, parameter in inspect.signature(make).parameters.items():
    if name == 'kind':
      continue
    default = parameter.default
    if name == 'strength':
      default = _DEFAULT_STRENGTH.get(kind, 2.0)
    if options[name] != default:
      parts.append(f'{name}={options[name]:g}')
  return ','.join(parts)
