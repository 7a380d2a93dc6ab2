"""How far labels are from independence, with and without conditioning on x.

numpy in float64, on finished numbers: nothing here is part of a program that
trains. Information is in nats; 0 says independent.

*Marginal* dependence is what the label matrix shows by itself. Much of it goes
through x: two labels that the same features explain are dependent without x
and may be independent given x. Only what is left given x, the *conditional*
dependence, can make a joint model better than binary relevance in the limit.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float
from scipy import special

from mlc.numerics import pair_information

# Permuted label sets that are mostly different ones are counted, not weighed.
_MOST_DISTINCT = 0.5
_NEWTON_STEPS = 50
_LEVEL = 0.05


def entropy(p: Float[np.ndarray, '*shape']) -> Float[np.ndarray, '*shape']:
  """Of Bernoulli variables; 0 where p is undefined."""
  log = np.log(np.where(p > 0, p, 1.0))
  log_off = np.log(np.where(p < 1, 1.0 - p, 1.0))
  return np.nan_to_num(-p * log - (1.0 - p) * log_off)


def mean_over_pairs(
  values: Float[np.ndarray, '*batch labels labels'],
  counted: Bool[np.ndarray, 'labels labels'] | None = None,
) -> float | None:
  """Mean over the pairs j < k (and the batch); None where there is none."""
  pairs = np.triu(np.ones(values.shape[-2:], bool), k=1)
  if counted is not None:
    pairs &= counted
  return float(np.mean(values[..., pairs])) if pairs.any() else None


class Pairs(NamedTuple):
  """Pairs of labels in a sample.

  Attributes:
    both: share of rows with both, among those where both are known.
    p: [j, k], share of rows with j, among the same.
    n: number of those rows.
  """

  both: Float[np.ndarray, 'labels labels']
  p: Float[np.ndarray, 'labels labels']
  n: Float[np.ndarray, 'labels labels']

  @property
  def varying(self) -> Bool[np.ndarray, 'labels labels']:
    """Pairs neither label of which is constant: others depend on nothing."""
    of_each = entropy(self.p)
    return np.minimum(of_each, of_each.T) > 0


def count_pairs(
  y: Float[np.ndarray, 'rows labels'],
  known: Bool[np.ndarray, 'rows labels'] | None = None,
) -> Pairs:
  """Counts the pairs of a sample; y is 0 where it is not known."""
  both = y.T @ y
  if known is None or known.all():  # two thirds of the time on many labels
    n = np.full_like(both, len(y))
    first = np.repeat(y.sum(axis=0)[:, None], len(both), axis=1)
  else:
    seen = known.astype(y.dtype)
    n, first = seen.T @ seen, y.T @ seen
  with np.errstate(divide='ignore', invalid='ignore'):
    return Pairs(both / n, first / n, n)


def tree_information(
  information: Float[np.ndarray, 'labels labels'],
) -> float:
  """What the best tree of labels explains: a bound on the total correlation.

      max over trees T of sum_{(j,k) in T} I(y_j; y_k) <= sum_j H(y_j) - H(y)

  with equality when the labels are a tree. It asks for pairs only, so that it
  can be estimated where the entropy of whole label sets cannot.

  References:
    Chow, Liu, Approximating discrete probability distributions with dependence
    trees, IEEE Transactions on Information Theory 14, 1968, section III.
  """
  # Absent edges are 0 for scipy, and worth 0 here too.
  tree = scipy.sparse.csgraph.minimum_spanning_tree(-np.triu(information, k=1))
  return abs(float(tree.sum()))


class Marginal(NamedTuple):
  """Dependence of the labels of a sample, not conditioned on x.

  Attributes:
    information: mean over pairs of I(y_j; y_k), less what chance gives.
    tree_information: see the function, of the pairs that are dependent by a
      likelihood ratio test (Bonferroni), less what chance gives for each.
    plug_in: sum_j H(y_j) - H(y) of the observed frequencies, too large.
    by_chance: the same of labels permuted one by one, which are independent.
    total_correlation: plug_in - by_chance, at least 0; None where label sets
      are so many that permuted rows are mostly all different.
  """

  information: float | None
  tree_information: float
  plug_in: float | None
  by_chance: float | None
  total_correlation: float | None


def of_sample(
  y: Float[np.ndarray, 'rows labels'],
  known: Bool[np.ndarray, 'rows labels'] | None = None,
  *,
  permutations: int = 10,
  seed: int = 0,
) -> Marginal:
  """Measures the dependence among the labels of a sample.

  The information of a pair is 1/(2n) too large in the mean, n being the rows
  (Miller 1955). The entropy of whole label sets has no such formula where most
  sets are rare; permuting each label by itself keeps every frequency and makes
  labels independent, so that what is left is bias. Permuted labels form more
  different sets than the data, hence the difference errs to the small side.

  Args:
    y: 0.0 or 1.0; 0 where unknown.
    known: which labels are known; None for all. With unknown labels there are
      no label sets and no total correlation.
    permutations: over which the baseline is the mean.
    seed: of the permutations.

  Returns:
    A `Marginal`.
  """
  pairs = count_pairs(y, known)
  with np.errstate(divide='ignore', invalid='ignore'):
    information = pair_information(pairs.both, pairs.p) - 0.5 / pairs.n
    # The best of many trees would be one of chance findings.
    count = max(y.shape[1] * (y.shape[1] - 1) // 2, 1)
    least = special.chdtri(1, _LEVEL / count) / (2.0 * pairs.n)
  information = np.where(pairs.varying, information, 0.0)
  mean = mean_over_pairs(information, pairs.varying)
  tree = tree_information(np.where(information > least, information, 0.0))
  mean = None if mean is None else max(mean, 0.0)
  if known is not None and not known.all():
    return Marginal(mean, tree, None, None, None)
  single = float(entropy(y.mean(axis=0)).sum())
  whole, _ = _entropy_of_sets(y)
  rng = np.random.default_rng(seed)
  chance: list[float] = []
  for _ in range(permutations):
    permuted, distinct = _entropy_of_sets(rng.permuted(y, axis=0))
    if distinct > _MOST_DISTINCT * len(y):
      return Marginal(mean, tree, single - whole, None, None)
    chance.append(single - permuted)
  by_chance = float(np.mean(chance))
  corrected = max(single - whole - by_chance, 0.0)
  return Marginal(mean, tree, single - whole, by_chance, corrected)


class Residuals(NamedTuple):
  """Dependence that is left given x, for each pair of labels.

  Attributes:
    correlation: of the residuals, [labels, labels].
    error: standard error of `correlation`.
    z: standard normal where labels are independent given x and p is right.
    counted: pairs neither of which is explained without residual.
  """

  correlation: Float[np.ndarray, 'labels labels']
  error: Float[np.ndarray, 'labels labels']
  z: Float[np.ndarray, 'labels labels']
  counted: Bool[np.ndarray, 'labels labels']


def residuals(
  y: Float[np.ndarray, 'rows labels'],
  p: Float[np.ndarray, 'rows labels'],
  known: Bool[np.ndarray, 'rows labels'] | None = None,
) -> Residuals:
  """What binary relevance leaves unexplained, two labels at a time.

      e_j = y_j - P(y_j = 1 | x),   R_i = e_ij e_ik
      r_jk = sum_i R_i / sqrt(sum_i e_ij^2 sum_i e_ik^2)
      z_jk = sum_i R_i / sqrt(max(sum_i R_i^2, sum_i v_ij v_ik)),  v = p (1 - p)

  Given x, e_j e_k has the mean Cov(y_j, y_k | x), which is 0 when the labels
  are independent. The rows must not be those that p was fitted to. An error
  of p matters only where both labels have one in the same rows: such a common
  error looks like dependence. Dependence of changing sign over x cancels.

  Either sum estimates the variance of the numerator under independence. Of
  rare labels that never occur together the first is far too small, of those
  that do the second: the larger one keeps z from claiming too much.

  Args:
    y: 0.0 or 1.0.
    p: P(y_j = 1 | x) of held-out rows.
    known: which labels are known; None for all.

  Returns:
    `Residuals`.

  References:
    Shah, Peters, The hardness of conditional independence testing and the
    generalised covariance measure, Annals of Statistics 48, 2020, section 3.
  """
  seen = np.ones_like(y) if known is None else known.astype(y.dtype)
  e = np.where(seen > 0, y - p, 0.0)
  square = e * e
  total, squares = e.T @ e, square.T @ square
  v = seen * p * (1.0 - p)
  variance = np.maximum(squares, v.T @ v)
  n = seen.T @ seen
  of_j = square.T @ seen
  scale = np.sqrt(of_j * of_j.T)
  with np.errstate(divide='ignore', invalid='ignore'):
    deviation = np.sqrt(np.maximum(squares - total**2 / n, 0.0))
    parts = total / scale, deviation / scale, total / np.sqrt(variance)
  counted = (n > 1) & (scale > 0) & (squares > 0)
  np.fill_diagonal(counted, False)
  correlation, error, z = (np.where(counted, part, 0.0) for part in parts)
  return Residuals(correlation, error, z, counted)


def recalibrated(
  y: Float[np.ndarray, 'rows labels'],
  p: Float[np.ndarray, 'rows labels'],
  known: Bool[np.ndarray, 'rows labels'] | None = None,
) -> Float[np.ndarray, 'rows labels']:
  """p with slope and offset of each label's logits fitted to the rows.

      sigmoid(a_j logit p_j + b_j), a penalty ((a_j - 1)^2 + b_j^2) / 2

  Two labels whose probabilities are too timid, or both too high, err together
  in every row, which would pass for dependence. This takes such errors off;
  two numbers a label say nothing about pairs.

  References:
    Platt, Probabilistic outputs for support vector machines, Advances in Large
    Margin Classifiers, 2000.
  """
  seen = np.ones_like(y) if known is None else known.astype(y.dtype)
  inside = np.clip(p, 1e-7, 1.0 - 1e-7)
  f = np.log(inside) - np.log1p(-inside)
  a, b = np.ones(y.shape[1]), np.zeros(y.shape[1])
  for _ in range(_NEWTON_STEPS):
    q = _sigmoid(a * f + b)
    e, w = seen * (q - y), seen * q * (1.0 - q)
    of_a, of_b = np.sum(e * f, axis=0) + a - 1.0, np.sum(e, axis=0) + b
    aa, ab, bb = (np.sum(w * f**k, axis=0) for k in (2, 1, 0))
    aa, bb = aa + 1.0, bb + 1.0
    # The penalty keeps the determinant above 1.
    steps = np.stack([bb * of_a - ab * of_b, aa * of_b - ab * of_a])
    steps = np.clip(steps / (aa * bb - ab**2), -1.0, 1.0)
    a, b = a - steps[0], b - steps[1]
    if np.max(np.abs(steps), initial=0.0) < 1e-8:
      break
  return _sigmoid(a * f + b)


class Conditional(NamedTuple):
  """Conditional dependence over all pairs, from residuals.

  Attributes:
    correlation: root of the mean over pairs of r_jk^2, less what chance gives;
      the measure of strength that data sets are compared by. 0 to 1.
    information: half the mean of the same squares: the mean conditional mutual
      information to second order in r, if r does not change with x.
    largest_z: of all pairs, in absolute value.
    p_value: that some pair would differ as much by chance (Bonferroni).
    dependent_share: share of the pairs found dependent, where at most 5 % of
      the findings are expected to be false (Benjamini and Hochberg).
    pairs: number of pairs.
  """

  correlation: float
  information: float
  largest_z: float
  p_value: float
  dependent_share: float
  pairs: int


def strength(found: Residuals) -> Conditional | None:
  """Summary over the pairs; None when no pair can be measured.

  Of n rows without any dependence r^2 is 1/n or so in the mean; its estimated
  square error is taken off, which makes the mean over pairs unbiased.
  """
  pairs = np.triu(found.counted, k=1)
  if not pairs.any():
    return None
  excess = np.mean(found.correlation[pairs] ** 2 - found.error[pairs] ** 2)
  square = max(float(excess), 0.0)
  z = np.abs(found.z[pairs])
  p = np.sort(2.0 * special.ndtr(-z))
  # Benjamini, Hochberg 1995: the step-up procedure.
  below = np.flatnonzero(p <= _LEVEL * np.arange(1, p.size + 1) / p.size)
  return Conditional(
    correlation=float(np.sqrt(square)),
    information=0.5 * square,
    largest_z=float(z.max()),
    p_value=float(min(1.0, p.min() * p.size)),
    dependent_share=float((below[-1] + 1) / p.size if below.size else 0.0),
    pairs=int(pairs.sum()),
  )


def strongest(
  found: Residuals, names: Any, count: int = 5
) -> list[dict[str, Any]]:
  """The pairs of largest |z|, by the names of their labels."""
  j, k = np.nonzero(np.triu(found.counted, k=1))
  order = np.argsort(-np.abs(found.z[j, k]), kind='stable')[:count]
  return [
    {
      'labels': [str(names[a]), str(names[b])],
      'correlation': float(found.correlation[a, b]),
      'z': float(found.z[a, b]),
    }
    for a, b in zip(j[order], k[order], strict=True)
  ]


def _sigmoid(f):
  return 0.5 * (1.0 + np.tanh(0.5 * f))


def _entropy_of_sets(y: Float[np.ndarray, 'rows labels']) -> tuple[float, int]:
  """Entropy of the observed label sets, and how many there are."""
  packed = np.packbits(y > 0, axis=1)
  whole = np.ascontiguousarray(packed).view(f'V{packed.shape[1]}')
  _, count = np.unique(whole.ravel(), return_counts=True)
  share = count / len(y)
  return float(-np.sum(share * np.log(share))), len(count)
