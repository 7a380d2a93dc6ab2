"""Probabilities as the head gives them."""

from collections.abc import Callable
from typing import Any

from mlc.base import Calibrator, Head

# Capabilities that are no function of the parameters.
_AS_THEY_ARE = ('init', 'support', 'objective')


def none() -> Calibrator:
  """No calibration: the head as it is, with parameters a level deeper.

  Returns:
    The calibrator, named `none`; its state is ().
  """

  def fit(head, params, h, y, *, where=None, weight=None, key=None):
    del head, params, h, y, where, weight, key
    return ()

  return Calibrator('none', fit, _inside)


def _inside(head: Head) -> Head:
  """The head whose parameters stand below the key `head`."""
  # One function stays one: a greedy pass may be the mode.
  made: dict[Callable, Callable] = {}

  def inside(function: Callable) -> Callable:
    if function not in made:
      made[function] = lambda params, *args, **kwargs: function(
        params['head'], *args, **kwargs
      )
    return made[function]

  capabilities: dict[str, Any] = {
    name: inside(value)
    for name, value in head._asdict().items()
    if callable(value) and name not in _AS_THEY_ARE
  }
  return head._replace(**capabilities, objective=None, member=None)
