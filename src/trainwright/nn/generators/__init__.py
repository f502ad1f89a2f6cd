"""Networks that make images or rows of noise: velocities of a flow, variational autoencoders."""
