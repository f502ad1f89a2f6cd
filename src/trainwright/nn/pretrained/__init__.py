"""Networks of others, with the weights that they come with."""
