"""What suits a plan before it is trained: a learning rate, and the largest batch that fits."""
