"""Many models: found, staged, converted in processes of their own, and journaled. One that fails costs one row.

`run.py` is the loop; it knows the engines (`local.py`, `dasked.py`, and that of `perform.py`) by the protocol of
`tasks.py` alone. What one process does with one model is in `perform.py`.
"""
