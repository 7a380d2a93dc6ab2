"""Tables log p(y | x) of synthetic worlds, and the links between two labels.

Everything is float64: these joints are the truth that others are held to.

References:
  Plackett, A class of bivariate distributions, JASA 60, 1965.
  Csiszar, I-divergence geometry of probability distributions and minimization
  problems, Annals of Probability 3, 1975 (given marginals).
"""

import functools

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit, log_expit

from mlc import distribution
from mlc.data.dataset import DatasetError

# Up to here joints are tabulated; beyond, labels are drawn without.
MAX_EXACT_LABELS = 14


@functools.cache
def vectors(num_labels: int) -> Float[np.ndarray, 'vectors labels']:
  """`distribution.label_vectors` in float64."""
  return np.asarray(distribution.label_vectors(num_labels), np.float64)


def product(
  logits: Float[np.ndarray, 'batch labels'],
) -> Float[np.ndarray, 'batch vectors']:
  """log p(y) of independent labels."""
  on = logits @ vectors(logits.shape[1]).T
  return on + np.sum(log_expit(-logits), axis=1, keepdims=True)


def ising(
  logits: Float[np.ndarray, 'batch labels'],
  coupling: Float[np.ndarray, 'labels labels'],
) -> Float[np.ndarray, 'batch vectors']:
  """log p(y) of couplings J_jk, j < k, and the marginals sigmoid(logits)."""
  y = vectors(logits.shape[1])
  interaction = np.sum((y @ np.triu(coupling, 1)) * y, axis=1)
  return match_marginals(logits, interaction)


def plackett(
  p: Float[np.ndarray, '*#dims'],
  q: Float[np.ndarray, '*#dims'],
  log_odds_ratio: Float[np.ndarray, '*#dims'] | float,
) -> Float[np.ndarray, '*dims']:
  """P(a, b) of two binary variables with P(a) = p, P(b) = q.

  The root of r = P(a,b) P(not a,not b) / (P(a,not b) P(not a,b)) in the form
  without cancellation; asked for each cell, none is a difference of others.
  """
  r = np.exp(log_odds_ratio)
  s = 1.0 + (p + q) * (r - 1.0)
  root = np.sqrt(s**2 - 4.0 * r * (r - 1.0) * p * q)
  positive = 2.0 * r * p * q / (np.abs(s) + root)
  # s < 0 needs r < 1, so the divisor is only replaced where it is not used.
  negative = (root - s) / np.where(s < 0, 2.0 * (1.0 - r), 1.0)
  return np.where(s < 0, negative, positive)


def log_bernoulli(
  logits: Float[np.ndarray, '*dims'],
) -> Float[np.ndarray, '*dims 2']:
  """log P(y = 0), log P(y = 1)."""
  return np.stack([log_expit(-logits), log_expit(logits)], axis=-1)


def linked(
  logits: Float[np.ndarray, 'batch labels'],
  before: Int[np.ndarray, ' labels'],
  strength: float,
) -> Float[np.ndarray, 'batch labels 2 2']:
  """log P(y_j | y_before(j)) with given marginals and log odds ratio.

  Args:
    logits: of the marginals.
    before: the label that each is linked to; -1 for none.
    strength: the log odds ratio of the two.
  """
  log_p = log_bernoulli(logits)
  p = np.exp(log_p)
  left, right = p[:, before, :, None], p[:, :, None, :]
  same = np.eye(2, dtype=bool)
  pair = plackett(left, right, np.where(same, strength, -strength))
  steps = np.log(pair) - log_p[:, before, :, None]
  alone = (before < 0)[None, :, None, None]
  return np.where(alone, log_p[:, :, None, :], steps)


def network(
  steps: Float[np.ndarray, 'batch labels 2 2'],
  before: Int[np.ndarray, ' labels'],
  active: Bool[np.ndarray, 'vectors labels'] | None = None,
) -> Float[np.ndarray, 'batch vectors']:
  """log p(y) = sum_j log P(y_j | y_before(j)), over the active labels.

  Args:
    steps: log P(y_j | y_before(j)), [b, j, y_before(j), y_j].
    before: a label of lower index for each; -1 for none.
    active: for each label vector which labels have a say; the others are off
      for certain. None when all have, always.
  """
  y = vectors(steps.shape[1]).astype(int)
  table = steps[:, 0, 0][:, y[:, 0]]
  if steps.shape[1] > 1:
    pairs = 2 * y[:, before[1:]] + y[:, 1:]
    # A product with the indicator of each step: no [N, 2^L, L] array.
    chosen = pairs[:, :, None] == np.arange(4)
    if active is not None:
      chosen = chosen & active[:, 1:, None]
    chosen = chosen.reshape(len(y), -1)
    # Not steps[:, 1:].reshape of a view: the product wants rows in one piece.
    rows = np.ascontiguousarray(steps[:, 1:]).reshape(len(steps), -1)
    table = table + rows @ chosen.T.astype(np.float64)
  if active is not None:
    table[:, np.any((y == 1) & ~active, axis=1)] = -np.inf
  return table


def flipped(
  log_joint: Float[np.ndarray, 'batch vectors'], noise: float
) -> Float[np.ndarray, 'batch vectors']:
  """log p of labels each of which is flipped with probability `noise`.

      p'(y) = sum_z p(z) prod_j noise^[y_j != z_j] (1 - noise)^[y_j == z_j],

  which factorises: one label after another, at the cost of L tables.
  """
  if noise == 0.0:
    return log_joint
  num_rows, size = log_joint.shape
  joint = np.exp(log_joint)
  for label in range(size.bit_length() - 1):
    # The middle axis is bit `label` of the code.
    by_bit = joint.reshape(num_rows, -1, 2, 2**label)
    joint = (1.0 - noise) * by_bit + noise * by_bit[:, :, ::-1]
  # With noise every label vector is possible.
  return np.log(joint.reshape(num_rows, size))


def match_marginals(
  logits: Float[np.ndarray, 'batch labels'],
  interaction: Float[np.ndarray, ' vectors'],
) -> Float[np.ndarray, 'batch vectors']:
  """The joint with given marginals and given interactions.

      p(y) ~ exp(theta . y + interaction(y)),  P(y_j = 1) = sigmoid(logits_j)

  theta minimises the convex log Z(theta) - theta . m, by Newton's method with
  step halving, all rows that have not arrived at a time.

  Args:
    logits: of the wanted marginals m.
    interaction: by label vector, in the order of `distribution.label_vectors`.

  Returns:
    log p(y).

  Raises:
    DatasetError: the marginals are not met to 1e-9, being too near 0 or 1 for
      interactions so strong.
  """
  y = vectors(logits.shape[1])
  out = np.empty((len(logits), len(y)))
  rows = np.arange(len(logits))
  m = expit(logits)
  # Start where the interactions' pull on each label, were the labels
  # independent, is already taken back: the mean-field solution.
  free = np.exp(product(logits))
  pull = (free * interaction) @ y - m * (free @ interaction)[:, None]
  theta = logits - pull / (m * expit(-logits))
  table, value = _dual(theta, m, interaction)
  for _ in range(200):
    joint = np.exp(table)
    gradient = joint @ y - m
    out[rows] = table
    error = np.abs(gradient).max(axis=1)
    left = error > 1e-12
    if not left.any():
      return out
    rows, theta, m = rows[left], theta[left], m[left]
    theta, table, value = _newton_step(
      theta, m, interaction, joint[left], gradient[left], value[left]
    )
  if error.max() > 1e-9:
    raise DatasetError(
      'synthetic ising: marginals so near 0 or 1 were not met with couplings '
      f'so strong (off by {error.max():.1e} after 200 steps). '
      'Lower strength or signal.'
    )
  return out


def _dual(theta, m, interaction):
  """log p(y) of theta [N,2^L], and log Z(theta) - theta . m [N]."""
  scores = theta @ vectors(theta.shape[1]).T
  scores += interaction
  scores -= scores.max(axis=1, keepdims=True)
  log_z = np.log(np.sum(np.exp(scores), axis=1))
  scores -= log_z[:, None]
  # Label vector 0 has score interaction[0] before it is normalised.
  return scores, interaction[0] - scores[:, 0] - np.sum(theta * m, axis=1)


def _newton_step(theta, m, interaction, joint, gradient, value):
  num_labels = theta.shape[1]
  y = vectors(num_labels)
  i, k = np.triu_indices(num_labels)
  second = joint @ (y[:, i] * y[:, k])
  hessian = np.empty((len(theta), num_labels, num_labels))
  hessian[:, i, k] = hessian[:, k, i] = second
  mean = gradient + m
  hessian -= mean[:, :, None] * mean[:, None, :]
  # Far below any variance that a float64 gradient can tell from 0.
  hessian += 1e-14 * np.eye(num_labels)
  step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
  gain = 1e-4 * np.sum(gradient * step, axis=1)
  size = np.ones_like(value)
  moved = theta - step
  table, moved_value = _dual(moved, m, interaction)
  for _ in range(50):
    short = moved_value > value - size * gain + 1e-13
    if not short.any():
      break
    size[short] *= 0.5
    moved[short] = theta[short] - size[short, None] * step[short]
    table[short], moved_value[short] = _dual(
      moved[short], m[short], interaction
    )
  return moved, table, moved_value
