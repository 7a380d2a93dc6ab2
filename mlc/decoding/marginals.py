"""Decoders that look at the marginal probabilities alone."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import Array, Bool, Float

from mlc.base import Decoder, Exactness, Head, Key, Params, require
from mlc.decoding import fit as fitting
from mlc.decoding.sample import Sample
from mlc.rules import Rules, best, worst

# (p [B,L], state) -> decisions [B,L], boolean or 0 and 1.
Rule = Callable[[Array, Any], Array]


def of_marginals(
  name: str,
  rule: Rule,
  *,
  learn: Callable[[Sample], Any] | None = None,
  check: Callable[[Head], None] = lambda head: None,
  gain: Rule | None = None,
) -> Decoder:
  """A decoder that is a rule on P(y_j = 1 | h).

  Args:
    name: as in the results table.
    rule: (p [B,L], state) -> decisions [B,L].
    learn: validation rows -> state. None when there is nothing to learn: the
      state is () then.
    check: raises ValueError for a head that it does not suit.
    gain: (p, state) -> what each label is worth [B,L], for a rule that takes
      the labels that gain: under constraints it takes the allowed vector of the
      largest sum. None for other rules.

  Returns:
    The decoder. It needs `marginals`, and is as exact as these.
  """

  def marginals(head: Head) -> Callable[..., Array]:
    check(head)
    return require(head, 'marginals', f'decoder {name}')

  def fit(
    head: Head,
    params: Params,
    h: Float[Array, 'batch *dim'],
    y: Float[Array, 'batch labels'],
    *,
    where: Bool[Array, 'batch labels'] | None = None,
    weight: Float[Array, ' batch'] | None = None,
    key: Key | None = None,
  ) -> Any:
    assert learn is not None
    fitting.need_rows(name, y)
    p = marginals(head)(params, h, key=key)
    return learn(Sample(p, y, weight, where, key))

  def decide(
    head: Head,
    params: Params,
    h: Float[Array, 'batch *dim'],
    state: Any = (),
    *,
    key: Key | None = None,
  ) -> Float[Array, 'batch labels']:
    p = marginals(head)(params, h, key=key)
    return rule(p, state).astype(p.dtype)

  def exactness(head: Head) -> Exactness:
    marginals(head)
    return head.exactness['marginals']

  decoder = Decoder(
    name, fit if learn else fitting.nothing, decide, exactness, learn=learn
  )
  if gain is None:
    return decoder

  def within(
    head: Head,
    params: Params,
    h: Float[Array, 'batch *dim'],
    state: Any,
    rules: Rules,
    *,
    key: Key | None = None,
  ) -> Float[Array, 'batch labels']:
    return best(rules, gain(marginals(head)(params, h, key=key), state))

  return decoder._replace(
    within=within,
    within_exactness=lambda head: worst(exactness(head), 'enumerated'),
  )


def by_threshold(
  name: str,
  learn: Callable[[Sample], Any],
  *,
  check: Callable[[Head], None] = lambda head: None,
) -> Decoder:
  """A decoder that is fitted thresholds: d_j = 1 iff P(y_j = 1 | h) > t_j.

  Args:
    name: as in the results table.
    learn: validation rows -> {'threshold': [L], ...}.
    check: as for `of_marginals`.
  """
  return of_marginals(
    name,
    lambda p, state: p > state['threshold'][None, :],
    learn=learn,
    check=check,
    gain=lambda p, state: p - state['threshold'][None, :],
  )


def fit_all(
  decoders: Mapping[str, Decoder],
  head: Head,
  params: Params,
  h: Float[Array, 'batch *dim'],
  y: Float[Array, 'batch labels'],
  *,
  where: Bool[Array, 'batch labels'] | None = None,
  weight: Float[Array, ' batch'] | None = None,
  key: Key | None = None,
  rules: Rules | None = None,
  marginals: Float[Array, 'batch labels'] | None = None,
) -> dict[str, Any]:
  """What each decoder learns, by its name; see `Decoder.fit`.

  All that look at the marginals alone look at one sample of them, for which
  the head is asked unless it is given; those that learn something else by rules
  are told the `rules`.
  """
  states, sample = {}, None
  for name, decoder in decoders.items():
    if decoder.learn is None or not len(y):
      fit = decoder.fit
      if rules is not None and decoder.fit_ruled is not None:
        fit = functools.partial(decoder.fit_ruled, rules)
      states[name] = fit(
        head, params, h, y, where=where, weight=weight, key=key
      )
      continue
    if sample is None:
      if marginals is None:
        asked = require(head, 'marginals', f'decoder {name}')
        marginals = asked(params, h, key=key)
      sample = Sample(marginals, y, weight, where, key)
    states[name] = decoder.learn(sample)
  return states
