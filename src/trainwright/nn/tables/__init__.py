"""Networks for tables, and what stands in them for a number or a category."""
