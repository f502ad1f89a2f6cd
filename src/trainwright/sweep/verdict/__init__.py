"""What a sweep has found."""
