"""Rows drawn anew in every epoch: first a label, then one of its rows."""

import numpy as np

from mlc.data.resampling.resampler import Resampled, Resampler, Rows


def class_aware(*, power: float = 0.0) -> Resampler:
  """Draws a label, each as likely as any other, and one of its rows.

      P(row i) = sum_j y_ij / n_j  q_j,    q_j proportional to n_j^power

  with n_j the number of rows that have label j. Rows without any (known) label
  are one more label, so that they are drawn too. An epoch is as many draws,
  with replacement, as there are rows. A row with several labels is drawn for
  each: a frequent label that keeps company with rare ones is drawn more often
  than its turn.

  With adamw the draws of an epoch are a function of seed and epoch. lbfgs,
  which sees all rows at once, weighs them by P(row i) instead, the expectation
  over draws.

  Args:
    power: 0 for every label alike, 1 for labels as frequent as they are (of
      rows with one label each: every row alike).

  Returns:
    A resampler. A label without a positive has no row and is never drawn.

  Raises:
    ValueError: for a power that is not in [0, 1].

  References:
    Shen, Lin, Huang, Relay backpropagation for effective learning of deep
    convolutional neural networks, ECCV 2016, section 3.3 (class-aware).
    Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis, Decoupling
    representation and classifier for long-tailed recognition, ICLR 2020,
    equation 1 (the powers).
  """
  if not 0.0 <= power <= 1.0:
    raise ValueError(
      f'resampling class_aware got power={power}; it takes a number from 0 '
      '(all labels alike) to 1 (as frequent as they are).'
    )
  return _label_first('class_aware', power)


def square_root() -> Resampler:
  """Draws a label by the square root of its frequency, and one of its rows.

  Half way between rows as they come and `class_aware`, whose power is 0.5
  here: see there. (Mahajan et al. copy a row by the factor of the rarest of its
  labels; here the draws for each of its labels add up.)

  Returns:
    A resampler.

  References:
    Mahajan, Girshick, Ramanathan, He, Paluri, Li, Bharambe, van der Maaten,
    Exploring the limits of weakly supervised pretraining, ECCV 2018,
    section 2.
    Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis, Decoupling
    representation and classifier for long-tailed recognition, ICLR 2020,
    equation 1 with q = 1/2.
  """
  return _label_first('square_root', 0.5)


def _label_first(name: str, power: float) -> Resampler:
  def resample(rows: Rows, rng: np.random.Generator) -> Resampled:
    del rng  # Every epoch draws by itself.
    labels = rows.y.astype(np.float64)
    without = labels.sum(axis=1, keepdims=True) == 0
    labels = np.concatenate([labels, without], axis=1)
    count = labels.sum(axis=0)
    there = count > 0
    likely = np.where(there, np.where(there, count, 1.0) ** power, 0.0)
    share = labels @ (likely / np.maximum(count, 1.0)) / likely.sum()
    return Resampled(np.arange(len(rows.y)), share=share)

  return Resampler(name, resample)
