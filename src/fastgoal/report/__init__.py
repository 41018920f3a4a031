"""Results as one page that opens offline, as Markdown, as JSON, and as a table for the terminal."""

from fastgoal.report.input import DataFacts, Duel, Hit, PairExample, ReportInput, RetrievalExample, from_metrics
from fastgoal.report.numbers import terminal_table
from fastgoal.report.page import ReportFiles, metrics, render
from fastgoal.report.several import renamers, together

__all__ = [
    "DataFacts",
    "Duel",
    "Hit",
    "PairExample",
    "ReportFiles",
    "ReportInput",
    "RetrievalExample",
    "from_metrics",
    "metrics",
    "renamers",
    "render",
    "terminal_table",
    "together",
]
