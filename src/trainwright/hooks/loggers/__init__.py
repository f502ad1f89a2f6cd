"""Other places that a run's metrics are sent to. The run folder has everything, with or without."""
