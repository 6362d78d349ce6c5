"""The tables, as the numbered steps that lead to them: one folder for both databases, one room for each subject."""
