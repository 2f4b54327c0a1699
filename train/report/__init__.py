"""The HTML report of a run, updated while training goes on."""

from train.report.html_report import REFRESH_S, REPORT, State, Status, in_words, write_report

__all__ = ["REFRESH_S", "REPORT", "State", "Status", "in_words", "write_report"]
