"""Going on with a run: from which checkpoint, with which changes, to the same bits."""
