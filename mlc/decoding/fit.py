"""What a decoder learns from validation data."""

from jaxtyping import Array

from mlc.base import Head, Key, Params


def nothing(
  head: Head,
  params: Params,
  h,
  y,
  *,
  where=None,
  weight=None,
  key: Key | None = None,
) -> tuple[()]:
  """The state of a decoder with nothing to fit: ()."""
  del head, params, h, y, where, weight, key
  return ()


def need_rows(name: str, y: Array) -> None:
  """Refuses to fit decoder `name` on no rows at all."""
  if not len(y):
    raise ValueError(
      f'decoder {name} is fitted on validation rows, and there are none: set '
      '--validation_fraction above 0, or choose a decoder with nothing to fit, '
      'such as hamming.'
    )
