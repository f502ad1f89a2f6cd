"""How good predictions and samples are: formulas, and what gathers a split batch by batch."""
