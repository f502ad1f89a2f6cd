"""Text files become windows of tokens."""
