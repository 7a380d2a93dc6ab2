"""Decoders: how a distribution becomes the decision that a metric asks for."""

from mlc.decoding.constraints import given, repaired, within
from mlc.decoding.cost import cost, tuned_cost
from mlc.decoding.expected_f import expected_f
from mlc.decoding.fitted_threshold import (
  micro_f,
  otsu,
  pcut,
  pooled_f,
  tuned_f,
  youden,
)
from mlc.decoding.guarantee import target_precision, target_recall
from mlc.decoding.jaccard import jaccard
from mlc.decoding.joint_mode import greedy, joint_mode
from mlc.decoding.marginals import fit_all
from mlc.decoding.nonempty import hamming_nonempty, subset_nonempty
from mlc.decoding.rank_cut import mcut, rcut
from mlc.decoding.risk_control import f1_control, fnr_control
from mlc.decoding.threshold import threshold
from mlc.decoding.top_k import top_k

__all__ = [
  'cost',
  'expected_f',
  'f1_control',
  'fit_all',
  'fnr_control',
  'given',
  'greedy',
  'hamming_nonempty',
  'jaccard',
  'joint_mode',
  'mcut',
  'micro_f',
  'otsu',
  'pcut',
  'pooled_f',
  'rcut',
  'repaired',
  'subset_nonempty',
  'target_precision',
  'target_recall',
  'threshold',
  'top_k',
  'tuned_cost',
  'tuned_f',
  'within',
  'youden',
]
