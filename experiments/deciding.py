"""What the selected runs say of rows: calibrated, fitted, decided."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.experiment import Model
from mlc import evaluation
from mlc.base import Batch, Params
from mlc.data.splits import Split
from mlc.numerics import jit_once
from mlc.rules import Rules
from mlc.side_by_side import Part, over_rows

# (what is done to the rows, how many so far, of how many).
OnRows = Callable[[str, int, int], None]


def calibrated(
  model: Model, data: Batch, splits: Sequence[Split], params: Params
) -> Params:
  """The parameters of the calibrated head, fitted on validation rows."""
  inner = {name: params[name] for name in ('encoder', 'head')}
  if model.calibrator.name == 'none':
    return {**inner, 'head': {'head': params['head'], 'calibration': ()}}
  rows = [split.validation for split in splits]
  part = padded(rows, max(map(len, rows)))

  @jit_once
  def mended(data, params, part, keys):
    def one(run):
      params, (index, weight), key = run
      validation = evaluation.rows_of(data, index, weight)
      return evaluation.calibrate(
        model.encoder, model.head, model.calibrator, params, validation, key
      )

    return jax.lax.map(one, (params, part, keys))

  return mended(data, inner, part, keys_of(splits))


def fit_states(
  model: Model,
  data: Batch,
  splits: Sequence[Split],
  params: Params,
  truth_is_known: bool = False,
  rules: Rules | None = None,
  on_rows: OnRows | None = None,
) -> tuple[Params, Mapping[str, Any], jax.Array | None]:
  """What is learnt from the validation rows of each run.

  Returns:
    The parameters of the calibrated head; the states of the decoders, fitted
    to it; and where the truth is known the temperature by which its regret is
    taken apart, if it is.
  """
  rows = [split.validation for split in splits]
  part, keys = padded(rows, max(map(len, rows))), keys_of(splits)
  params = calibrated(model, data, splits, params)
  encoder, head, marginals = model.encoder, model.calibrated, None
  learn = any(decoder.learn for decoder in model.decoders.values())
  if learn and part.rows.size:

    def of_block(data, run, index, weight):
      params, key = run
      rows = evaluation.rows_of(data, index, weight)
      return evaluation.marginals_of(encoder, head, params, rows, key)

    (marginals,) = over_rows(
      of_block,
      data,
      (params, keys),
      [part],
      evaluation.block_of(head),
      on_rows=on_rows and functools.partial(on_rows, 'fitting'),
    )

  @jit_once
  def fitted(data, params, part, keys, rules, marginals):
    def one(run):
      params, (index, weight), key, rules, marginals = run
      validation = evaluation.rows_of(data, index, weight)
      states = evaluation.fit_decoders(
        encoder,
        head,
        model.decoders,
        params,
        validation,
        key,
        rules=rules,
        marginals=marginals,
      )
      temperature = None
      if truth_is_known:
        temperature = evaluation.fit_temperature(
          encoder, head, params, validation
        )
      return states, temperature

    return jax.lax.map(one, (params, part, keys, rules, marginals))

  return params, *fitted(data, params, part, keys, rules, marginals)


def decided(
  model: Model,
  data: Batch,
  splits: Sequence[Split],
  params: Params,
  states: Mapping[str, Any],
  parts: Sequence[Part],
  on_rows: OnRows | None = None,
) -> list[tuple[evaluation.Decided, evaluation.Decided | None]]:
  """What every run says of the rows of each part, stacked over runs.

  Returns:
    A pair each: the second is what it said before it was calibrated, None where
    it is not.
  """

  # The data are an argument: as a constant they would be compiled in.
  def of_block(data, run, index, weight):
    params, states, key = run
    rows = evaluation.rows_of(data, index, weight)
    encoder, head = model.encoder, model.calibrated
    found = evaluation.decide(
      encoder, head, model.decoders, params, states, rows, key
    )
    if model.calibrator.name == 'none':
      return found, None
    return found, evaluation.uncalibrated(
      encoder, model.head, params, rows, found, key
    )

  found = over_rows(
    of_block,
    data,
    (params, states, keys_of(splits)),
    parts,
    evaluation.block_of(model.head),
    on_rows=on_rows and functools.partial(on_rows, 'deciding'),
  )
  return jax.device_put(found)


def keys_of(splits: Sequence[Split]) -> jax.Array:
  """The key of each run, for what samples."""
  seeds = jnp.asarray([split.seed for split in splits], jnp.uint32)
  return jax.vmap(jax.random.key)(seeds)


def padded(rows: Sequence[np.ndarray], length: int) -> Part:
  """Index arrays of one length; what is filled up has weight 0."""
  index = np.stack([np.resize(part, length) for part in rows])
  weight = np.stack([np.arange(length) < len(part) for part in rows])
  return Part(jnp.asarray(index, jnp.int32), jnp.asarray(weight, jnp.float32))
