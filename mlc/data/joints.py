"""log p(y | x) of each kind of synthetic world, from the logits of its labels.

See mlc/data/synthetic.py for what the kinds are. Everything is float64: these
joints are the truth that others are held to.

References:
  Plackett, A class of bivariate distributions, JASA 60, 1965.
  Csiszar, I-divergence geometry of probability distributions and minimization
  problems, Annals of Probability 3, 1975 (given marginals).
"""

import functools
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float
from scipy.special import expit, log_expit

from mlc import distribution
from mlc.data.dataset import DatasetError


@functools.cache
def vectors(num_labels: int) -> Float[np.ndarray, 'vectors labels']:
  """`distribution.label_vectors` in float64."""
  return np.asarray(distribution.label_vectors(num_labels), np.float64)


# Each kind: (logits f [N,L], strength, coupling [L,L]) -> log p(y|x) [N,2^L].


def _independent(logits, strength, coupling):
  del strength, coupling
  return _product(logits)


def _chain(logits, strength, coupling):
  del coupling
  log_p = np.stack([log_expit(-logits), log_expit(logits)], axis=-1)
  p = np.exp(log_p)
  left, right = p[:, :-1, :, None], p[:, 1:, None, :]
  same = np.eye(2, dtype=bool)
  pair = _plackett(left, right, np.where(same, strength, -strength))
  return _markov(log_p[:, 0], np.log(pair) - log_p[:, :-1, :, None])


def _logistic_chain(logits, strength, coupling):
  del coupling
  shift = strength * np.array([-0.5, 0.5])
  f = logits[:, 1:, None] + shift[None, None, :]
  steps = np.stack([log_expit(-f), log_expit(f)], axis=-1)
  first = np.stack([log_expit(-logits[:, 0]), log_expit(logits[:, 0])], axis=-1)
  return _markov(first, steps)


def _ising(logits, strength, coupling):
  del strength  # the couplings carry it
  y = vectors(logits.shape[1])
  interaction = np.sum((y @ np.triu(coupling, 1)) * y, axis=1)
  return match_marginals(logits, interaction)


KINDS: Mapping[str, Callable[..., np.ndarray]] = {
  'independent': _independent,
  'chain': _chain,
  'ising': _ising,
  'logistic_chain': _logistic_chain,
}


def _product(logits):
  on = logits @ vectors(logits.shape[1]).T
  return on + np.sum(log_expit(-logits), axis=1, keepdims=True)


def _plackett(p, q, log_odds_ratio):
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


def _markov(first, steps):
  """log p(y) from log p(y_1) [N,2] and log p(y_j|y_{j-1}) [N,L-1,2,2]."""
  num_labels = steps.shape[1] + 1
  y = vectors(num_labels).astype(int)
  table = first[:, y[:, 0]]
  if num_labels == 1:
    return table
  pairs = 2 * y[:, :-1] + y[:, 1:]
  # A product with the indicator of each step: no [N, 2^L, L] array.
  chosen = (pairs[:, :, None] == np.arange(4)).reshape(len(y), -1)
  return table + steps.reshape(len(steps), -1) @ chosen.T.astype(np.float64)


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
  free = np.exp(_product(logits))
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
