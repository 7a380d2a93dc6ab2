"""Every test runs with shapes checked and silent broadcasting refused."""

import os
import signal

import jax
import jaxtyping
import pytest

# A shell that starts the tests in the background has them ignore Ctrl-C, and
# so would all that they start: some tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
  signal.signal(signal.SIGINT, signal.default_int_handler)

jaxtyping.install_import_hook('mlc', 'beartype.beartype')
jax.config.update('jax_numpy_rank_promotion', 'raise')


@pytest.fixture
def data_dir() -> str:
  """The folder of data sets that MLC_DATA_DIR names."""
  path = os.environ.get('MLC_DATA_DIR', '')
  if not path or not os.path.isdir(path):
    pytest.skip('MLC_DATA_DIR names no folder of data sets')
  return path
