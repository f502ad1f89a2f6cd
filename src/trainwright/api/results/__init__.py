"""What is returned: arrays and tables that show themselves in a notebook."""
