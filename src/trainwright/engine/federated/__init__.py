"""Federated averaging, simulated: a step is a round of clients that train in turn."""
