"""The report: all results of a sweep on one page that needs no network."""

from ae_sweep.report.contents import sections
from ae_sweep.report.page import Cell, Dot, Picture, Section, Table, render_page

__all__ = ["Cell", "Dot", "Picture", "Section", "Table", "render_page", "sections"]
