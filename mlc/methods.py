"""The registry: every name that a flag, a study or a report may say.

To add a method, write its head in heads/ and add one line to METHODS; flags,
contract tests, sweeps and report rows follow from the dictionary.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from mlc import calibration, decoding, losses
from mlc.base import Calibrator, Decoder, Encoder, Head, Loss, Method, lookup
from mlc.data import resampling
from mlc.data.resampling import Resampler
from mlc.encoders.identity import identity
from mlc.encoders.mlp import mlp
from mlc.heads.bernoulli_mixture import bernoulli_mixture
from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.calibrated_ranking import calibrated_ranking
from mlc.heads.classifier_chain import classifier_chain
from mlc.heads.ensemble import ensemble
from mlc.heads.hierarchical import hierarchical
from mlc.heads.ising import ising
from mlc.heads.label_attention import label_attention
from mlc.heads.label_graph import label_graph
from mlc.heads.label_powerset import label_powerset
from mlc.heads.label_query import label_query
from mlc.heads.label_sequence import label_sequence
from mlc.heads.low_rank import low_rank
from mlc.heads.masked_label import masked_label
from mlc.heads.pruned_sets import pruned_sets
from mlc.heads.random_k_labelsets import random_k_labelsets
from mlc.heads.recurrent_chain import recurrent_chain
from mlc.heads.softmax import softmax
from mlc.heads.stacked import stacked


def ensemble_of_chains(
  num_labels: int,
  *,
  members: int = 10,
  num_samples: int = 20,
  beam_width: int = 10,
) -> Head:
  """Classifier chains over random label orders, their distributions averaged.

  Args:
    num_labels: L.
    members: number of chains, each with an order of its own.
    num_samples: paths a chain, where marginals are estimated (L > 16).
    beam_width: prefixes kept by each chain, where its mode is searched.

  Returns:
    The mixture of the chains as one head.

  References:
    Read, Pfahringer, Holmes, Frank, Classifier chains for multi-label
    classification, Machine Learning 85, 2011, section 3.
  """
  chain = classifier_chain(
    num_labels, order='random', num_samples=num_samples, beam_width=beam_width
  )
  return ensemble(chain, members)


METHODS: Mapping[str, Method] = {
  'softmax': Method(softmax, 'nll', 'subset'),
  'binary_relevance': Method(binary_relevance, 'nll', 'hamming'),
  # One label after another.
  'classifier_chain': Method(classifier_chain, 'nll', 'subset'),
  'ensemble_of_chains': Method(ensemble_of_chains, 'nll', 'hamming'),
  'recurrent_chain': Method(recurrent_chain, 'nll', 'subset'),
  'label_sequence': Method(label_sequence, 'own', 'subset'),
  # Sets of labels.
  'label_powerset': Method(label_powerset, 'nll', 'subset'),
  'pruned_sets': Method(pruned_sets, 'own', 'subset'),
  'random_k_labelsets': Method(random_k_labelsets, 'own', 'hamming'),
  # All labels at once, undirected.
  'ising': Method(ising, 'own', 'subset'),
  'bernoulli_mixture': Method(bernoulli_mixture, 'nll', 'subset'),
  'masked_label': Method(masked_label, 'own', 'hamming'),
  # What labels share is in the features: independent given h.
  'label_attention': Method(label_attention, 'nll', 'hamming'),
  'label_query': Method(label_query, 'nll', 'hamming'),
  'label_graph': Method(label_graph, 'nll', 'hamming'),
  'low_rank': Method(low_rank, 'nll', 'hamming'),
  'stacked': Method(stacked, 'own', 'hamming'),
  # What must hold, and what comes first.
  'hierarchical': Method(hierarchical, 'own', 'hamming'),
  'calibrated_ranking': Method(calibrated_ranking, 'own', 'hamming'),
}

ENCODERS: Mapping[str, Callable[..., Encoder]] = {
  'identity': identity,
  'mlp': mlp,
}

LOSSES: Mapping[str, Callable[..., Loss]] = {
  'nll': losses.nll,
  'own': losses.own,
  # Of one label at a time.
  'sigmoid_cross_entropy': losses.sigmoid_cross_entropy,
  'focal': losses.focal,
  'asymmetric': losses.asymmetric,
  # The same, weighed by how rare labels are.
  'class_balanced': losses.class_balanced,
  'distribution_balanced': losses.distribution_balanced,
  'ldam': losses.ldam,
  'logit_adjusted': losses.logit_adjusted,
  # Of classes, one of which holds.
  'softmax_cross_entropy': losses.softmax_cross_entropy,
  'softmax_focal': losses.softmax_focal,
  'softmax_class_balanced': losses.softmax_class_balanced,
  'softmax_ldam': losses.softmax_ldam,
  'softmax_logit_adjusted': losses.softmax_logit_adjusted,
  # Of the order of the labels.
  'pairwise_logistic': losses.pairwise_logistic,
  'lsep': losses.lsep,
  'zlpr': losses.zlpr,
  'listnet': losses.listnet,
  'approx_ndcg': losses.approx_ndcg,
  'approx_mrr': losses.approx_mrr,
  # Of sets of labels, and of a label over a batch.
  'soft_f1': losses.soft_f1,
  'soft_jaccard': losses.soft_jaccard,
  'soft_f1_macro': losses.soft_f1_macro,
}

RESAMPLERS: Mapping[str, Callable[..., Resampler]] = {
  'none': resampling.none,
  'ml_ros': resampling.ml_ros,
  'ml_rus': resampling.ml_rus,
  'lp_ros': resampling.lp_ros,
  'lp_rus': resampling.lp_rus,
  'mlsmote': resampling.mlsmote,
  'remedial': resampling.remedial,
  'class_aware': resampling.class_aware,
  'square_root': resampling.square_root,
}

DECODERS: Mapping[str, Callable[..., Decoder]] = {
  'hamming': decoding.threshold,
  'subset': decoding.joint_mode,
  'greedy': decoding.greedy,
  'f_beta': decoding.expected_f,
  'top_k': decoding.top_k,
  'jaccard': decoding.jaccard,
  'hamming_nonempty': decoding.hamming_nonempty,
  'subset_nonempty': decoding.subset_nonempty,
  'tuned_f': decoding.tuned_f,
  'pooled_f': decoding.pooled_f,
  'micro_f': decoding.micro_f,
  'youden': decoding.youden,
  'pcut': decoding.pcut,
  'otsu': decoding.otsu,
  'cost': decoding.cost,
  'tuned_cost': decoding.tuned_cost,
  'target_precision': decoding.target_precision,
  'target_recall': decoding.target_recall,
  'rcut': decoding.rcut,
  'mcut': decoding.mcut,
  'fnr_control': decoding.fnr_control,
  'f1_control': decoding.f1_control,
}


CALIBRATORS: Mapping[str, Callable[..., Calibrator]] = {
  'none': calibration.none,
  'temperature': calibration.temperature,
  'vector': calibration.vector,
  'platt': calibration.platt,
  'isotonic': calibration.isotonic,
}


def build_head(
  name: str, facts: Mapping[str, Any], options: Mapping[str, Any]
) -> Head:
  """The head of method `name` for a data set.

  Args:
    name: a key of METHODS.
    facts: what the data say, by the names of a factory's positional arguments.
    options: what the user says, by the names of its keyword-only arguments.
  """
  factory = lookup(name, METHODS, 'method').head
  wanted = inspect.signature(factory).parameters.values()
  positional = [p for p in wanted if p.kind is not p.KEYWORD_ONLY]
  return factory(*[facts[p.name] for p in positional], **options)


def build_loss(name: str, head: Head, options: Mapping[str, Any]) -> Loss:
  """The loss `name`; on an ensemble each member is trained on its own."""
  loss = lookup(name, LOSSES, 'loss')(**options)
  return losses.per_member(loss) if head.member is not None else loss
