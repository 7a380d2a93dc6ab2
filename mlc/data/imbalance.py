"""How unevenly labels occur, and how far rare and frequent ones coincide.

References:
  Charte, Rivera, del Jesus, Herrera, Addressing imbalance in multilabel
  classification: measures and random resampling algorithms, Neurocomputing
  163, 2015, section 3 (IRLbl, its mean); Dealing with difficult minority labels
  in imbalanced multilabel data sets, Neurocomputing 326, 2019 (SCUMBLE).
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped


def imbalance_ratios(
  positives: Shaped[np.ndarray, ' labels'],
) -> Float[np.ndarray, ' labels']:
  """IRLbl, how much rarer a label is than the most frequent one.

      IRLbl(j) = max_k n_k / n_j

  Args:
    positives: n, the rows that have each label, or the sum of their weights.

  Returns:
    [L], from 1 on; 1 for a label without a positive, which has no ratio.
  """
  most = positives.max(initial=0)
  there = positives > 0
  return np.where(there, most / np.where(there, positives, 1), 1.0)


def mean_ratio(positives: Shaped[np.ndarray, ' labels']) -> float:
  """MeanIR, the mean of IRLbl over the labels that have a positive; else 1."""
  ratios = imbalance_ratios(positives)[positives > 0]
  return float(ratios.mean()) if len(ratios) else 1.0


def minority(
  positives: Shaped[np.ndarray, ' labels'],
) -> Bool[np.ndarray, ' labels']:
  """The labels that are rarer than the mean: IRLbl(j) > MeanIR."""
  return imbalance_ratios(positives) > mean_ratio(positives)


def scumble(
  y: Shaped[np.ndarray, 'rows labels'], ratios: Float[np.ndarray, ' labels']
) -> Float[np.ndarray, ' rows']:
  """How far frequent and rare labels coincide in each row.

      SCUMBLE(i) = 1 - (geometric mean of IRLbl) / (mean of IRLbl)

  over the labels of row i: one minus Atkinson's index of their ratios.

  Args:
    y: labels, 0 or 1.
    ratios: IRLbl.

  Returns:
    [N], from 0 to below 1; 0 for a row with one label or none.
  """
  y = y.astype(np.float64)
  size = np.maximum(y.sum(axis=1), 1.0)
  geometric, mean = np.exp(y @ np.log(ratios) / size), y @ ratios / size
  labelled = mean > 0
  ratio = geometric / np.where(labelled, mean, 1.0)
  # Rounding would put equal ratios a hair below 0.
  return np.where(labelled, np.maximum(1.0 - ratio, 0.0), 0.0)


def statistics(
  y: Shaped[np.ndarray, 'rows labels'],
  weight: Float[np.ndarray, ' rows'] | None = None,
) -> dict[str, Any]:
  """The imbalance of some rows, as JSON.

  Args:
    y: labels, 0 or 1; 0 where unknown.
    weight: how often each row counts; None for once.

  Returns:
    rows: their number (of weights the sum).
    mean_imbalance_ratio, max_imbalance_ratio: of IRLbl, over labels that have a
      positive.
    scumble: mean over the rows that have a label; None without any.
    imbalance_ratios: IRLbl of each label; None where it has no positive.
  """
  y = y.astype(np.float64)
  weight = np.ones(len(y)) if weight is None else weight
  positives = weight @ y
  ratios = imbalance_ratios(positives)
  there = positives > 0
  labelled = weight * (y.sum(axis=1) > 0)
  mean = None
  if labelled.sum() > 0:
    mean = float(labelled @ scumble(y, ratios) / labelled.sum())
  return {
    'rows': round(float(weight.sum())),
    'mean_imbalance_ratio': mean_ratio(positives),
    'max_imbalance_ratio': float(ratios.max(initial=1.0)),
    'scumble': mean,
    'imbalance_ratios': [
      float(ratio) if known else None
      for ratio, known in zip(ratios, there, strict=True)
    ],
  }
