"""Decoders: how a distribution becomes the decision that a metric asks for."""

from mlc.decoding.expected_f import expected_f
from mlc.decoding.joint_mode import greedy, joint_mode
from mlc.decoding.threshold import threshold
from mlc.decoding.top_k import top_k
from mlc.decoding.tuned_threshold import tuned_threshold

__all__ = [
  'expected_f',
  'greedy',
  'joint_mode',
  'threshold',
  'top_k',
  'tuned_threshold',
]
