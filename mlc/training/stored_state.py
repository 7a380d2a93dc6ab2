"""A state as a flat list of named arrays on the host, and back."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mlc.run_directory import RunDirectoryError, canonical_json, config_diff

_SHOWN = 10


class Leaf(NamedTuple):
  """An array of a state, without its values.

  Attributes:
    path: of the leaf in the state, parts joined by '/'.
    dtype: as jax names it.
    shape: of the array; of a key array, without the words of a key.
    key_impl: name of the generator when it is a key array, else ''; unknown,
      hence '', of an abstract one.
  """

  path: str
  dtype: str
  shape: tuple[int, ...]
  key_impl: str = ''


def describe(state: Any) -> tuple[list[Leaf], list[Any], Any]:
  """The leaves of a state, which may be abstract.

  Returns:
    Their descriptions, the leaves themselves, and the tree definition.

  Raises:
    ValueError: a leaf is no array, or two have the same path.
  """
  flat, treedef = jax.tree_util.tree_flatten_with_path(state)
  leaves = []
  for path, value in flat:
    name = jax.tree_util.keystr(path, simple=True, separator='/') or 'state'
    if not hasattr(value, 'dtype') or not hasattr(value, 'shape'):
      raise ValueError(
        f'leaf {name} of the state is a {type(value).__name__}; a state is '
        'arrays only.'
      )
    impl = ''
    if isinstance(value, jax.Array) and jnp.issubdtype(
      value.dtype, jax.dtypes.prng_key
    ):
      impl = str(jax.random.key_impl(value))
    leaves.append(Leaf(name, str(value.dtype), tuple(value.shape), impl))
  names = [leaf.path for leaf in leaves]
  if len(set(names)) < len(names) or not names:
    raise ValueError(f'leaves of a state need distinct paths, got {names}.')
  return leaves, [value for _, value in flat], treedef


def to_host(state: Any) -> tuple[list[Leaf], dict[str, np.ndarray]]:
  """The leaves and, by path, their values; of a key array, its words."""
  leaves, values, _ = describe(state)
  plain = [
    jax.random.key_data(value) if leaf.key_impl else value
    for leaf, value in zip(leaves, values, strict=True)
  ]
  on_host = [np.asarray(value) for value in jax.device_get(plain)]
  return leaves, {
    leaf.path: array for leaf, array in zip(leaves, on_host, strict=True)
  }


def empty(leaves: Sequence[Leaf]) -> dict[str, np.ndarray]:
  """Arrays as `to_host` gives them, without their values."""
  arrays = {}
  for leaf in leaves:
    if leaf.key_impl:
      words = jax.random.key_data(jax.random.key(0, impl=leaf.key_impl))
      arrays[leaf.path] = np.empty((*leaf.shape, *words.shape), words.dtype)
    else:
      arrays[leaf.path] = np.empty(leaf.shape, jnp.dtype(leaf.dtype))
  return arrays


def digest(leaf: Leaf, array: np.ndarray) -> str:
  """SHA-256 over path, dtype, shape and bytes, in hexadecimal."""
  sha = hashlib.sha256(canonical_json(list(leaf)).encode())
  sha.update(array.tobytes())
  return sha.hexdigest()


def from_host(
  leaves: Sequence[Leaf],
  arrays: Mapping[str, np.ndarray],
  abstract_state: Any,
) -> Any:
  """The state, each leaf where the sharding of its abstract leaf says.

  Args:
    leaves: what was stored; `refuse_structure` has compared them.
    arrays: by path.
    abstract_state: pytree of arrays or jax.ShapeDtypeStruct.
  """
  _, likes, treedef = describe(abstract_state)
  usual = jax.device_put(np.zeros(())).sharding
  return treedef.unflatten(
    _place(arrays[leaf.path], leaf, like, usual)
    for leaf, like in zip(leaves, likes, strict=True)
  )


def _place(array: np.ndarray, leaf: Leaf, like: Any, usual: Any) -> Any:
  if isinstance(like, np.ndarray | np.generic):
    return array
  sharding = getattr(like, 'sharding', None)
  # Named, even the usual device commits the array to it, and for a committed
  # argument jit compiles anew what it had compiled for an uncommitted one.
  placed = jax.device_put(array, None if sharding == usual else sharding)
  if leaf.key_impl:
    return jax.random.wrap_key_data(placed, impl=leaf.key_impl)
  return placed


def refuse_structure(
  stored: Sequence[Leaf], now: Sequence[Leaf], where: str
) -> None:
  """Raises RunDirectoryError when a state changed in more than its values."""
  old = {leaf.path: f'{leaf.dtype}{list(leaf.shape)}' for leaf in stored}
  new = {leaf.path: f'{leaf.dtype}{list(leaf.shape)}' for leaf in now}
  if list(old.items()) == list(new.items()):
    return
  lines = config_diff(old, new) or ['the order of the leaves']
  more = [f'and {len(lines) - _SHOWN} more'] if len(lines) > _SHOWN else []
  shown = ''.join(f'\n  {line}' for line in lines[:_SHOWN] + more)
  raise RunDirectoryError(
    f'{where} holds a state of another structure than the training has now '
    f'(leaf: old -> new):{shown}\n'
    'The code or a library changed since. Nothing was changed: go back to the '
    'version that wrote it (env.json), or choose another --workdir.'
  )
