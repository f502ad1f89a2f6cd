"""What is measured of the steps of a run."""
