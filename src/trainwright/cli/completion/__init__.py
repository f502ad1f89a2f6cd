"""What the shell completes, and the scripts that ask for it."""
