"""A trained network made smaller and faster, and what that costs."""
