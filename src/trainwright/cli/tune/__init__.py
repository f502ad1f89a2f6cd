"""`train tune`: what to type, found out by training a little."""
