"""What a run has learned, put to use: measured, asked about images, sampled."""
