"""How the parameters of a head are fitted: one value an example."""

from mlc.losses.ensemble import per_member
from mlc.losses.imbalance import (
  class_balanced,
  distribution_balanced,
  ldam,
  logit_adjusted,
)
from mlc.losses.likelihood import nll
from mlc.losses.listwise import approx_mrr, approx_ndcg, listnet
from mlc.losses.multiclass import (
  softmax_class_balanced,
  softmax_cross_entropy,
  softmax_focal,
  softmax_ldam,
  softmax_logit_adjusted,
)
from mlc.losses.own import own
from mlc.losses.pairwise import lsep, pairwise_logistic, zlpr
from mlc.losses.pointwise import asymmetric, focal, sigmoid_cross_entropy
from mlc.losses.setwise import soft_f1, soft_f1_macro, soft_jaccard

__all__ = [
  'approx_mrr',
  'approx_ndcg',
  'asymmetric',
  'class_balanced',
  'distribution_balanced',
  'focal',
  'ldam',
  'listnet',
  'logit_adjusted',
  'lsep',
  'nll',
  'own',
  'pairwise_logistic',
  'per_member',
  'sigmoid_cross_entropy',
  'soft_f1',
  'soft_f1_macro',
  'soft_jaccard',
  'softmax_class_balanced',
  'softmax_cross_entropy',
  'softmax_focal',
  'softmax_ldam',
  'softmax_logit_adjusted',
  'zlpr',
]
