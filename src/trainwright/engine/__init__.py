"""How a task is learned: the loop, gradients, optimizers, schedules, checkpoints, devices."""
