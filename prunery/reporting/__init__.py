"""The rooms behind `prunery.report`: result files to tables, tables to figures, claims to verdicts, all to one page."""
