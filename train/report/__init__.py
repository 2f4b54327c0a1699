"""The report of a run: one page that tells a person how the training goes, while it goes."""

from train.report.html_report import REFRESH_S, REPORT, State, Status, in_words, write_report

__all__ = ["REFRESH_S", "REPORT", "State", "Status", "in_words", "write_report"]
