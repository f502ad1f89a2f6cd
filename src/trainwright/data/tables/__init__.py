"""Tables of a user's own: files read, columns understood, cells become numbers."""
