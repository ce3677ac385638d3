"""Alembic's steps: versions/NNNN_words.py, one per schema change, written by hand, numbered, never changed once released.

After a new step: set `HEAD` in store/tables.py. The tests compare what the steps make with what tables.py says.
"""
