"""What tasks have in common that make images up: drawn, scored, shown and diagnosed alike."""
