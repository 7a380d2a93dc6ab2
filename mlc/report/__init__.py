"""From run directories to tables, figures and one page; never reads models."""

from mlc.report.records import Record, read
from mlc.report.tables import print_report
from mlc.report.writing import Paths, write_report

__all__ = ['Paths', 'Record', 'print_report', 'read', 'write_report']
