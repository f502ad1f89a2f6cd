"""What is learned: each task owns its losses, its metrics and what there is to look at."""
