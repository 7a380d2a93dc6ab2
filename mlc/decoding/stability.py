"""How far a threshold moves when the rows that chose it are drawn again."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mlc.decoding.sample import Sample

Learn = Callable[[Sample], dict[str, Any]]


def with_intervals(name: str, learn: Learn, resamples: int) -> Learn:
  """A fit that says besides how stable its thresholds are.

      [quantile 0.025, quantile 0.975] of t_j(resample r), r = 1 .. R

  A resample draws as many validation rows with replacement, with all their
  labels; the rows were ranked once, and each resample only weighs them.

  Args:
    name: of the decoder.
    learn: sample -> {'threshold': [L], ...}.
    resamples: R; 0 for no intervals.

  Returns:
    sample -> what `learn` gives, and with resamples `threshold_low` and
    `threshold_high` [L].

  Raises:
    ValueError: fewer than 20 resamples, which have no such quantiles.

  References:
    Efron, Bootstrap methods: another look at the jackknife, Annals of
    Statistics 7, 1979.
  """
  if resamples != 0 and resamples < 20:
    raise ValueError(
      f'{name}: bootstrap is {resamples}, expected 0 for none or at least 20 '
      'resamples, of which some lie beyond a 95 % interval.'
    )
  if resamples == 0:
    return learn

  def learn_with_intervals(sample: Sample) -> dict[str, Any]:
    state = learn(sample)
    sample.rank()
    key = jax.random.key(0) if sample.key is None else sample.key
    found = jax.lax.map(
      lambda key: learn(sample.drawn_again(key))['threshold'],
      jax.random.split(jax.random.fold_in(key, _STREAM), resamples),
    )
    low, high = jnp.quantile(found, jnp.asarray([0.025, 0.975]), axis=0)
    return {**state, 'threshold_low': low, 'threshold_high': high}

  return learn_with_intervals


# Of the evaluation's key: what draws the resamples.
_STREAM = 1
