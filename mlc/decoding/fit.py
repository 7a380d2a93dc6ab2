"""What a decoder learns from validation data."""

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
