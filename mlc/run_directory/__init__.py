"""The directory of a run: what it holds, who may write, how it survives.

`<workdir>/<study>/<run_id>/` holds config.json, flags.txt, env.json,
metrics.jsonl, predictions.npz, checkpoints/, results.json, log.txt and DONE,
which is written last. Nothing here imports jax before a run is opened.
"""

from mlc.run_directory.config import (
  ConfigChangedError,
  canonical_json,
  config_diff,
  config_hash,
  refuse_change,
  run_id,
)
from mlc.run_directory.directory import RunDirectory, Status
from mlc.run_directory.environment import environment
from mlc.run_directory.files import (
  RunDirectoryError,
  StorageError,
  append,
  naming_path,
  read_json,
  sha256,
  sync_tree,
  write_atomic,
)
from mlc.run_directory.lock import (
  HeldError,
  Holder,
  exclusive,
  holder,
  refuse_held,
)

__all__ = [
  'ConfigChangedError',
  'HeldError',
  'Holder',
  'RunDirectory',
  'RunDirectoryError',
  'Status',
  'StorageError',
  'append',
  'canonical_json',
  'config_diff',
  'config_hash',
  'environment',
  'exclusive',
  'holder',
  'naming_path',
  'read_json',
  'refuse_change',
  'refuse_held',
  'run_id',
  'sha256',
  'sync_tree',
  'write_atomic',
]
