"""What a run was computed with: versions and devices, no names, no paths."""

import importlib.metadata
import os
import platform
from typing import Any

_PACKAGES = (
  'flax',
  'jax',
  'jaxlib',
  'mlc',
  'numpy',
  'optax',
  'orbax-checkpoint',
  'scipy',
)


def environment() -> dict[str, Any]:
  """Versions, platform and devices, as env.json holds them.

  Returns:
    A JSON object. Two runs with the same one are expected to agree bit for
    bit; with another one they may differ in the last digits.
  """
  import jax

  versions = {}
  for package in _PACKAGES:
    try:
      versions[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      versions[package] = 'absent'
  devices = jax.devices()
  return {
    'python': platform.python_version(),
    'system': platform.system(),
    'machine': platform.machine(),
    'cpu_count': os.cpu_count(),
    'platform': devices[0].platform,
    'device_kind': devices[0].device_kind,
    'device_count': len(devices),
    'x64': bool(jax.config.read('jax_enable_x64')),
    'versions': versions,
  }
