"""Why a trained task says what it says: of an image, a text, a table's row; and of a table."""
