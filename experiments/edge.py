"""Where a process begins: parsing, JAX's settings, and errors as sentences."""

import logging
import os
import sys
from collections.abc import Callable, Sequence

import jax
from absl import app, flags
from absl import logging as absl_logging

from mlc.base import MissingCapabilityError
from mlc.data.dataset import DatasetError
from mlc.run_directory import RunDirectoryError

FLAGS = flags.FLAGS

# What a user can mend: shown as one sentence, without a traceback.
_MENDABLE = (
  DatasetError,
  MissingCapabilityError,
  RunDirectoryError,
  FileNotFoundError,
  ValueError,
)


def start(
  main: Callable[[Sequence[str]], int],
  parse: Callable[[Sequence[str]], list[str]],
) -> int:
  """Runs a program: flags, settings, main; returns its exit code."""

  def guarded(argv: Sequence[str]) -> int:
    configure(FLAGS.workdir)
    try:
      return main(argv)
    except _MENDABLE as error:
      if os.environ.get('MLC_TRACEBACK'):
        raise
      print(f'{os.path.basename(sys.argv[0])}: error: {error}', file=sys.stderr)
      return 1
    except KeyboardInterrupt:
      print('interrupted; the same command continues.', file=sys.stderr)
      return 130

  def parsed(argv: Sequence[str]) -> list[str]:
    app.define_help_flags()
    try:
      return parse(argv)
    except ValueError as error:
      raise flags.Error(str(error)) from error

  return app.run(guarded, flags_parser=lambda argv: _parsed(parsed, argv)) or 0


def _parsed(parse, argv):
  try:
    return parse(argv)
  except flags.Error as error:
    print(f'{os.path.basename(argv[0])}: error: {error}', file=sys.stderr)
    print('Pass --helpshort to see the flags that apply.', file=sys.stderr)
    sys.exit(2)


def configure(workdir: str) -> None:
  """Sets up logging and the persistent compilation cache."""
  absl_logging.use_python_logging(quiet=True)
  logging.basicConfig(
    level=logging.INFO,
    format='%(asctime)s %(levelname).1s %(message)s',
    datefmt='%H:%M:%S',
    stream=sys.stderr,
    force=True,
  )
  for chatty in ('jax', 'absl', 'matplotlib', 'orbax'):
    logging.getLogger(chatty).setLevel(logging.ERROR)
  if not jax.config.jax_compilation_cache_dir:
    cache = os.path.join(os.path.abspath(workdir), '.cache', 'xla')
    jax.config.update('jax_compilation_cache_dir', cache)
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)


def no_arguments(argv: Sequence[str]) -> None:
  """Refuses what is neither a flag nor a value of one."""
  if len(argv) > 1:
    raise ValueError(
      f'{argv[1]!r} is not a flag; write --name=value. Pass --helpshort to see '
      'the flags that apply.'
    )
