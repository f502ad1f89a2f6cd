"""Pure network modules: shapes in, shapes out. Nothing here knows how it is trained."""
