"""From fitted parameters to numbers: encode, decode, measure.

Decoders are fitted on validation rows only. The test rows enter `evaluate`
once, after every choice has been made.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mlc import distribution
from mlc.base import Batch, Decoder, Encoder, Head, Key, Params, require
from mlc.metrics import Metric, Predictions, decomposition
from mlc.metrics import evaluate as measure
from mlc.metrics.metric import given
from mlc.metrics.regret import criteria, regret
from mlc.numerics import take_rows, weighted_mean

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
  """

  values: Mapping[str, Mapping[str, Array]]
  marginals: Float[Array, '*runs rows labels']
  decisions: Mapping[str, Float[Array, '*runs rows labels']]


def rows_of(
  data: Batch, index: Int[Array, ' rows'], weight: Float[Array, ' rows']
) -> Batch:
  """The rows `index` of the data set, those of weight 0 being padding."""
  return take_rows(data, index)._replace(weight=weight)


def fit_decoders(
  encoder: Encoder,
  head: Head,
  decoders: Mapping[str, Decoder],
  params: Params,
  validation: Batch,
  key: Key,
) -> Mapping[str, Any]:
  """What each decoder learns from the validation rows, by its name."""
  h = encoder.apply(params['encoder'], validation.x)
  return {
    name: decoder.fit(
      head,
      params['head'],
      h,
      validation.y,
      where=validation.where,
      weight=validation.weight,
      key=key,
    )
    for name, decoder in decoders.items()
  }


class Decided(NamedTuple):
  """What a model says of some rows, before anything is measured.

  Attributes:
    seen: the truth, the marginals and log p(y | h) of the rows.
    decisions: decoder -> the decided label vectors [N,L].
    certified: the share of rows whose mode is searched, and proved to be
      found; None where nothing is searched or proved.
  """

  seen: Predictions
  decisions: Mapping[str, Float[Array, '*runs rows labels']]
  certified: Float[Array, '*runs'] | None


def evaluate(
  encoder: Encoder,
  head: Head,
  decoders: Mapping[str, Decoder],
  metrics: Mapping[str, Metric],
  params: Params,
  states: Mapping[str, Any],
  rows: Batch,
  key: Key,
  *,
  truth: Float[Array, 'rows vectors'] | None = None,
  temperature: Float[Array, ''] | None = None,
  block: int | None = None,
) -> Judged:
  """Decides and measures the rows of one run with every decoder.

  Args:
    encoder: features to representation.
    head: the distribution.
    decoders: name -> decoder.
    metrics: name -> metric, see `measured`.
    params: {'encoder', 'head'} of one run.
    states: decoder name -> what `fit_decoders` gave.
    rows: the rows to judge.
    key: for capabilities that sample.
    truth: log p(y | x) of every label vector where it is known; regrets to
      the Bayes decision are added to the metrics then.
    temperature: what `fit_temperature` gave; regrets are then taken apart.
    block: rows decoded at a time, see `decide`.

  Returns:
    A `Judged`.
  """
  block = block or block_of(head)
  found = decide(
    encoder, head, decoders, params, states, rows, key, block=block
  )
  values = measured(metrics, found)
  marginals = given(found.seen, 'scores')
  if truth is not None:
    table = None
    if temperature is not None:
      table = joint_of(encoder, head, params, rows.x, block)
    of_each = regrets(
      truth, found.decisions, marginals, rows.weight, block, table, temperature
    )
    values = {name: values[name] | of_each[name] for name in values}
  return Judged(values, marginals, found.decisions)


def block_of(head: Head) -> int:
  """How many rows to decode at a time, by what an [L,L] array a row takes."""
  return max(8, min(256, _BLOCK_NUMBERS // head.num_labels**2))


def decide(
  encoder: Encoder,
  head: Head,
  decoders: Mapping[str, Decoder],
  params: Params,
  states: Mapping[str, Any],
  rows: Batch,
  key: Key,
  *,
  block: int | None = None,
) -> Decided:
  """The marginals, likelihood and decisions of one run.

  Args:
    encoder: features to representation.
    head: the distribution.
    decoders: name -> decoder.
    params: {'encoder', 'head'} of one run.
    states: decoder name -> what `fit_decoders` gave.
    rows: the rows to judge.
    key: for capabilities that sample.
    block: rows decoded at a time, which bounds the memory of a joint table and
      of cardinality marginals; by default as many as suit L, at most 256.

  Returns:
    A `Decided`.
  """
  block = block or block_of(head)
  asked, of_block = tabulated(head)

  def decide_block(x):
    h = encoder.apply(params['encoder'], x)
    known = of_block(params['head'], h)
    decisions = {
      name: decoder.decide(asked, known, h, states[name], key=key)
      for name, decoder in decoders.items()
    }
    marginals = require(asked, 'marginals', 'evaluation')
    return marginals(known, h, key=key), decisions

  marginals, decisions = in_blocks(decide_block, rows.x, block)
  seen = Predictions(
    y=rows.y,
    scores=marginals,
    log_prob=_log_prob(encoder, head, params, rows, block),
    where=rows.where,
    weight=rows.weight,
  )
  return Decided(
    seen, decisions, _certified(encoder, head, params, rows, block)
  )


def measured(
  metrics: Mapping[str, Metric],
  found: Decided,
  measure: Callable[..., dict[str, Array]] = measure,
) -> dict[str, dict[str, Array]]:
  """Decoder -> metric -> number.

  Args:
    metrics: name -> metric; one that needs log p(y | h) is left out when the
      head has none or some label is unknown.
    found: what was decided.
    measure: (metrics, Predictions) -> name -> number. Nothing of the model is
      in it: one that is compiled serves all models with as many rows.
  """
  of_decision, shared = {}, {}
  for name, metric in metrics.items():
    if metric.needs == 'decisions':
      of_decision[name] = metric
    elif metric.needs == 'scores' or found.seen.log_prob is not None:
      shared[name] = metric
  same_for_all = measure(shared, found.seen)
  if found.certified is not None:
    same_for_all = same_for_all | {'mode_certified': found.certified}
  return {
    name: measure(of_decision, found.seen._replace(decisions=decisions))
    | same_for_all
    for name, decisions in found.decisions.items()
  }


def _log_prob(
  encoder: Encoder, head: Head, params: Params, rows: Batch, block: int
) -> Float[Array, ' rows'] | None:
  """log p(y | h) of every row; None without it, or where labels are unknown."""
  function = head.log_prob
  if function is None or rows.where is not None:
    return None

  def of_block(part):
    x, y = part
    return function(params['head'], encoder.apply(params['encoder'], x), y)

  return in_blocks(of_block, (rows.x, rows.y), block)


def _certified(
  encoder: Encoder, head: Head, params: Params, rows: Batch, block: int
) -> Float[Array, ''] | None:
  function = head.mode_certificate
  if function is None:
    return None

  def of_block(x):
    return function(params['head'], encoder.apply(params['encoder'], x))

  proved = in_blocks(of_block, rows.x, block).astype(rows.y.dtype)
  return weighted_mean(proved, rows.weight)


def tabulated(head: Head) -> tuple[Head, Callable[..., Params]]:
  """A head that enumerates asked once a block, not once a decoder.

  Returns:
    The head whose answers are read off the table log p(y | h), and (params, h)
    -> its parameters, which hold the table. A head that does not enumerate its
    marginals comes back as it is.
  """
  if head.joint is None or head.exactness['marginals'] != 'enumerated':
    return head, lambda params, h: params

  def read(of_table):
    return lambda params, h, *, key=None: of_table(params['table'])

  def pass_on(function):
    if function is None:
      return None
    return lambda params, *args, **kwargs: function(
      params['head'], *args, **kwargs
    )

  asked = head._replace(
    joint=read(lambda table: table),
    marginals=read(distribution.table_marginals),
    mode=read(distribution.table_mode),
    cardinality_marginals=read(distribution.table_cardinality_marginals),
    logits=pass_on(head.logits),
    log_prob=pass_on(head.log_prob),
    sample=pass_on(head.sample),
    greedy=pass_on(head.greedy),
    conditional=pass_on(head.conditional),
  )
  joint = head.joint
  return asked, lambda params, h: {'head': params, 'table': joint(params, h)}


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


def regrets(
  truth: Float[Array, 'rows vectors'],
  decisions: Mapping[str, Float[Array, 'rows labels']],
  scores: Float[Array, 'rows labels'],
  weight: Float[Array, ' rows'] | None,
  block: int,
  table: Float[Array, 'rows vectors'] | None = None,
  temperature: Array | None = None,
) -> dict[str, dict[str, Array]]:
  """Mean regret of every decoder to the Bayes answer, and where it comes from.

  Args:
    truth: log p(y | x) of every label vector.
    decisions: decoder -> label vectors.
    scores: what orders the labels, with every decoder.
    weight: of the rows.
    block: rows looked at together.
    table: log q(y | x) of the model, for the parts of the regret.
    temperature: that recalibrates the table.

  Returns:
    decoder -> name -> number: `regret_METRIC`, and where there is a table
    `regret_METRIC_PART` for the parts of `decomposition.Components`.
  """
  # The best answer is found once, as it is the same for every decoder.
  judge = jax.vmap(regret, in_axes=(None, None, 1), out_axes=1)
  measured = criteria()

  def of_block(part):
    truth, decided, scores, *table = part
    of_metric = {}
    for name, criterion in measured.items():
      answers = decided if criterion.takes == 'decisions' else scores[:, None]
      way = [decomposition.way(criterion, truth, q, temperature) for q in table]
      of_metric[name] = judge(criterion, truth, answers), way
    return of_metric

  stacked = jnp.stack([*decisions.values()], axis=1)
  rows = [truth, stacked, scores] + ([] if table is None else [table])
  of_metric = in_blocks(of_block, tuple(rows), block)
  values: dict[str, dict[str, Array]] = {name: {} for name in decisions}
  for name, criterion in measured.items():
    judged, way = of_metric[name]
    for i, decoder in enumerate(decisions):
      mine = jax.tree.map(
        lambda leaf, i=i: leaf[:, min(i, leaf.shape[1] - 1)], judged
      )
      found = values[decoder]
      found[f'regret_{name}'] = weighted_mean(mine.regret, weight)
      for rungs in way:
        parts = decomposition.components(
          criterion, mine.expected, rungs, weight
        )
        for part, value in parts._asdict().items():
          found[f'regret_{name}_{part}'] = value
  return values


def in_blocks(function: Callable[[Any], Any], rows: Any, block: int) -> Any:
  """Applies a function of rows to blocks of them, one after another."""
  count = jax.tree.leaves(rows)[0].shape[0]
  block = min(block, count)
  blocks = -(-count // block)
  index = jnp.arange(blocks * block) % count
  split = jax.tree.map(
    lambda leaf: leaf[index].reshape(blocks, block, *leaf.shape[1:]), rows
  )
  out = jax.lax.map(function, split)
  return jax.tree.map(
    lambda leaf: leaf.reshape(blocks * block, *leaf.shape[2:])[:count], out
  )
