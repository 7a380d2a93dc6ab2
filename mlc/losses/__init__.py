"""How the parameters of a head are fitted: one value an example."""

from mlc.losses.ensemble import per_member
from mlc.losses.likelihood import nll
from mlc.losses.own import own
from mlc.losses.pairwise import lsep, pairwise_logistic, zlpr
from mlc.losses.pointwise import asymmetric, focal, sigmoid_cross_entropy
from mlc.losses.setwise import soft_f1, soft_jaccard

__all__ = [
  'asymmetric',
  'focal',
  'lsep',
  'nll',
  'own',
  'pairwise_logistic',
  'per_member',
  'sigmoid_cross_entropy',
  'soft_f1',
  'soft_jaccard',
  'zlpr',
]
