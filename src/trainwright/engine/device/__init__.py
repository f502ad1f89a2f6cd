"""Where a run computes, and in which precision."""
