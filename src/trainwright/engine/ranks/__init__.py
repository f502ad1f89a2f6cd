"""Several processes that make the steps of one run together, and what each of them does for that.

Rank 0 leads: it has the hooks, the folder and the log. The others follow (`run/ranks`).
"""
