"""Image files: found, decoded, kept, augmented."""
