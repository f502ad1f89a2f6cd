"""How a player's weights move: optimizers, their fused kernels, averages, loss scale."""
