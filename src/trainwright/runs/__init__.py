"""The runs that there are: found, read and compared without torch. What they hold is untrusted."""
