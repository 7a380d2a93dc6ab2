"""From fitted parameters to numbers: encode, calibrate, decode, measure.

Calibrators and decoders are fitted on validation rows only, and both on all of
them: a decoder sees probabilities that were mended on the very rows it is
fitted on, and that are a little better there than elsewhere. The test rows
enter `decide` once, after every choice has been made.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mlc import decoding, distribution
from mlc.base import (
  Batch,
  Calibrator,
  Decoder,
  Encoder,
  Head,
  Key,
  Params,
  require,
)
from mlc.heads.tabulated import tabulated
from mlc.metrics import Measured, Metric, Predictions, decomposition, measure
from mlc.numerics import in_blocks, take_rows, weighted_mean

# Metrics of probabilities, which calibration is to better.
PROBABILISTIC = ('nll', 'ece', 'ece_label', 'brier_label', 'ece_set')
# Before the names of those of the head as it was.
UNCALIBRATED = 'uncalibrated_'
# Of an [L,L] array for each row of a block: 128 MiB in float32.
_BLOCK_NUMBERS = 2**25
# Of a regret that is taken apart: 12 answers of 4^L terms a row and criterion.
MAX_DECOMPOSED_LABELS = 10


class Judged(NamedTuple):
  """What an evaluation gives, for one run or stacked over runs.

  Attributes:
    values: decoder -> metric -> number.
    marginals: P(y_j = 1 | h) of every row [N,L].
    decisions: decoder -> the decided label vectors [N,L].
    confidence: decoder -> p(d | h) of the decisions, see `Decided`.
    undefined: decoder -> metric -> for how many rows or labels it is undefined;
      not of every number of `values`.
    information: of the model about pairs of labels, see `Decided`.
  """

  values: Mapping[str, Mapping[str, Array]]
  marginals: Float[Array, '*runs rows labels']
  decisions: Mapping[str, Float[Array, '*runs rows labels']]
  confidence: Mapping[str, Float[Array, '*runs rows']]
  undefined: Mapping[str, Mapping[str, Array]]
  information: Float[Array, '*runs rows'] | None = None


def rows_of(
  data: Batch, index: Int[Array, ' rows'], weight: Float[Array, ' rows']
) -> Batch:
  """The rows `index` of the data set, those of weight 0 being padding."""
  return take_rows(data, index)._replace(weight=weight)


def calibrate(
  encoder: Encoder,
  head: Head,
  calibrator: Calibrator,
  params: Params,
  validation: Batch,
  key: Key,
) -> Params:
  """The parameters of `calibrator.apply(head)`, the encoder's beside them."""
  state = calibrator.fit(
    head,
    params['head'],
    encoder.apply(params['encoder'], validation.x),
    validation.y,
    where=validation.where,
    weight=validation.weight,
    key=key,
  )
  mended = {'head': params['head'], 'calibration': state}
  return {'encoder': params['encoder'], 'head': mended}


def fit_decoders(
  encoder: Encoder,
  head: Head,
  decoders: Mapping[str, Decoder],
  params: Params,
  validation: Batch,
  key: Key,
  *,
  rules: Any = None,
  marginals: Float[Array, 'rows labels'] | None = None,
) -> Mapping[str, Any]:
  """What each decoder learns from the validation rows, by its name.

  `rules` are those of the run, for decoders that learn something else by them.
  The `marginals` of the rows are asked for where they are not given.
  """
  return decoding.fit_all(
    decoders,
    head,
    params['head'],
    encoder.apply(params['encoder'], validation.x),
    validation.y,
    where=validation.where,
    weight=validation.weight,
    key=key,
    rules=rules,
    marginals=marginals,
  )


class Decided(NamedTuple):
  """What a model says of some rows, before anything is measured.

  Attributes:
    seen: the truth, the marginals and log p(y | h) of the rows.
    decisions: decoder -> the decided label vectors [N,L].
    confidence: decoder -> p(d | h) of the decisions [N]; none where the head
      has no log_prob, or some label is unknown.
    certified: 1 where the mode is searched, and proved to be found [N]; None
      where nothing is searched or proved.
    information: mean over pairs of labels of I(y_j; y_k | h) in the model, in
      nats [N]; None where it lists no joint, or labels are independent.
  """

  seen: Predictions
  decisions: Mapping[str, Float[Array, '*runs rows labels']]
  confidence: Mapping[str, Float[Array, '*runs rows']]
  certified: Float[Array, '*runs rows'] | None = None
  information: Float[Array, '*runs rows'] | None = None


def block_of(head: Head) -> int:
  """How many rows to decode at a time, by what an [L,L] array a row takes."""
  return max(8, min(256, _BLOCK_NUMBERS // head.num_labels**2))


def marginals_of(
  encoder: Encoder, head: Head, params: Params, rows: Batch, key: Key
) -> Float[Array, 'rows labels']:
  """P(y_j = 1 | h) of one run."""
  marginals = require(head, 'marginals', 'evaluation')
  h = encoder.apply(params['encoder'], rows.x)
  return marginals(params['head'], h, key=key)


def decide(
  encoder: Encoder,
  head: Head,
  decoders: Mapping[str, Decoder],
  params: Params,
  states: Mapping[str, Any],
  rows: Batch,
  key: Key,
) -> Decided:
  """The marginals, likelihood and decisions of one run.

  Args:
    encoder: features to representation.
    head: the distribution.
    decoders: name -> decoder.
    params: {'encoder', 'head'} of one run.
    states: decoder name -> what `fit_decoders` gave.
    rows: the rows to judge, a block of them (`block_of`).
    key: for capabilities that sample.

  Returns:
    A `Decided`.
  """
  h = encoder.apply(params['encoder'], rows.x)
  asked, of_rows = tabulated(head)
  known = of_rows(params['head'], h)
  decisions = {
    name: decoder.decide(asked, known, h, states[name], key=key)
    for name, decoder in decoders.items()
  }
  marginals = require(asked, 'marginals', 'evaluation')
  few = 2 <= head.num_labels <= distribution.MAX_TABLE_LABELS
  information = None
  if asked.joint is not None and few and not head.independent:
    information = distribution.table_information(asked.joint(known, h))
  certified = None
  if head.mode_certificate is not None:
    certified = head.mode_certificate(params['head'], h).astype(h.dtype)
  log_prob, confidence = _likely(head, params, h, rows, decisions)
  seen = Predictions(
    y=rows.y,
    scores=marginals(known, h, key=key),
    log_prob=log_prob,
    where=rows.where,
    weight=rows.weight,
  )
  return Decided(seen, decisions, confidence, certified, information)


def uncalibrated(
  encoder: Encoder,
  head: Head,
  params: Params,
  rows: Batch,
  found: Decided,
  key: Key,
) -> Decided:
  """What the head before says of what the calibrated one has `found`.

  Its parameters are those that `calibrate` gives. The decisions are those made
  after, so that what differs is how sure it is of the same: a comparison of the
  probabilities alone.
  """
  before = {'encoder': params['encoder'], 'head': params['head']['head']}
  h = encoder.apply(before['encoder'], rows.x)
  log_prob, confidence = _likely(head, before, h, rows, found.decisions)
  scores = marginals_of(encoder, head, before, rows, key)
  seen = found.seen._replace(scores=scores, log_prob=log_prob)
  return Decided(seen, found.decisions, confidence)


def with_propensities(
  found: Decided, propensities: Float[Array, '*runs labels'] | None
) -> Decided:
  """The same beside the propensities of the labels."""
  return found._replace(seen=found.seen._replace(propensities=propensities))


def measured(
  metrics: Mapping[str, Metric],
  found: Decided,
  measure: Callable[..., Measured] = measure,
) -> dict[str, Measured]:
  """Decoder -> what the metrics found.

  Args:
    metrics: name -> metric; one that needs log p(y | h), or the probability of
      the decision, is left out when the head has none or some label is unknown,
      and one that needs propensities where there are none.
    found: what was decided.
    measure: (metrics, Predictions) -> Measured. Nothing of the model is in it:
      one that is compiled serves all models with as many rows.
  """
  of_decision, shared = {}, {}
  for name, metric in metrics.items():
    if metric.needs == 'decisions' or (
      metric.needs == 'confidence' and found.confidence
    ):
      of_decision[name] = metric
    elif getattr(found.seen, metric.needs) is not None:
      shared[name] = metric
  same_for_all = measure(shared, found.seen)
  values = same_for_all.values
  if found.certified is not None:
    proved = weighted_mean(found.certified, found.seen.weight)
    values = values | {'mode_certified': proved}
  of_decoder = {}
  for name, decisions in found.decisions.items():
    seen = found.seen._replace(
      decisions=decisions, confidence=found.confidence.get(name)
    )
    mine = measure(of_decision, seen)
    of_decoder[name] = Measured(
      mine.values | values, mine.undefined | same_for_all.undefined
    )
  return of_decoder


def _likely(
  head: Head,
  params: Params,
  h: Float[Array, 'rows *dim'],
  rows: Batch,
  decisions: Mapping[str, Float[Array, 'rows labels']],
) -> tuple[Float[Array, ' rows'] | None, dict[str, Float[Array, ' rows']]]:
  """log p(y | h) of the truth, and decoder -> p(d | h) of its decisions.

  None, and no decoder, where the head has no joint or labels are unknown.
  """
  function = head.log_prob
  if function is None or rows.where is not None:
    return None, {}
  # One after another: the others of a run do not change a digit.
  found = jax.lax.map(
    lambda y: function(params['head'], h, y),
    jnp.stack([rows.y, *decisions.values()]),
  )
  probability = jnp.exp(found[1:])
  return found[0], dict(zip(decisions, probability, strict=True))


def fit_temperature(
  encoder: Encoder,
  head: Head,
  params: Params,
  validation: Batch,
  *,
  block: int = 256,
) -> Array | None:
  """The temperature of the head's joint on validation rows.

  Returns:
    It, or None where regret is not decomposed: the head lists no joint, there
    are too many labels for that, or unknown ones.
  """
  few = head.num_labels <= MAX_DECOMPOSED_LABELS
  if head.joint is None or not few or validation.where is not None:
    return None
  if not len(validation.y):
    return jnp.ones(())
  table = joint_of(encoder, head, params, validation.x, block)
  return decomposition.fit_temperature(table, validation.y, validation.weight)


def joint_of(
  encoder: Encoder, head: Head, params: Params, x: Any, block: int
) -> Float[Array, 'rows vectors']:
  """log q(y | x) of every label vector."""
  joint = require(head, 'joint', 'the decomposition of regret')

  def of_block(x):
    return joint(params['head'], encoder.apply(params['encoder'], x))

  return in_blocks(of_block, x, block)
