"""The kinds of synthetic worlds: p(y | x) from the logits of the labels.

See mlc/data/synthetic.py for what they have in common. What each is, and how
its dependence is made, stands with its function. All can be drawn from exactly
at any number of labels but the Ising world, whose normaliser is a sum over all
label vectors.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import logsumexp

from mlc.data import joints
from mlc.data.dataset import DatasetError
from mlc.data.joints import vectors

# Labels of which at most one is on, in `exclusive`.
GROUP = 3
# Children of a label, and labels without a parent, in `hierarchy`.
_FANOUT = 2


class World(NamedTuple):
  """One world: everything about it but x.

  Attributes:
    log_joint: logits [N,L] -> log p(y|x) [N,2^L], in the order of
      `distribution.label_vectors`.
    draw: (logits [N,L], uniform [N,L+1]) -> y [N,L], exact, without the table;
      None where there is no such way, and no more labels than for a table.
    hierarchy: bool [L,L], entry [child, parent]; None in a world without.
  """

  log_joint: Callable[..., np.ndarray]
  draw: Callable[..., np.ndarray] | None = None
  hierarchy: np.ndarray | None = None


def independent(
  rng: np.random.Generator, num_labels: int, strength: float
) -> World:
  """p(y|x) = prod_j P(y_j|x)."""
  del rng, num_labels, strength

  def draw(logits, uniform):
    p = np.exp(joints.log_bernoulli(logits)[:, :, 1])
    return uniform[:, : logits.shape[1]] < p

  return World(joints.product, draw)


def chain(rng: np.random.Generator, num_labels: int, strength: float) -> World:
  """y_1, y_2, ... a Markov chain given x: the tree that is a path."""
  del rng
  return _linked_world(np.arange(num_labels) - 1, strength)


def tree(rng: np.random.Generator, num_labels: int, strength: float) -> World:
  """Each label is linked to a random one before it.

      p(y|x) = P(y_1|x) prod_{j>1} P(y_j | x, y_before(j))

  Given x, linked labels have the log odds ratio `strength`, and P(y_j=1|x) =
  sigmoid(f_j). By the random recursive tree, before(j) is uniform over the
  labels before j.
  """
  before = [-1, *(int(rng.integers(j)) for j in range(1, num_labels))]
  return _linked_world(np.array(before), strength)


def logistic_chain(
  rng: np.random.Generator, num_labels: int, strength: float
) -> World:
  """P(y_j=1|x,y_<j) = sigmoid(f_j + strength (y_{j-1} - 1/2))."""
  del rng
  before = np.arange(num_labels) - 1
  shift = strength * np.array([-0.5, 0.5])[None, None, :]

  def steps(logits):
    first = joints.log_bernoulli(logits[:, :1, None] + 0.0 * shift)
    others = joints.log_bernoulli(logits[:, 1:, None] + shift)
    return np.concatenate([first, others], axis=1)

  return _network_world(steps, before)


def ising(rng: np.random.Generator, num_labels: int, strength: float) -> World:
  """p(y|x) ~ exp(theta(x) . y + strength sum_{j<k} J_jk y_j y_k).

  J_jk ~ N(0, 2 / (L - 1)); theta(x) is solved for, so that the marginals are
  sigmoid(f_j).
  """
  most = joints.MAX_EXACT_LABELS
  if num_labels > most:
    raise DatasetError(
      f'synthetic ising: labels={num_labels}; at most {most} are expected, '
      'since it is known by its table of 2^L columns alone. Take kind tree, '
      'which is drawn without it.'
    )
  coupling = rng.standard_normal((num_labels, num_labels))
  coupling *= strength * np.sqrt(2.0 / max(num_labels - 1, 1))
  return World(lambda logits: joints.ising(logits, coupling))


def mixture(
  rng: np.random.Generator, num_labels: int, strength: float
) -> World:
  """Two components of equal weight, in each of which labels are independent.

      p(y|x) = 1/2 prod_j P(y_j|x,z=0) + 1/2 prod_j P(y_j|x,z=1)

  Given x, the component z and label j have log odds ratio +strength or
  -strength, by a coin, and P(y_j=1|x) = sigmoid(f_j).
  """
  sign = 2.0 * rng.integers(2, size=num_labels) - 1.0

  def given(logits):
    """log P(y_j|x,z), [N, L, z, y_j]."""
    p = np.exp(joints.log_bernoulli(logits))[:, :, None, :]
    same = np.where(np.eye(2, dtype=bool), 1.0, -1.0)
    odds = strength * sign[:, None, None] * same
    return np.log(joints.plackett(np.array(0.5), p, odds[None])) + np.log(2.0)

  def log_joint(logits):
    y = vectors(num_labels)
    log_p = given(logits)
    each = [
      log_p[:, :, z, 1] @ y.T + log_p[:, :, z, 0] @ (1.0 - y).T for z in (0, 1)
    ]
    return np.logaddexp(*each) - np.log(2.0)

  def draw(logits, uniform):
    p = np.exp(given(logits)[:, :, :, 1])
    second = uniform[:, num_labels, None] < 0.5
    p = np.where(second, p[:, :, 1], p[:, :, 0])
    return uniform[:, :num_labels] < p

  return World(log_joint, draw)


def hierarchy(
  rng: np.random.Generator, num_labels: int, strength: float
) -> World:
  """Labels 1 and 2 are roots, labels 2k+1 and 2k+2 the children of label k.

      P(y_j=1|x, y_parent=1) = sigmoid(f_j),  P(y_j=1|x, y_parent=0) = 0

  Where the parent is on, neighbours among its children (and among the roots)
  have log odds ratio `strength`. At any strength the marginal of a label is the
  product of sigmoid(f_a) over it and its ancestors.
  """
  del rng
  number = np.arange(num_labels)
  parent = np.where(number < _FANOUT, -1, number // _FANOUT - 1)
  siblings = (number > 0) & (parent == np.roll(parent, 1))
  before = np.where(siblings, number - 1, -1)

  def steps(logits):
    return joints.linked(logits, before, strength)

  return _network_world(steps, before, parent)


def exclusive(
  rng: np.random.Generator, num_labels: int, strength: float
) -> World:
  """Groups of three labels in a row, of which at most one is on.

      P(y_j=1|x) = exp(f_j) / (1 + sum_{k in the group} exp f_k)

  Whether a group has a label is a Markov chain over the groups: neighbours have
  log odds ratio `strength`, which leaves these marginals as they are.
  """
  del rng
  num_groups = -(-num_labels // GROUP)
  before = np.arange(num_groups) - 1

  def by_group(values, filler):
    width = num_groups * GROUP - num_labels
    padded = np.pad(values, [(0, 0), (0, width)], constant_values=filler)
    return padded.reshape(len(values), num_groups, GROUP)

  def steps(some):
    return joints.linked(some, before, strength)

  def log_joint(logits):
    some = logsumexp(by_group(logits, -np.inf), axis=-1)
    y = vectors(num_labels)
    size = by_group(y, 0.0).sum(axis=-1)
    has = np.minimum(size, 1.0)
    table = joints.network(steps(some), before)
    table = table[:, (has @ 2 ** np.arange(num_groups)).astype(int)]
    table += logits @ y.T - some @ has.T
    table[:, (size > 1).any(axis=1)] = -np.inf
    return table

  def draw(logits, uniform):
    some = logsumexp(by_group(logits, -np.inf), axis=-1)
    has = _draw_network(steps(some), before, None, uniform)
    which = uniform[:, num_groups : 2 * num_groups, None]
    share = np.exp(by_group(logits, -np.inf) - some[:, :, None])
    upto = np.cumsum(share, axis=-1)
    # Rounding leaves the sum a little off 1: it is 1 for the last label.
    chosen = np.argmax(which * upto[:, :, -1:] < upto, axis=-1)
    y = (chosen[:, :, None] == np.arange(GROUP)) & has[:, :, None]
    return y.reshape(len(logits), -1)[:, :num_labels]

  return World(log_joint, draw)


KINDS: Mapping[str, Callable[..., World]] = {
  'independent': independent,
  'chain': chain,
  'ising': ising,
  'logistic_chain': logistic_chain,
  'tree': tree,
  'mixture': mixture,
  'hierarchy': hierarchy,
  'exclusive': exclusive,
}


def _linked_world(before, strength):
  return _network_world(
    lambda logits: joints.linked(logits, before, strength), before
  )


def _network_world(
  steps: Callable[..., np.ndarray],
  before: Int[np.ndarray, ' labels'],
  parent: Int[np.ndarray, ' labels'] | None = None,
) -> World:
  """Each label is drawn given the one before it, and only below its parent.

  Args:
    steps: logits -> log P(y_j | y_before(j), parent on) [N, L, 2, 2].
    before: the label of lower index that each depends on; -1 for none.
    parent: the label of lower index without which each is off; -1 for none.
  """

  def log_joint(logits):
    active = None
    if parent is not None:
      y = vectors(len(before)) == 1
      active = (parent < 0)[None, :] | y[:, parent]
    return joints.network(steps(logits), before, active)

  def draw(logits, uniform):
    return _draw_network(steps(logits), before, parent, uniform)

  edges = None
  if parent is not None:
    edges = parent[:, None] == np.arange(len(parent))[None, :]
  return World(log_joint, draw, edges)


def _draw_network(
  steps: Float[np.ndarray, 'rows labels 2 2'],
  before: Int[np.ndarray, ' labels'],
  parent: Int[np.ndarray, ' labels'] | None,
  uniform: Float[np.ndarray, 'rows numbers'],
) -> Bool[np.ndarray, 'rows labels']:
  """One label after another, parents first."""
  p = np.exp(steps[:, :, :, 1])
  y = np.zeros(p.shape[:2], bool)
  for j, i in enumerate(before):
    # Without a label before it both columns are the same.
    y[:, j] = uniform[:, j] < np.where(y[:, i], p[:, j, 1], p[:, j, 0])
    if parent is not None and parent[j] >= 0:
      y[:, j] &= y[:, parent[j]]
  return y
