"""A config is a JSON object; its hash names the run."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from mlc.run_directory.files import RunDirectoryError

_ABSENT = '(absent)'


class ConfigChangedError(RunDirectoryError):
  """A config is not the one that the run was started with."""


def canonical_json(value: Any) -> str:
  """The one JSON text of a value: keys sorted, no spaces, ASCII.

  Args:
    value: of dict with str keys, list, tuple, str, int, float, bool and None.

  Returns:
    The text; tuples appear as lists.

  Raises:
    ValueError: something else is in it; the message says where and what.
  """
  _check(value, 'config')
  return json.dumps(value, sort_keys=True, separators=(',', ':'))


def _check(value: Any, where: str) -> None:
  # json would turn {1: x} to {"1": x} and write NaN, which is not JSON: two
  # configs could share a hash, or one not survive a round trip.
  if isinstance(value, Mapping):
    for key, item in value.items():
      if not isinstance(key, str):
        raise ValueError(f'{where} has the key {key!r}; keys must be str.')
      _check(item, f'{where}.{key}')
  elif isinstance(value, list | tuple):
    for i, item in enumerate(value):
      _check(item, f'{where}[{i}]')
  elif isinstance(value, float) and not math.isfinite(value):
    raise ValueError(f'{where} is {value}; write null or a finite number.')
  elif value is not None and type(value) not in (str, int, float, bool):
    raise ValueError(
      f'{where} is a {type(value).__name__}; a config holds str, int, float, '
      'bool, None, and lists and dicts of these.'
    )


def config_hash(config: Mapping[str, Any]) -> str:
  """SHA-256 of the canonical JSON of a config, in hexadecimal."""
  return hashlib.sha256(canonical_json(config).encode()).hexdigest()


def run_id(config: Mapping[str, Any]) -> str:
  """The name of a run's directory: `<dataset>-<method>-<hash10>`.

  Args:
    config: with the keys `dataset` and `method`. Of a data set given by path
      only the last part enters the name; all of it enters the hash.

  Returns:
    A name of letters, digits, `_`, `.` and `-`.
  """
  missing = [key for key in ('dataset', 'method') if key not in config]
  if missing:
    raise ValueError(f'a config needs the key {missing[0]!r} to name its run.')
  parts = [_name_part(str(config[key])) for key in ('dataset', 'method')]
  return '-'.join([*parts, config_hash(config)[:10]])


def _name_part(text: str) -> str:
  text = re.sub(r'.*[/\\](?=.)', '', text)
  text = re.sub(r'[^A-Za-z0-9_.]+', '_', text).strip('._')
  return text[:40] or 'unnamed'


def flatten(config: Any, prefix: str = '') -> dict[str, Any]:
  """{'a': {'b': 1}} as {'a.b': 1}; an empty dict is a value."""
  if not isinstance(config, Mapping) or not config:
    return {prefix: config}
  flat: dict[str, Any] = {}
  for key, value in config.items():
    flat |= flatten(value, f'{prefix}.{key}' if prefix else key)
  return flat


def config_diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
  """What changed from one config to another.

  Returns:
    Lines `key: old -> new`, sorted by key; keys of nested dicts are joined by
    a dot, and an absent one is shown as `(absent)`.
  """
  flat_old = {k: canonical_json(v) for k, v in flatten(old).items() if k}
  flat_new = {k: canonical_json(v) for k, v in flatten(new).items() if k}
  return [
    f'{key}: {flat_old.get(key, _ABSENT)} -> {flat_new.get(key, _ABSENT)}'
    for key in sorted(flat_old.keys() | flat_new.keys())
    if flat_old.get(key, _ABSENT) != flat_new.get(key, _ABSENT)
  ]


def refuse_change(
  old: Mapping[str, Any], new: Mapping[str, Any], where: str
) -> None:
  """Raises ConfigChangedError with a diff unless both configs are equal.

  Args:
    old: what `where` was made with.
    new: what is asked for now.
    where: a path, for the message.
  """
  changed = config_diff(old, new)
  if changed:
    lines = ''.join(f'\n  {line}' for line in changed)
    raise ConfigChangedError(
      f'{where} was made with another config (old -> new):{lines}\n'
      'Nothing was written. Run with the old values to continue it, or choose '
      'another --workdir or --study for the new ones.'
    )
