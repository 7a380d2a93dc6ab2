"""From the run directories of a study to its tables, figures and page."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence

from experiments.studies.study import Study
from mlc.report import Record, print_report, read, write_report


def report(
  study: Study,
  directory: pathlib.Path,
  run_ids: Sequence[str],
  failures: Mapping[str, str],
  command: str,
) -> None:
  """Prints the tables of a study and writes its report.

  Args:
    study: for its question, columns and figures.
    directory: `<workdir>/<study>/`.
    run_ids: the runs, in the order of the manifest.
    failures: run_id -> what went wrong, for runs that failed just now, some
      of them before they had a directory.
    command: what makes the same report again.
  """
  records = [
    _with_failure(record, failures.get(record.run_id, ''))
    for record in read(directory, run_ids)
  ]
  print_report(records, metrics=study.metrics)
  paths = write_report(
    directory,
    records,
    metrics=study.metrics,
    figures_of_study=study.figures(records),
    question=study.question,
    command=command,
  )
  print(f'\nNumbers  {os.path.relpath(paths.results)}')
  print(f'Summary  {os.path.relpath(paths.summary)}')
  print(f'Page     {os.path.relpath(paths.page)}')


def _with_failure(record: Record, message: str) -> Record:
  if not message or record.status == 'failed':
    return record
  return dataclasses.replace(
    record, status='failed', error=message.splitlines()[-1]
  )
