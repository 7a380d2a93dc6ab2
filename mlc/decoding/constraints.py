"""Decisions that keep rules between labels: repaired, or best among those.

What the rules are may differ from run to run, as where they are mined on its
training rows: they are part of a decoder's state, where `given` puts them.
"""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Array, Float

from mlc.base import (
  Decoder,
  Exactness,
  Head,
  Key,
  MissingCapabilityError,
  Params,
  require,
)
from mlc.rules import Rules, nearest, worst

REPAIR, DECODE = 'repair', 'decode'
_RULES, _FITTED = 'rules', 'fitted'


def repaired(decoder: Decoder) -> Decoder:
  """A decoder whose decisions are mended afterwards.

      argmin over allowed y of sum_{j: y_j != d_j} -log P(Y_j = y_j | h)

  The nearest consistent vector to its decision d under the model's marginals:
  the likeliest set of changes. A decision that keeps the rules stays as it is.
  A decoder that promises something (`fnr_control`) is fitted to its mended
  decisions, by `fit_ruled`: the promise is of them.

  Args:
    decoder: of any kind.

  Returns:
    The decoder, named `<name>_repair`. It needs `marginals`, and what the
    decoder needs.

  References:
    Obozinski, Lanckriet, Grant, Jordan, Noble, Consistent probabilistic outputs
    for protein function prediction, Genome Biology 9, 2008 (on a hierarchy).
  """
  name = f'{decoder.name}_{REPAIR}'

  def decide(head, params, h, fitted, rules, key):
    d = decoder.decide(head, params, h, fitted, key=key)
    p = require(head, 'marginals', f'decoder {name}')(params, h, key=key)
    return nearest(rules, d, p)

  def exactness(head: Head) -> Exactness:
    require(head, 'marginals', f'decoder {name}')
    return worst(
      decoder.exactness(head), head.exactness['marginals'], 'enumerated'
    )

  made = _constrained(name, decoder, decide, exactness)
  finished = decoder.finished
  if finished is None:
    return made

  def fit_ruled(rules, *args, **kwargs):
    rules = Rules(*rules)
    after = finished(lambda sets, p: nearest(rules, sets, p))
    return {_FITTED: after.fit(*args, **kwargs), _RULES: None}

  return made._replace(fit_ruled=fit_ruled)


def within(decoder: Decoder) -> Decoder:
  """The decision that is best by a decoder's criterion among the allowed ones.

      argmax over allowed d of what `decoder` maximises over all d

  Args:
    decoder: one that has `within`: a threshold of marginals (the linear
      criterion of which it is the best), `subset`, `f_beta`, `jaccard`.

  Returns:
    The decoder, named `<name>_decode`.

  Raises:
    MissingCapabilityError: there is no such search for the decoder.
  """
  name = f'{decoder.name}_{DECODE}'
  if decoder.within is None or decoder.within_exactness is None:
    raise MissingCapabilityError(
      f'decoder {decoder.name} cannot search among the label vectors that '
      'rules allow. Repair its decisions instead (--constraints=repair), or '
      'choose hamming, subset, f_beta, jaccard or a fitted threshold.'
    )
  search = decoder.within

  def decide(head, params, h, fitted, rules, key):
    return search(head, params, h, fitted, rules, key=key)

  return _constrained(name, decoder, decide, decoder.within_exactness)


def given(states: Mapping[str, Any], rules: Rules | None) -> dict[str, Any]:
  """The states of decoders, with the rules in those that wait for some.

  Args:
    states: decoder name -> what its `fit` gave.
    rules: of one run, or stacked as the states are; None: there are none.
  """
  return {
    name: {**state, _RULES: rules} if _waits(state) else state
    for name, state in states.items()
  }


def _waits(state: Any) -> bool:
  return isinstance(state, dict) and state.keys() == {_RULES, _FITTED}


def _constrained(name, decoder, decide_within, exactness) -> Decoder:
  def fit(head, params, h, y, *, where=None, weight=None, key=None):
    fitted = decoder.fit(
      head, params, h, y, where=where, weight=weight, key=key
    )
    return {_FITTED: fitted, _RULES: None}

  def decide(
    head: Head,
    params: Params,
    h: Float[Array, 'batch *dim'],
    state: Any,
    *,
    key: Key | None = None,
  ) -> Float[Array, 'batch labels']:
    if state[_RULES] is None:
      raise ValueError(
        f'decoder {name} was given no rules: pass its state through '
        '`decoding.given(states, rules)`.'
      )
    rules = Rules(*state[_RULES])
    return decide_within(head, params, h, state[_FITTED], rules, key)

  return Decoder(name, fit, decide, exactness)
