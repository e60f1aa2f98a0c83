"""Run directories and the paper's numbers to verdicts, tables, figures and one page; never imports torch."""
